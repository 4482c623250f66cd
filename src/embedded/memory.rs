//! How much memory the private PostgreSQL keeps pages in.

use std::fs;

/// Of the machine's memory.
const PART: u64 = 8;
const LEAST_MIB: u64 = 128;
const MOST_MIB: u64 = 1_024;
/// Where a machine does not tell what it has.
const DEFAULT_MIB: u64 = 256;

/// For `shared_buffers`, in MiB.
pub(super) fn shared_buffers_mib() -> u64 {
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_mib(&text));
    memory.map_or(DEFAULT_MIB, |mib| (mib / PART).clamp(LEAST_MIB, MOST_MIB))
}

/// `man 5 proc`: in units of 1,024 bytes.
fn total_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? / 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_units_of_1024_bytes() {
        assert_eq!(total_mib("MemTotal:       2097152 kB\nMemFree: 1 kB\n"), Some(2_048));
        assert_eq!(total_mib("MemFree: 1 kB\n"), None);
        assert!((LEAST_MIB..=MOST_MIB).contains(&shared_buffers_mib()));
    }
}
