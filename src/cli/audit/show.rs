//! What an audit says, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    ledger::audit::{Audited, Difference, Found, Lost},
    stock::ids::Partition,
};

/// Lines of one kind that people are shown; programs are told all.
const LINES_MAX: usize = 10;

pub(super) fn as_text(audited: &Audited, torn: u64) -> String {
    let found = || audited.partitions.iter().map(|(_, found)| found);
    let sum = |count: fn(&Found) -> u64| found().map(count).sum::<u64>();
    let mut text = format!(
        "{} entries in {} batches of {} partitions\n{} anchors fit\n",
        sum(|found| found.entries),
        sum(|found| found.batches),
        audited.partitions.len(),
        sum(|found| found.anchors),
    );
    if torn > 0 {
        let _ = writeln!(text, "{torn} lines of the anchor files are no anchors");
    }
    add(&mut text, gaps(audited));
    add(&mut text, lost(audited).map(|lost| lost_text(&lost)));
    match &*audited.differences {
        [] => text.push_str("everything is as it was recorded\n"),
        differences => {
            for difference in differences {
                let _ = writeln!(text, "altered: {difference}");
            }
        }
    }
    text
}

pub(super) fn as_json(audited: &Audited, torn: u64) -> Value {
    let partition = |(Partition(partition), found): &(Partition, Found)| {
        let epoch = |(epoch, seq): &(i64, i64)| json!({ "epoch": epoch, "first_seq": seq });
        json!({
            "partition": partition,
            "entries": found.entries,
            "batches": found.batches,
            "unchained": found.unlinked,
            "gaps": found.gaps,
            "epochs": found.epochs.iter().map(epoch).collect::<Vec<_>>(),
            "anchors": found.anchors,
        })
    };
    let lost = lost(audited).map(|Lost { partition: Partition(partition), seq, epoch, until }| {
        json!({ "partition": partition, "seq": seq, "epoch": epoch, "lost_after_epoch": until })
    });
    let difference = |Difference { partition, seq, what }: &Difference| {
        let partition = partition.map(|Partition(partition)| partition);
        json!({ "partition": partition, "seq": seq, "what": what })
    };
    json!({
        "ok": audited.differences.is_empty(),
        "partitions": audited.partitions.iter().map(partition).collect::<Vec<_>>(),
        "lost": lost.collect::<Vec<_>>(),
        "lines_without_anchor": torn,
        "differences": audited.differences.iter().map(difference).collect::<Vec<_>>(),
    })
}

/// What no link covers.
fn gaps(audited: &Audited) -> impl Iterator<Item = String> {
    let lines = |(Partition(partition), found): &(Partition, Found)| {
        let gap = |(first, last): &(i64, i64)| {
            let why = "recorded before the chain began, or by servers that keep none";
            format!("not chained: partition={partition} seq={first} to {last}: {why}")
        };
        let end = (found.unlinked > 0).then(|| {
            let count = found.unlinked;
            format!("not chained: partition={partition}: the last {count}, no batch follows yet")
        });
        found.gaps.iter().map(gap).chain(end).collect::<Vec<_>>()
    };
    audited.partitions.iter().flat_map(lines)
}

fn lost(audited: &Audited) -> impl Iterator<Item = Lost> {
    audited.partitions.iter().flat_map(|(_, found)| found.lost.iter().copied())
}

fn lost_text(lost: &Lost) -> String {
    let Lost { partition: Partition(partition), seq, epoch, until } = lost;
    format!(
        "lost: partition={partition} seq={seq} of epoch {epoch}, anchored: epoch {until} began \
         without it; only a restore or a fail-over explains that"
    )
}

fn add(text: &mut String, lines: impl Iterator<Item = String>) {
    let lines: Vec<_> = lines.collect();
    for line in lines.iter().take(LINES_MAX) {
        let _ = writeln!(text, "{line}");
    }
    if let Some(more) = lines.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
        let _ = writeln!(text, "... and {more} more like this; --json tells all");
    }
}
