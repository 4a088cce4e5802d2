//! What the kernel knows about this process. Where there is no `/proc`, the families are left out.

use super::page::Page;
use crate::infra::memory;

/// The kernel shows processor time in hundredths of a second to every program, whatever it counts in itself.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn write(page: &mut Page) {
    if let Some(bytes) = memory::resident() {
        let name = "omniroute_process_resident_bytes";
        page.family(name, "gauge", "Resident memory of the process.");
        page.sample(name, &[], super::float(bytes));
    }
    if let Some(seconds) = std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_seconds) {
        let name = "omniroute_process_cpu_seconds_total";
        page.family(name, "counter", "Processor time of the process, user and system.");
        page.sample(name, &[], seconds);
    }
}

/// The name of the program stands in parentheses and may hold anything; fields are counted behind it.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(super::float(user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_whatever_the_program_is_called() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0";

        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (a"), None);
    }
}
