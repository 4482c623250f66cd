//! In which order the lines are sent, and over which stream.
use rand::{Rng as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use rustc_hash::{FxHashMap, FxHashSet};

use super::feed::Lines;

/// One group of lines to send; a line without a group is one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// First line of the group.
    pub(crate) line: u32,
    /// Whether the same lines were sent before.
    pub(crate) resend: bool,
}

/// What goes over one stream, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    /// Number of the source.
    pub(crate) source: u32,
    /// Its steps.
    pub(crate) steps: Vec<Step>,
}

/// All lines in file order, or shuffled by a seed, with `duplicate` per cent of them sent again
/// somewhere later. The same arguments give the same plan on every machine.
pub(crate) fn plan(lines: &dyn Lines, shuffle: Option<u64>, duplicate: f64) -> Vec<Step> {
    let mut steps = Vec::with_capacity(lines.count());
    let mut line = 0;
    while line < lines.count() {
        steps.push(Step { line: u32::try_from(line).unwrap_or(u32::MAX), resend: false });
        line = lines.block_end(line);
    }
    let mut random = ChaCha8Rng::seed_from_u64(shuffle.unwrap_or_default());
    if shuffle.is_some() {
        steps.shuffle(&mut random);
    }
    with_resends(steps, duplicate, &mut random)
}

/// Divides the steps over streams. A stream has one source, and a location stays on one stream of
/// its source, so that its lines arrive in order.
pub(crate) fn lanes(lines: &dyn Lines, steps: &[Step], streams: usize) -> Vec<Lane> {
    let sources: FxHashSet<u32> = steps.iter().map(|s| lines.source(s.line as usize)).collect();
    let streams_per_source = (streams / sources.len().max(1)).max(1);
    let mut numbers: FxHashMap<(u32, usize), usize> = FxHashMap::default();
    let mut lanes: Vec<Lane> = Vec::new();
    for step in steps {
        let source = lines.source(step.line as usize);
        let share = lines.location(step.line as usize) as usize % streams_per_source;
        let number = *numbers.entry((source, share)).or_insert_with(|| {
            lanes.push(Lane { source, steps: Vec::new() });
            lanes.len() - 1
        });
        lanes[number].steps.push(*step);
    }
    lanes
}

fn with_resends(steps: Vec<Step>, duplicate: f64, random: &mut ChaCha8Rng) -> Vec<Step> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a number of lines, which fits by far"
    )]
    let resends = (steps.len() as f64 * duplicate / 100.0).round() as usize;
    let chosen = rand::seq::index::sample(random, steps.len(), resends.min(steps.len()));
    let mut later: Vec<(usize, Step)> = chosen
        .into_iter()
        .map(|place| {
            (random.random_range(place..steps.len()), Step { resend: true, ..steps[place] })
        })
        .collect();
    later.sort_by_key(|(after, _)| *after);
    let mut later = later.into_iter().peekable();
    let mut all = Vec::with_capacity(steps.len() + resends);
    for (place, step) in steps.into_iter().enumerate() {
        all.push(step);
        while let Some((_, resend)) = later.next_if(|(after, _)| *after == place) {
            all.push(resend);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::import::table;

    fn feed() -> crate::cli::import::feed::Feed {
        let mut text = "key,kind,location_id,sku,quantity,group\n".to_owned();
        for line in 0..1_000 {
            let group = if line % 10 < 3 { format!("g{}", line / 10) } else { String::new() };
            text.push_str(&format!("k{line},SALE,shop-{},sku,1,{group}\n", line % 7));
        }
        table::read(text.as_bytes(), "csv", "Etc/UTC").unwrap()
    }

    #[test]
    fn a_plan_holds_each_group_once_and_its_resends_later() {
        let feed = feed();
        let steps = plan(feed.lines.as_ref(), Some(3), 5.0);
        // 800 blocks: 100 groups of three, 700 lines of their own.
        assert_eq!(steps.len(), 800 + 40);
        let mut seen = BTreeSet::new();
        for step in &steps {
            assert_eq!(seen.insert(step.line), !step.resend, "a resend comes after its line");
        }
        assert_eq!(seen.len(), 800);
        assert_eq!(steps, plan(feed.lines.as_ref(), Some(3), 5.0));
        assert_ne!(steps, plan(feed.lines.as_ref(), Some(4), 5.0));
    }

    #[test]
    fn without_a_seed_the_order_is_that_of_the_file() {
        let feed = feed();
        let steps = plan(feed.lines.as_ref(), None, 0.0);
        assert!(steps.is_sorted_by_key(|step| step.line));
        let all = plan(feed.lines.as_ref(), None, 100.0);
        assert_eq!(all.iter().filter(|step| step.resend).count(), 800);
        assert!(all.iter().filter(|step| !step.resend).is_sorted_by_key(|step| step.line));
    }

    #[test]
    fn a_location_stays_on_one_stream() {
        let feed = feed();
        let lanes = lanes(feed.lines.as_ref(), &plan(feed.lines.as_ref(), Some(1), 0.0), 4);
        assert_eq!(lanes.len(), 4);
        let mut home = [None; 7];
        for (number, lane) in lanes.iter().enumerate() {
            for step in &lane.steps {
                let location = feed.lines.location(step.line as usize) as usize;
                assert_eq!(*home[location].get_or_insert(number), number);
            }
        }
    }
}
