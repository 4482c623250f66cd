//! Which commands of a report must be decided by one batch, and in which order.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::stock::{ids::Partition, movement::Command};

/// Commands of a report that share partitions, with the lines of their movements, in order.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub partitions: BTreeSet<Partition>,
    pub commands: Vec<(Vec<usize>, Command)>,
}

/// Commands that share a partition, directly or by way of a command over several, become one part in
/// the order of the report. Most reports have no command over several: then it is a part a partition.
pub(super) fn split(commands: Vec<(Vec<usize>, Command)>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut part_of: FxHashMap<Partition, usize> = FxHashMap::default();
    for (lines, command) in commands {
        let mut own = None;
        for partition in command.places().map(|place| place.partition) {
            let part = *part_of.entry(partition).or_insert_with(|| {
                parts.push(Part { partitions: [partition].into(), commands: Vec::new() });
                parts.len() - 1
            });
            let own = *own.get_or_insert(part);
            if part != own {
                let merged = std::mem::take(&mut parts[part]);
                part_of.values_mut().filter(|of| **of == part).for_each(|of| *of = own);
                parts[own].partitions.extend(merged.partitions);
                parts[own].commands.extend(merged.commands);
            }
        }
        if let Some(own) = own {
            parts[own].commands.push((lines, command));
        }
    }
    parts.retain(|part| !part.commands.is_empty());
    for part in parts.iter_mut().filter(|part| part.partitions.len() > 1) {
        part.commands.sort_by_key(|(lines, _)| lines.first().copied());
    }
    parts
}
