//! CPU time and memory of processes, from Linux' /proc.

use std::{fs, time::Duration};

use anyhow::Context as _;

/// Every Linux reports CPU time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// CPU time that a process has used, in user mode and in the kernel.
///
/// # Errors
/// There is no such process, or no /proc.
pub fn of_process(pid: u32) -> anyhow::Result<Duration> {
    Ok(Stat::read(pid)?.own)
}

/// CPU time of a process, of its children, and of those that it had.
///
/// # Errors
/// As [`of_process`].
pub fn of_family(pid: u32) -> anyhow::Result<Duration> {
    let parent = Stat::read(pid)?;
    let pids = fs::read_dir("/proc").context("cannot list the processes")?;
    let pids = pids.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // One that ends meanwhile is counted by its parent, next time.
    let children = pids.filter_map(|child| Stat::read(child).ok());
    let children = children.filter(|child| child.parent == pid).map(|child| child.own);
    Ok(parent.own + parent.ended_children + children.sum::<Duration>())
}

/// Memory that a process has in RAM, in bytes.
///
/// # Errors
/// As [`of_process`].
pub fn memory_of(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    resident(&status).with_context(|| format!("cannot understand {path}"))
}

/// `man 5 proc`: in units of 1,024 bytes, whatever the page size.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1_024)
}

/// The parent of a process.
///
/// # Errors
/// As [`of_process`].
pub fn parent_of(pid: u32) -> anyhow::Result<u32> {
    Ok(Stat::read(pid)?.parent)
}

struct Stat {
    parent: u32,
    own: Duration,
    ended_children: Duration,
}

impl Stat {
    fn read(pid: u32) -> anyhow::Result<Stat> {
        let path = format!("/proc/{pid}/stat");
        let line = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Stat::parse(&line).with_context(|| format!("cannot understand {path}"))
    }

    /// `man 5 proc`: the name stands in parentheses and may contain any character.
    fn parse(line: &str) -> Option<Stat> {
        let (_, fields) = line.rsplit_once(')')?;
        let fields: Vec<_> = fields.split_ascii_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u32>().ok().map(|ticks| TICK * ticks);
        Some(Stat {
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(11)? + ticks(12)?,
            ended_children: ticks(13)? + ticks(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_told_in_kilobytes() {
        assert_eq!(resident("VmHWM:\t   99 kB\nVmRSS:\t   1234 kB\n"), Some(1_263_616));
        assert_eq!(resident("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn fields_are_found_behind_any_name() {
        let line = "7 (a) 1 (b) S 3 7 7 0 -1 4194560 1 2 3 4 50 25 10 5 20 0 1 0 9 1 1\n";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat.parent, 3);
        assert_eq!(stat.own, Duration::from_millis(750));
        assert_eq!(stat.ended_children, Duration::from_millis(150));
    }
}
