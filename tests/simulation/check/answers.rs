//! What clients heard: I2, I3, I4, I8 and I11.

use std::collections::{BTreeMap, BTreeSet};

use stockroom::stock::{
    ids::{EntryRef, Partition},
    kind::Kind,
    refusal::Refusal,
    reservation::{Reservation, ReservationId},
};

use crate::{
    call::{Call, Fate, Heard, What},
    check::calm,
    database::tables::{POISON, Tables},
    stage::Stage,
    trouble::Profile,
    world::World,
};

pub fn check(stage: &Stage, profile: Profile, calls: &[Call]) {
    let found = stage.postgres.look(|tables| {
        let mut found = Vec::new();
        for call in calls {
            reach(&stage.world, call);
            if matches!(call.heard, Heard::Broken) {
                found.push(format!("{call:?} is answered as a defect"));
            }
            facts(tables, call, &mut found);
            steps(tables, call, &mut found);
        }
        let mut by_key: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for call in calls {
            by_key.entry((&call.caller, &call.key)).or_default().push(call);
        }
        for calls in by_key.values() {
            repeated(tables, calls, &mut found);
            once(tables, calls[0], &mut found);
        }
        if tables.lost.is_empty() {
            in_order(&by_key, &mut found);
        }
        found
    });
    found.into_iter().for_each(|what| stage.world.violated(what));
    if profile.is_calm() {
        calm::check(stage, calls);
    }
}

/// What clients heard of what is not seen from outside.
fn reach(world: &World, call: &Call) {
    match &call.heard {
        Heard::Recorded(fates) if fates.contains(&Fate::Poisoned) => world.reach("bisected"),
        Heard::Held { in_ledger: true, .. } => world.reach("held in the ledger"),
        Heard::Stepped(made) if made.len() > 1 => world.reach("basket granted"),
        Heard::Refused(Refusal::HoldConsumed) => world.reach("hold consumed"),
        Heard::Refused(Refusal::InsufficientStock { .. }) => world.reach("short heard"),
        Heard::Refused(Refusal::KeyReused { .. }) => world.reach("key reused"),
        _ => {}
    }
}

/// A fact that was acknowledged is in the ledger, unless a failover lost it.
fn facts(tables: &Tables, call: &Call, found: &mut Vec<String>) {
    let (What::Record(drafts), Heard::Recorded(fates)) = (&call.what, &call.heard) else { return };
    if drafts.len() != fates.len() {
        found.push(format!("{call:?} answers another number of lines"));
    }
    for (draft, fate) in drafts.iter().zip(fates) {
        match fate {
            Fate::Recorded(at) => {
                let entry = tables.rows.entry(*at);
                let fits = entry
                    .is_some_and(|entry| entry.key == draft.key && entry.kind as i32 == draft.kind);
                let mut heads = call.heads.iter();
                if !heads.any(|head| head.partition == at.partition && head.seq >= at.seq) {
                    found.push(format!("no head that was told covers {at:?}: {call:?}"));
                }
                if !fits && !was_lost(tables, *at, &draft.key) {
                    found.push(format!("{call:?} was acknowledged, and there is {entry:?}"));
                }
            }
            Fate::Poisoned if draft.note != POISON => {
                found.push(format!("{call:?} is poisoned"));
            }
            _ => {}
        }
    }
}

/// The same of steps: a reservation that was told was made.
fn steps(tables: &Tables, call: &Call, found: &mut Vec<String>) {
    let Heard::Stepped(reservations) = &call.heard else { return };
    for told in reservations {
        if let What::Reserve(promise) = &call.what
            && !promise.per_line
        {
            let wanted: i64 = promise.lines.iter().map(|(_, units)| units).sum();
            let granted: i64 = told.lines.iter().map(|line| line.quantity).sum();
            if wanted > 0 && wanted != granted {
                found.push(format!("{call:?} is granted in part"));
            }
        }
        let there = tables.rows.reservations.get(&told.at()).filter(|there| there.id == told.id);
        let stands = there.is_some_and(|there| there.version >= told.version);
        let lost = tables.lost.iter().flat_map(|delta| &delta.reservations);
        let lost = |told: &Reservation| {
            lost.clone().any(|(_, lost)| lost.id == told.id && lost.version == told.version)
        };
        if !stands && !lost(told) {
            found.push(format!("{call:?} was acknowledged, and there is {there:?}"));
        }
    }
}

fn was_lost(tables: &Tables, at: EntryRef, key: &str) -> bool {
    let mut lost = tables.lost.iter().flat_map(|delta| &delta.entries);
    lost.any(|entry| entry.at() == at && entry.key == key)
}

/// The same request is answered the same, as long as nothing was lost in between.
fn repeated(tables: &Tables, calls: &[&Call], found: &mut Vec<String>) {
    if !tables.lost.is_empty() {
        return;
    }
    let mut granted: Option<&Call> = None;
    for call in calls {
        let known = granted
            .is_some_and(|granted| format!("{:?}", granted.what) == format!("{:?}", call.what));
        let short = matches!(call.heard, Heard::Refused(Refusal::InsufficientStock { .. }));
        let effect = call.has_effect();
        if granted.is_some() && (known && short || !known && effect) {
            found.push(format!("{granted:?} is known, and then {:?} is heard", call.heard));
        }
        if effect {
            granted = Some(call);
        }
    }
    let first = format!("{:?}", calls[0].what);
    let same = || calls.iter().filter(|call| format!("{:?}", call.what) == first);
    let recorded = |call: &Call| match &call.heard {
        Heard::Recorded(fates) => Some(fates.clone()),
        _ => None,
    };
    let mut facts = same().filter_map(|call| recorded(call));
    if let Some(first) = facts.next() {
        for other in facts {
            let differ = first.iter().zip(&other).any(|pair| match pair {
                (Fate::Recorded(one), Fate::Recorded(two)) => one != two,
                (Fate::Recorded(_), _) => true,
                _ => false,
            });
            if differ {
                found.push(format!("{} is answered with {first:?}, then {other:?}", calls[0].key));
            }
        }
    }
    let stepped = |call: &Call| -> Option<Vec<ReservationId>> {
        match &call.heard {
            Heard::Stepped(made) => Some(made.iter().map(|made| made.id).collect()),
            _ => None,
        }
    };
    let mut steps = same().filter_map(|call| stepped(call));
    if let Some(first) = steps.next()
        && let Some(other) = steps.find(|other| *other != first)
    {
        found.push(format!("{} is answered with {first:?}, then {other:?}", calls[0].key));
    }
}

/// A key has one effect at most, and a basket all of it or nothing.
fn once(tables: &Tables, call: &Call, found: &mut Vec<String>) {
    let mut made: BTreeMap<(Partition, i32, i32), usize> = BTreeMap::new();
    let request = matches!(call.what, What::Reserve(_) | What::ReserveAll(_) | What::Hold(_));
    for entry in tables.rows.entries().filter(|entry| entry.key == call.key) {
        if request && entry.kind == Kind::Reserve {
            *made.entry((entry.partition, entry.location.0, entry.item.0)).or_default() += 1;
        }
    }
    if made.values().any(|count| *count > 1) {
        found.push(format!("{call:?} has several effects: {made:?}"));
    }
    if let What::ReserveAll(promises) = &call.what {
        let places = made.keys().map(|(_, location, _)| location);
        let places: BTreeSet<_> = places.collect();
        let lost = tables.lost.iter().flat_map(|delta| &delta.entries);
        let lost = lost.filter(|entry| entry.key == call.key).count();
        if !places.is_empty() && places.len() != promises.len() && lost == 0 {
            found.push(format!("{call:?} is granted in part: {made:?}"));
        }
    }
    if let What::Record(drafts) = &call.what {
        for draft in drafts {
            let kind = |entry: &&_| {
                let entry: &&stockroom::stock::entry::Entry<'_> = entry;
                entry.key == draft.key && entry.kind as i32 == draft.kind
            };
            let count = tables.rows.entries().filter(kind).count();
            // What corrects a transfer is at both of its ends.
            let both = !draft.to_location_id.is_empty() || draft.kind == Kind::Correct as i32;
            let halves = if both { 2 } else { 1 };
            if count > halves {
                found.push(format!("{draft:?} is {count} entries"));
            }
        }
    }
}

/// What was acknowledged before something else was asked for comes before it.
fn in_order(by_key: &BTreeMap<(&String, &String), Vec<&Call>>, found: &mut Vec<String>) {
    let mut acknowledged = Vec::new();
    for calls in by_key.values() {
        let Some(started) = calls.iter().map(|call| call.started).min() else { continue };
        for call in calls {
            let effects: Vec<EntryRef> = match (&call.what, &call.heard) {
                (_, Heard::Recorded(fates)) => {
                    let recorded = fates.iter().filter_map(|fate| match fate {
                        Fate::Recorded(at) => Some(*at),
                        _ => None,
                    });
                    recorded.collect()
                }
                (What::Reserve(_), Heard::Stepped(made)) => {
                    made.iter().map(Reservation::at).collect()
                }
                _ => continue,
            };
            acknowledged.extend(effects.into_iter().map(|at| (started, call.ended, at)));
        }
    }
    for (started, _, at) in &acknowledged {
        let mut before = acknowledged.iter();
        let before = before.find(|(_, ended, other)| {
            ended < started && other.partition == at.partition && other.seq > at.seq
        });
        if let Some((_, _, other)) = before {
            found.push(format!("{at:?} was asked for after {other:?} was acknowledged"));
        }
    }
}
