//! How much of the memory that it may have the process has. On Linux; elsewhere nothing is known and nothing limited.

use std::path::{Path, PathBuf};

const STATUS: &str = "/proc/self/status";
const GROUPS: &str = "/proc/self/cgroup";
/// Where control groups are, the folder of version 1 first, and the file with the limit.
const HIERARCHIES: [(&str, &str); 2] =
    [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
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

/// The bytes that the process' control group allows, or any group around it.
pub fn limit() -> Option<u64> {
    let groups = std::fs::read_to_string(GROUPS).unwrap_or_default();
    limit_files(&groups).iter().filter_map(|file| limit_in(file)).min()
}

/// Every file that may hold a limit: of the own group and of each around it. Inside a container the own group may be named
/// as the host sees it; then only the outermost one, the container's own root, is there to be read.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let own = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let version_2 = controllers.is_empty();
        let memory = version_2 || controllers.split(',').any(|one| one == "memory");
        memory.then(|| (usize::from(version_2), path.trim_start_matches('/').to_owned()))
    };
    let outermost = [(0, String::new()), (1, String::new())];
    let named = groups.lines().filter_map(own).chain(outermost);
    let files = named.flat_map(|(hierarchy, path)| {
        let around: Vec<_> = Path::new(&path).ancestors().map(Path::to_owned).collect();
        let place = HIERARCHIES.get(hierarchy).copied();
        around.into_iter().filter_map(move |group| place.map(|(folder, file)| Path::new(folder).join(group).join(file)))
    });
    files.collect()
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
    fn a_limit_is_looked_for_in_the_own_group_and_in_those_around_it() {
        let files = |groups: &str| -> Vec<String> {
            limit_files(groups).iter().map(|file| file.display().to_string()).collect()
        };

        let second = files("0::/system.slice/omniroute.service\n");
        let first = files("5:cpu,cpuacct:/x\n4:memory:/docker/abc\n");

        let v2 =
            ["system.slice/omniroute.service/", "system.slice/", ""].map(|at| format!("/sys/fs/cgroup/{at}memory.max"));
        assert!(v2.iter().all(|file| second.contains(file)), "{second:?}");
        let v1 = ["docker/abc/", "docker/", ""].map(|at| format!("/sys/fs/cgroup/memory/{at}memory.limit_in_bytes"));
        assert!(v1.iter().all(|file| first.contains(file)), "{first:?}");
        assert!(!first.iter().any(|file| file.contains("/x/")), "{first:?}");
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
