//! The rules of "Holds and reservations", one by one: who asks for what, and what becomes of it.

use stockroom::stock::{
    draft::Draft,
    entry::Flags,
    hold::HoldId,
    ids::{Place, PositionKey},
    kind::Kind,
    machine::Outcome,
    movement::Command,
    refusal::Refusal,
    reservation::{CancelledBy, Reservation, ReservationId, State},
    step::{Action, Change, Create, Elsewhere, Found, ShortCause, Step, Target, Wanted},
    time::{SECOND, Timestamp},
};

use super::{
    memory::Memory,
    network::{ITEMS, LOCATIONS, Sent, resolve},
    steps::{UNITS_MAX, WEB, create, step, terms, units},
    strategy::NOW,
};

/// A day at the shops. Items and locations go by their number.
struct Shops {
    memory: Memory,
    now: Timestamp,
    requests: usize,
}

/// What was promised, or why not.
type Answer = Result<Reservation, Refusal>;

impl Shops {
    /// Shops with so many units of an item at a location.
    fn with(stock: &[(usize, usize, i64)]) -> Shops {
        let mut shops = Shops { memory: Memory::default(), now: NOW, requests: 0 };
        for &(location, item, quantity) in stock {
            shops.fact(location, Draft { quantity, ..draft(Kind::Receipt, item) });
        }
        shops
    }

    fn later(&mut self, seconds: i64) {
        self.now = Timestamp(self.now.0 + seconds * SECOND);
    }

    /// Reports a fact, which is recorded whatever was promised, and returns its flags.
    fn fact(&mut self, location: usize, draft: Draft) -> Flags {
        self.requests += 1;
        let draft = Draft {
            key: format!("fact-{}", self.requests),
            location_id: LOCATIONS[location].0.to_owned(),
            ..draft
        };
        let sent = Sent { source: "t0", draft, broken: None };
        let movement = resolve(&sent, &self.memory).unwrap();
        match &*self.memory.record(self.now, &[Command::One(movement)]) {
            [Outcome::Recorded(posted)] => posted.flags,
            other => panic!("{other:?}"),
        }
    }

    fn sell(&mut self, location: usize, quantity: i64, reservation: &Reservation) -> Flags {
        let reservation_id = reservation.id.to_string();
        self.fact(location, Draft { quantity, reservation_id, ..draft(Kind::Sale, 0) })
    }

    fn take(&mut self, step: Step) -> Answer {
        let command = Command::Step(Box::new(step));
        match self.memory.record(self.now, &[command]).pop().unwrap() {
            Outcome::Stepped(reservation) => Ok(*reservation),
            Outcome::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    fn request(&mut self, place: Place, action: Action) -> Step {
        self.requests += 1;
        step(&format!("request-{}", self.requests), place, action)
    }

    fn create(&mut self, location: usize, create: Create) -> Answer {
        let step = self.request(LOCATIONS[location].1, Action::Create(Box::new(create)));
        self.take(step)
    }

    fn reserve(&mut self, location: usize, lines: Vec<Wanted>) -> Answer {
        self.create(location, create(lines, None))
    }

    fn hold(&mut self, location: usize, lines: Vec<Wanted>, seconds: i64) -> HoldId {
        let id = HoldId::of("cart", LOCATIONS[location].1, &self.requests.to_string());
        let ttl = Some(seconds * SECOND);
        self.create(location, Create { held_as: Some(id), ttl, ..create(lines, None) }).unwrap();
        id
    }

    fn change(&mut self, id: ReservationId, change: Change) -> Answer {
        let step = self.request(id.place, Action::Change(Target::Reservation(id), change));
        self.take(step)
    }

    fn change_hold(&mut self, id: HoldId, change: Change) -> Answer {
        let step = self.request(id.place, Action::Change(Target::Hold(id), change));
        self.take(step)
    }

    /// A reservation of an item that is picked and ready.
    fn ready(&mut self, location: usize, item: usize, quantity: i64, seconds: i64) -> Reservation {
        let ttl = Some(seconds * SECOND);
        let create = Create { ttl, ..create(vec![units(item, quantity)], None) };
        let made = self.create(location, create).unwrap();
        self.change(made.id, Change::StartPicking).unwrap();
        self.change(made.id, Change::MarkReady).unwrap()
    }

    /// SELLABLE, STAGED and what is reserved.
    fn stock(&self, location: usize, item: usize) -> [i64; 3] {
        let key = PositionKey { place: LOCATIONS[location].1, item: ITEMS[item].1 };
        let position = self.memory.positions.get(&key).cloned().unwrap_or_default();
        [position.sellable, position.staged, position.reserved]
    }

    fn is_doubtful(&self, location: usize, item: usize) -> bool {
        let key = PositionKey { place: LOCATIONS[location].1, item: ITEMS[item].1 };
        self.memory.positions[&key].doubtful_at.is_some()
    }
}

fn draft(kind: Kind, item: usize) -> Draft {
    Draft { kind: kind as i32, sku: ITEMS[item].0.to_owned(), quantity: 1, ..Draft::default() }
}

fn amend(lines: Vec<Wanted>) -> Change {
    Change::Amend { lines, more: Vec::new(), ttl: None, terms: terms(None) }
}

fn extend(seconds: i64) -> Change {
    Change::Extend { ttl: seconds * SECOND, terms: terms(None) }
}

fn elsewhere(location: usize) -> Elsewhere {
    let more = vec![units(0, 1), units(1, 1)];
    Elsewhere { to: LOCATIONS[location].1, more, terms: terms(None) }
}

fn found(item: usize, found: i64, cause: ShortCause) -> Change {
    let (sku, item) = ITEMS[item];
    let lines = vec![Found { item, sku: sku.to_owned(), found, cause }];
    Change::ReportPick { lines, elsewhere: None }
}

fn collect(lines: Vec<Wanted>) -> Change {
    Change::Collect { lines, code_fits: true }
}

fn wrong_state(state: &'static str) -> Answer {
    Err(Refusal::ReservationState { state })
}

/// Item, wanted and available of every short line.
fn short(answer: Answer) -> Vec<(String, i64, i64)> {
    match answer {
        Err(Refusal::InsufficientStock { short }) => {
            short.into_iter().map(|line| (line.sku, line.wanted, line.available)).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// Picked, collected and shelved of the first line, and how many are promised.
fn line(reservation: &Reservation) -> [i64; 4] {
    let line = reservation.lines[0];
    [line.quantity, line.picked, line.collected, line.shelved]
}

mod capacity;
mod failures;
mod holds;
mod life;
