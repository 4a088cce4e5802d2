//! What the kernel says about a process: its memory and the processor time it used.

use std::fs;

/// Resident memory of a process, or nothing when it is gone.
pub fn rss_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Processor time that all threads of a process used so far, user and system, or nothing when it is gone.
///
/// The kernel counts in ticks of 10 ms; measure over seconds.
pub fn cpu_ms(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program stands in parentheses and may hold spaces; fields are counted behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * 10)
}

/// Whether every thread of a process is stopped by a signal.
pub fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let states = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    let mut states = states.filter_map(|stat| stat.rsplit_once(')')?.1.trim_start().chars().next());
    states.all(|state| state == 'T')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_process_has_memory_and_uses_processor_time() {
        let (own, before) = (std::process::id(), cpu_ms(std::process::id()).unwrap());

        let begin = std::time::Instant::now();
        let mut work = 0_u64;
        while begin.elapsed().as_millis() < 2000 && cpu_ms(own).unwrap() < before + 30 {
            work = (0..100_000).fold(work, |sum, n| std::hint::black_box(sum ^ n));
        }

        assert!(rss_bytes(own).unwrap() > 1_000_000);
        assert!(cpu_ms(own).unwrap() >= before + 30);
    }

    #[test]
    fn a_process_that_does_not_exist_has_no_figures() {
        assert_eq!((rss_bytes(u32::MAX), cpu_ms(u32::MAX)), (None, None));
    }
}
