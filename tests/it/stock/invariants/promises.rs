//! What must hold of promises whatever was recorded (I1, I3, I6 and I7).

use std::collections::{BTreeMap, BTreeSet};

use stockroom::stock::{
    entry::Flags,
    ids::EntryRef,
    kind::Kind,
    reservation::{Reservation, State},
};

use super::super::{
    memory::{EPOCH, Memory},
    oracle::Oracle,
    steps::{WEB, kept_back, terms},
};

/// Every way from one state to another; a step may also leave it as it is.
const WAYS: [(State, &[State]); 7] = {
    use State::*;
    [
        (Reserved, &[Reserved, Picking, Collected, Cancelled, Rejected, Expired, Moved]),
        (Picking, &[Picking, Ready, Collected, Cancelled, Rejected, Expired, Moved]),
        (Ready, &[Ready, Collected, Cancelled, Expired, Moved]),
        (Held, &[Held, Released, Consumed, Expired]),
        (Expired, &[Expired, Collected]),
        (Cancelled, &[Cancelled]),
        (Moved, &[Moved]),
    ]
};

/// Fails where promises contradict the ledger or the oracle.
pub fn check(memory: &Memory, oracle: &Oracle) {
    check_grants(memory);
    check_reserved(memory, oracle);
    check_holds(memory);
    let known = memory.reservations.values().map(without_version).map(|known| (known.id, known));
    let known: BTreeMap<_, _> = known.collect();
    let expected = oracle.promises().map(without_version).map(|expected| (expected.id, expected));
    assert_eq!(known, expected.collect());
    for now in memory.reservations.values() {
        let versions = memory.versions.range((now.at(), 0)..(now.at(), i64::MAX));
        let history: Vec<_> = versions.map(|(_, version)| version).chain([now]).collect();
        check_history(memory, &history);
    }
}

/// Every promise had the stock when it was granted, and the channel kept back what it keeps back.
fn check_grants(memory: &Memory) {
    for entry in memory.entries().filter(|entry| entry.kind == Kind::Reserve) {
        let policy = &terms(entry.channel.filter(|channel| *channel == WEB)).policy;
        let place = entry.position().place;
        let left =
            entry.sellable_after - kept_back(policy, place, entry.item, entry.sellable_after);
        assert!(policy.eligible.is_empty() || policy.eligible.contains(&place.location));
        assert!(entry.reserved_after <= left, "promised what was not there: {entry:?}");
        assert!(entry.reserved_change > 0 && entry.flags.has(Flags::REQUEST));
    }
}

fn check_reserved(memory: &Memory, oracle: &Oracle) {
    for (key, position) in &memory.positions {
        let own = memory.reservations.values().filter(|own| own.id.place == key.place);
        let open = own.filter(|own| {
            [State::Reserved, State::Picking, State::Ready, State::Held].contains(&own.state)
        });
        let lines = open.flat_map(|open| &open.lines).filter(|line| line.item == key.item);
        let promised: i64 = lines.map(|line| line.quantity - line.picked).sum();
        assert_eq!(position.reserved, promised, "reserved of {key:?}");
        assert_eq!(position.reserved, oracle.reserved(key.place, key.item));
    }
}

/// A hold is taken once and consumed once.
fn check_holds(memory: &Memory) {
    let (mut taken, mut consumed) = (BTreeSet::new(), BTreeSet::new());
    for promise in memory.reservations.values() {
        let partition = promise.id.place.partition;
        assert!(promise.held_as.is_none_or(|hold| taken.insert((partition, hold))));
        assert!(promise.hold.is_none_or(|hold| consumed.insert((partition, hold))));
        assert_eq!(promise.code_hash == 0, promise.held_as.is_some());
    }
}

fn check_history(memory: &Memory, history: &[&Reservation]) {
    assert_eq!((history[0].version, history[0].id.epoch), (history[0].id.no, EPOCH));
    for version in history {
        let at = EntryRef { seq: version.version, ..version.at() };
        let entry = memory.entry(at).unwrap();
        assert_eq!(entry.reservation_id, version.id.to_string());
        assert_eq!(entry.reservation_state, Some(version.state));
        assert_eq!(entry.recorded_at, version.changed_at);
        assert_eq!(entry.position().place, version.id.place);
        for line in &version.lines {
            let gone = line.collected + line.shelved;
            assert!(0 <= gone && gone <= line.picked && line.picked <= line.quantity, "{line:?}");
        }
    }
    for pair in history.windows(2) {
        let [before, after] = pair else { continue };
        let ways = WAYS.iter().find(|(from, _)| *from == before.state).map(|(_, ways)| *ways);
        // What was rejected may still have been picked before.
        let ways = ways.unwrap_or(&[State::Rejected]);
        assert!(ways.contains(&after.state), "{:?} after {:?}", after.state, before.state);
        assert!(before.version < after.version && before.changed_at <= after.changed_at);
        let ends = |state| after.state == state && before.state != state;
        if ends(State::Expired) {
            assert!(after.changed_at >= before.expires_at, "never before its deadline");
        }
        if ends(State::Rejected) && after.reason == "unanswered" {
            assert!(Some(after.changed_at) >= before.answer_by, "never before it is late");
        }
    }
}

fn without_version(reservation: &Reservation) -> Reservation {
    Reservation { version: 0, ..reservation.clone() }
}
