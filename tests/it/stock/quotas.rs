//! Quotas in the pure core: three channels at one position, whatever they do. What is used is added up
//! again from the entries, and who may have how much is worked out from that by other means.

use proptest::{collection::vec, prelude::*};
use stockroom::stock::{
    channel_policy::Policy,
    draft::Draft,
    hold::HoldId,
    ids::{ChannelNo, PositionKey, Seq},
    kind::{Kind, StockState},
    machine::Outcome,
    movement::Command,
    quota::{BORROW_AFTER_DEFAULT, Fences, Quota},
    refusal::Refusal,
    reservation::{CancelledBy, Reservation, State},
    step::{Action, Change, Create, Step, Target},
    time::{SECOND, Timestamp},
};

use super::{
    memory::{Memory, leg},
    network::{CALLER, ITEMS, LOCATIONS, Sent, resolve},
    steps::{step, units},
    strategy::NOW,
};
use crate::harness::steps::{create, terms};

const STOCK: i64 = 20;
const BORROW_AFTER: i64 = 100 * SECOND;
/// Channel, units, soft. The fourth channel has none; together they are less than there is.
const QUOTAS: [(i32, i64, bool); 3] = [(1, 6, false), (2, 5, false), (3, 4, true)];

fn key() -> PositionKey {
    PositionKey { place: LOCATIONS[0].1, item: ITEMS[0].1 }
}

fn quota((channel, units, soft): (i32, i64, bool), used_at: Timestamp, since: Seq) -> Quota {
    let channel = ChannelNo(channel);
    Quota { channel, units, soft, borrow_after: BORROW_AFTER, since, used: 0, used_at }
}

/// A position with stock and quotas.
struct World {
    memory: Memory,
    now: Timestamp,
    requests: usize,
    /// Whether something left the shelf that nobody had promised: then no guarantee can hold.
    sold: bool,
    since: Seq,
    put_at: Timestamp,
}

impl World {
    fn new() -> World {
        let (memory, now) = (Memory::default(), NOW);
        let mut world = World { memory, now, requests: 0, sold: false, since: 0, put_at: NOW };
        world.fact(Kind::Receipt, STOCK, None, "");
        world.put();
        world
    }

    /// Quotas count from now on.
    fn put(&mut self) {
        self.since = self.memory.entries().count() as Seq;
        self.put_at = self.now;
        let quotas = QUOTAS.map(|spec| quota(spec, self.now, self.since));
        self.memory.quotas.insert(key(), quotas.to_vec());
    }

    fn fact(&mut self, kind: Kind, quantity: i64, channel: Option<ChannelNo>, reservation: &str) {
        self.requests += 1;
        let draft = Draft {
            key: format!("fact-{}", self.requests),
            kind: kind as i32,
            location_id: LOCATIONS[0].0.to_owned(),
            sku: ITEMS[0].0.to_owned(),
            quantity,
            reservation_id: reservation.to_owned(),
            ..Draft::default()
        };
        let sent = Sent { source: "t0", draft, broken: None };
        let movement = resolve(&sent, &self.memory).unwrap();
        let movement = stockroom::stock::movement::Movement { channel, ..movement };
        let outcomes = self.memory.record(self.now, &[Command::One(movement)]);
        assert!(matches!(&*outcomes, [Outcome::Recorded(_)]), "{outcomes:?}");
    }

    fn take(&mut self, channel: Option<ChannelNo>, action: Action) -> Result<Reservation, Refusal> {
        self.requests += 1;
        let step = step(&format!("request-{}", self.requests), LOCATIONS[0].1, action);
        let command = Command::Step(Box::new(Step { channel, ..step }));
        match self.memory.record(self.now, &[command]).pop().unwrap() {
            Outcome::Stepped(reservation) => Ok(*reservation),
            Outcome::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    /// What each channel used since its quota was put, and when it did last.
    fn used(&self, channel: ChannelNo) -> (i64, Timestamp) {
        let (mut used, mut used_at) = (0, self.put_at);
        for entry in self.memory.entries() {
            if entry.seq <= self.since || entry.channel != Some(channel) {
                continue;
            }
            let counts = [Kind::Sale, Kind::ShipOut, Kind::Pick, Kind::Unpick]
                .contains(&entry.kind)
                || entry.kind as i16 >= 100;
            let taken = entry.reserved_change - leg(entry, StockState::Sellable);
            if counts && taken != 0 {
                used = 0.max(used + taken);
                used_at = if taken > 0 { entry.recorded_at } else { used_at };
            }
        }
        (used, used_at)
    }

    /// What a channel has fenced, and whether it can count on it.
    fn unused(&self, (channel, units, soft): (i32, i64, bool)) -> i64 {
        let (used, used_at) = self.used(ChannelNo(channel));
        let idle = self.now.0 - used_at.0 >= BORROW_AFTER;
        if soft && idle { 0 } else { 0.max(units - used) }
    }

    fn free(&self) -> i64 {
        let position = &self.memory.positions[&key()];
        position.sellable - position.reserved
    }

    /// What a channel may have: what nobody else has fenced, and at any rate what is left of a hard quota
    /// of its own.
    fn available(&self, channel: Option<ChannelNo>) -> i64 {
        let is_own = |spec: &(i32, i64, bool)| channel == Some(ChannelNo(spec.0));
        let others = QUOTAS.iter().filter(|spec| !is_own(spec)).map(|spec| self.unused(*spec));
        let own = QUOTAS.iter().filter(|spec| is_own(spec) && !spec.2);
        let own: i64 = own.map(|spec| self.unused(*spec)).sum();
        let free = self.free();
        0.max((free - others.sum::<i64>()).max(own.min(free)))
    }

    fn ask(&mut self, channel: Option<ChannelNo>, quantity: i64, held: bool) {
        let available = self.available(channel);
        let mut wanted = create(&[]);
        wanted.terms = terms(Policy::default());
        wanted.lines = vec![units(0, quantity)];
        let id = HoldId::of(CALLER.0, LOCATIONS[0].1, &self.requests.to_string());
        if held {
            wanted.held_as = Some(id);
            wanted.ttl = Some(60 * SECOND);
        }
        let own = QUOTAS.iter().find(|spec| channel == Some(ChannelNo(spec.0)) && !spec.2);
        let guaranteed = own.map_or(0, |spec| self.unused(*spec));
        match self.take(channel, Action::Create(Box::new(wanted))) {
            Ok(_) => assert!(quantity <= available, "{quantity} of {available} granted"),
            Err(Refusal::InsufficientStock { short }) => {
                assert_eq!(short[0].available, available, "told {channel:?}");
                assert!(quantity > available, "{quantity} of {available} refused");
                assert!(self.sold || quantity > guaranteed, "{channel:?} is starved");
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Takes a promise a step further, whichever it allows.
    fn change(&mut self, which: u8, how: u8) {
        let open: Vec<_> = self.memory.reservations.values().cloned().collect();
        let Some(made) = open.get(usize::from(which) % open.len().max(1)) else { return };
        let id = made.id;
        let change = match (made.state, how % 6) {
            (State::Held, 0 | 1) => {
                let hold = HoldId { place: id.place, digest: made.held_as.unwrap() };
                let lines = vec![units(0, made.lines[0].quantity)];
                let made_from = Create { hold: Some(hold), lines, ..create(&[]) };
                let action = Action::Create(Box::new(made_from));
                // Its own units never stand against it, nor does any quota against them.
                let converted = self.take(made.channel, action);
                assert!(self.sold || converted.is_ok(), "{converted:?}");
                return;
            }
            (State::Held, _) => {
                let hold = HoldId { place: id.place, digest: made.held_as.unwrap() };
                let target = Action::Change(Target::Hold(hold), Change::Release);
                self.take(None, target).unwrap();
                return;
            }
            (State::Reserved | State::Picking, 0) => Change::MarkReady,
            (State::Reserved, 1) => {
                let id = id.to_string();
                self.fact(Kind::Sale, made.lines[0].quantity, Some(ChannelNo(9)), &id);
                return;
            }
            (State::Cancelled | State::Expired, _) => Change::ReturnToShelf,
            (_, 2 | 3) => Change::Cancel { by: CancelledBy::Customer },
            (_, 4) => Change::Expire,
            _ => Change::Collect { lines: Vec::new(), code_fits: true },
        };
        // What it does not allow changes nothing.
        let _ = self.take(None, Action::Change(Target::Reservation(id), change));
    }

    fn check(&self) {
        for stored in &self.memory.quotas[&key()] {
            assert_eq!((stored.used, stored.used_at), self.used(stored.channel), "{stored:?}");
        }
        let position = &self.memory.positions[&key()];
        assert!(self.sold || position.reserved <= position.sellable, "oversold: {position:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn quotas_are_kept_whatever_channels_do(genes in vec(any::<[u8; 4]>(), 1..40)) {
        let mut world = World::new();
        for [what, channel, quantity, how] in genes {
            // The fourth channel has no quota, and some name none.
            let channel = Some(ChannelNo(i32::from(channel % 5) + 1)).filter(|no| no.0 < 5);
            let quantity = i64::from(quantity % 8) + 1;
            match what % 16 {
                0..=6 => world.ask(channel, quantity, false),
                7 | 8 => world.ask(channel, quantity, true),
                9..=12 => world.change(how, quantity as u8),
                13 => world.now = Timestamp(world.now.0 + i64::from(how) * SECOND),
                14 if how % 4 == 0 => {
                    world.fact(Kind::Sale, quantity, channel, "");
                    world.sold = true;
                }
                15 if how % 4 == 0 => world.fact(Kind::Receipt, quantity, channel, ""),
                _ => world.now = Timestamp(world.now.0 + SECOND),
            }
            world.check();
        }
    }
}

#[test]
fn a_soft_quota_may_be_borrowed_once_it_was_not_used_for_its_time() {
    let spec = Quota { borrow_after: BORROW_AFTER_DEFAULT, ..quota((3, 4, true), NOW, 0) };
    let later = |micros| Timestamp(NOW.0 + micros);
    assert_eq!(spec.fenced(later(BORROW_AFTER_DEFAULT - 1)), 4);
    assert_eq!(spec.fenced(later(BORROW_AFTER_DEFAULT)), 0);
    assert_eq!(Quota { used: 3, ..spec }.fenced(NOW), 1);
    assert_eq!(Quota { used: 9, ..spec }.fenced(NOW), 0, "more than its quota");
    assert_eq!(Quota { soft: false, ..spec }.fenced(later(i64::MAX / 2)), 4, "a hard one never");
}

#[test]
fn what_is_left_of_a_hard_quota_stands_against_all_other_ones() {
    for (free, others, own, mine, left) in [
        (10, 0, 0, 0, 10),
        (10, 0, 0, 4, 10),
        (10, 4, 0, 0, 6),
        (10, 4, 3, 0, 6),
        (10, 12, 0, 0, 0),
        (10, 12, 0, 2, 2),
        (10, 8, 5, 0, 5),
        (10, 8, 5, 2, 7),
        (3, 5, 5, 0, 3),
        (0, 5, 5, 0, 0),
        (-2, 0, 5, 1, 0),
    ] {
        let found = Fences { others, own }.leave(free, mine);
        assert_eq!(found, left, "{free} {others} {own} {mine}");
    }
}
