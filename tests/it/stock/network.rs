//! The little layer around the machine: from a draft to a movement, with names resolved against a
//! fixed network of four locations over three partitions.

use std::fmt;

use stockroom::stock::{
    draft::Draft,
    hash::Digest,
    ids::{ChannelNo, ItemNo, LocationNo, Partition, Place, SourceNo},
    kind::Kind,
    movement::{Command, Movement, Original},
    refusal::Refusal,
    time::{Micros, SECOND},
};

use super::memory::Memory;

/// Two locations of one partition, and two with a partition each.
pub const LOCATIONS: [(&str, Place); 4] =
    [("s0", place(0, 1)), ("s1", place(0, 2)), ("s2", place(1, 3)), ("s3", place(2, 4))];

/// No stock is kept of the last one.
pub const ITEMS: [(&str, ItemNo); 5] = [
    ("i0", ItemNo(1)),
    ("i1", ItemNo(2)),
    ("i2", ItemNo(3)),
    ("full", ItemNo(4)),
    ("service", ItemNo(5)),
];

/// The clock of the second one is a minute ahead.
pub const SOURCES: [(&str, SourceNo, Micros); 2] =
    [("t0", SourceNo(1), 0), ("t1", SourceNo(2), -60 * SECOND)];

/// Who asks for promises.
pub const CALLER: (&str, SourceNo) = ("app", SourceNo(3));

/// A draft on its way to the machine.
#[derive(Clone)]
pub struct Sent {
    /// Who sent it.
    pub source: &'static str,
    /// What.
    pub draft: Draft,
    /// What must be wrong with it whatever the state.
    pub broken: Option<Refusal>,
}

impl fmt::Debug for Sent {
    /// What differs from the default, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (all, plain) = (format!("{:#?}", self.draft), format!("{:#?}", Draft::default()));
        let stated = |line: &&str| !plain.contains(*line);
        let stated: Vec<_> = all.lines().filter(stated).map(str::trim).collect();
        write!(f, "{} {}", self.source, stated.join(" "))
    }
}

/// What the service does before the machine runs: the static rules, then names.
pub fn resolve(sent: &Sent, memory: &Memory) -> Result<Movement, Refusal> {
    let draft = &sent.draft;
    let kind = draft.check()?;
    let place = location(&draft.location_id)?;
    let to_place = match draft.to_location_id.as_str() {
        "" => None,
        id => Some(location(id)?),
    };
    let channel = match draft.channel_id.as_str() {
        "" => None,
        "web" => Some(ChannelNo(1)),
        id => return Err(Refusal::ChannelUnknown { channel_id: id.to_owned() }),
    };
    let item = ITEMS.iter().find(|(sku, _)| *sku == draft.sku).unwrap().1;
    let (_, source, clock_offset) =
        *SOURCES.iter().find(|(source, ..)| *source == sent.source).unwrap();
    let original = draft.original.as_ref().map(|(source, key)| {
        let digest = Digest::of(source, key);
        let found = memory.place_of(digest, place).filter(|_| kind == Kind::Return);
        Original { digest, place: found, counter_place: None }
    });
    Ok(Movement {
        draft: draft.clone(),
        actor: String::new(),
        digest: Digest::of(sent.source, &draft.key),
        fingerprint: draft.fingerprint(),
        source,
        kind,
        place,
        to_place,
        item,
        up_to: false,
        stock_item: draft.sku != "service",
        channel,
        clock_offset,
        original,
        hold_unknown: false,
        promise_unseen: false,
    })
}

/// A line and what it became, or why it never reached the machine.
pub type Line = (Sent, Result<Movement, Refusal>);

/// Neighbours of one non-empty group belong together.
pub fn grouped(lines: &[Line]) -> Vec<&[Line]> {
    let same =
        |(a, _): &Line, (b, _): &Line| !a.draft.group.is_empty() && a.draft.group == b.draft.group;
    lines.chunk_by(same).collect()
}

/// The command that a line or a group is for the machine, if nothing of it was refused before.
pub fn command(lines: &[Line]) -> Option<Command> {
    let movements: Result<Vec<_>, _> = lines.iter().map(|(_, line)| line.clone()).collect();
    let mut movements = movements.ok()?;
    let alone = lines.first().is_some_and(|(sent, _)| sent.draft.group.is_empty());
    if alone { movements.pop().map(Command::One) } else { Some(Command::Group(movements)) }
}

fn location(id: &str) -> Result<Place, Refusal> {
    let known = LOCATIONS.iter().find(|(known, _)| *known == id).map(|(_, place)| *place);
    known.ok_or_else(|| Refusal::LocationUnknown { location_id: id.to_owned() })
}

const fn place(partition: i16, location: i32) -> Place {
    Place { partition: Partition(partition), location: LocationNo(location) }
}
