//! How much of the memory that it may have the process has. On Linux; elsewhere nothing is known and nothing limited.

use std::path::Path;

const STATUS: &str = "/proc/self/status";
/// Where the limit of the process' own control group is, in version 2 and 1.
const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
/// Version 1 writes a number near the largest for "no limit".
const NO_LIMIT: u64 = 1 << 60;

/// Resident bytes of this process.
pub fn resident() -> Option<u64> {
    resident_in(&std::fs::read_to_string(STATUS).ok()?)
}

fn resident_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// The bytes that the control group allows.
pub fn limit() -> Option<u64> {
    LIMITS.iter().find_map(|path| limit_in(Path::new(path)))
}

fn limit_in(path: &Path) -> Option<u64> {
    let limit = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
    (limit < NO_LIMIT).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_and_no_limit_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            let path = dir.path().join("max");
            std::fs::write(&path, text).unwrap();
            limit_in(&path)
        };

        assert_eq!([read("268435456\n"), read("max\n"), read("9223372036854771712")], [Some(268_435_456), None, None]);
        assert_eq!(limit_in(&dir.path().join("absent")), None);
    }

    #[test]
    fn the_figure_is_read_in_bytes_and_its_absence_is_none() {
        assert_eq!(resident_in("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2_097_152));
        assert_eq!(resident_in("Name:\tx\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_some_memory() {
        assert!(resident().unwrap() > 1_000_000);
    }
}
