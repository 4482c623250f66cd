//! The naive model of promises: one list, and "Holds and reservations" of the domain read
//! literally. It takes from the machine only what names things: ids, versions, hashes of codes.

mod changes;
mod limits;
mod store;

use std::collections::HashMap;

use stockroom::stock::{
    draft::Draft,
    hold::HoldId,
    ids::{ItemNo, Place},
    kind::Kind,
    machine::Outcome,
    movement::Movement,
    refusal::{Refusal, Short},
    reservation::{Line, Reservation, ReservationId, State},
    step::{Action, Create, Step, Target, Wanted},
    terms::Terms,
    time::Timestamp,
};

use self::{
    changes::Effect,
    limits::{above_cap, answer_by, collect_by, not_eligible, ready_by, too_long},
};
use super::{Fact, Oracle, StockState};
use crate::stock::steps::kept_back;

/// Everything that was ever promised, in its present state.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    all: Vec<Reservation>,
    /// Fingerprint and first answer of each request.
    answers: HashMap<(Place, String), (i64, Reservation)>,
}

/// What a sale took from a promise.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Units that were set aside for it.
    pub aside: i64,
}

impl Taken {
    /// The state that the units leave.
    pub fn from(self, draft: &Draft) -> i32 {
        if self.aside == draft.quantity { 2 } else { draft.from_state }
    }
}

impl Promises {
    pub fn keys(&self) -> usize {
        self.answers.len()
    }
}

fn is_open(promise: &Reservation) -> bool {
    use State::{Held, Picking, Ready, Reserved};
    [Reserved, Picking, Ready, Held].contains(&promise.state)
}

fn aside(line: &Line) -> i64 {
    line.picked - line.collected - line.shelved
}

fn line_of(promise: &Reservation, item: ItemNo) -> Option<&Line> {
    promise.lines.iter().find(|line| line.item == item)
}

fn wrong_state(promise: &Reservation) -> Refusal {
    Refusal::ReservationState { state: promise.state.name() }
}

/// A promise of which everything is handed over has reached its end.
fn finish_if_done(promise: &mut Reservation) {
    if is_open(promise) && promise.lines.iter().all(|line| line.collected == line.quantity) {
        let hold = promise.held_as.is_some();
        promise.state = if hold { State::Consumed } else { State::Collected };
        promise.answer_by = None;
    }
    if promise.state == State::Expired && promise.lines.iter().all(|line| aside(line) == 0) {
        promise.state = State::Collected;
    }
}

impl Oracle {
    /// What must become of a step; `told` is what did.
    pub fn step(&mut self, now: Timestamp, step: &Step, told: &Outcome) -> Outcome {
        match self.judge(now, step, told) {
            Ok(reservation) => Outcome::Stepped(Box::new(reservation)),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// The same for steps that are all taken or none.
    pub fn basket(&mut self, now: Timestamp, steps: &[Step], told: &[Outcome]) -> Vec<Outcome> {
        let before = self.clone();
        let told = steps.iter().zip(told);
        let all: Vec<_> = told.map(|(step, told)| self.step(now, step, told)).collect();
        let refusals = || {
            all.iter().filter_map(|outcome| match outcome {
                Outcome::Refused(refusal) => Some(refusal.clone()),
                _ => None,
            })
        };
        let Some(mut refusal) = refusals().next() else { return all };
        *self = before;
        if let Refusal::InsufficientStock { short } = &mut refusal {
            *short = refusals().flat_map(short_of).collect();
        }
        steps.iter().map(|_| Outcome::Refused(refusal.clone())).collect()
    }

    /// All promises; their versions are not known.
    pub fn promises(&self) -> impl Iterator<Item = &Reservation> {
        self.promises.all.iter()
    }

    /// Units of a position that are promised and not picked.
    pub fn reserved(&self, place: Place, item: ItemNo) -> i64 {
        let open = self.promises.all.iter().filter(|promise| is_open(promise));
        let lines = open.filter(|promise| promise.id.place == place).flat_map(|open| &open.lines);
        let lines = lines.filter(|line| line.item == item);
        lines.map(|line| line.quantity - line.picked).sum()
    }

    /// Whether a movement names a promise and none that is known.
    pub(super) fn names_nothing_known(&self, movement: &Movement) -> bool {
        let Draft { reservation_id, hold_id, .. } = &movement.draft;
        if reservation_id.is_empty() && hold_id.is_empty() {
            return false;
        }
        let elsewhere = hold_id.parse::<HoldId>().is_ok_and(|hold| {
            let known = |promise: &&Reservation| {
                [promise.hold, promise.held_as].contains(&Some(hold.digest))
            };
            hold.place == movement.place && !self.promises.all.iter().any(|p| known(&p))
        });
        !(elsewhere && reservation_id.is_empty() && sells(movement))
    }

    /// Takes what a sale sells from the promise that it names.
    pub(super) fn consume(&mut self, now: Timestamp, movement: &Movement) -> Option<Taken> {
        let Draft { reservation_id, hold_id, quantity, from_state, .. } = &movement.draft;
        let named = |promise: &&mut Reservation| {
            let name = promise.id.to_string();
            match reservation_id.is_empty() {
                false => promise.held_as.is_none() && name == *reservation_id,
                true => {
                    hold_id.parse().is_ok_and(|hold: HoldId| promise.held_as == Some(hold.digest))
                }
            }
        };
        let own = self.promises.all.iter_mut().filter(|own| own.id.place == movement.place);
        let promise = own.filter(|_| sells(movement)).find(named)?;
        let (open, expired) = (is_open(promise), promise.state == State::Expired);
        if !open && !expired {
            return None;
        }
        let line = promise.lines.iter_mut().find(|line| line.item == movement.item)?;
        let aside = aside(line).min(*quantity);
        let on_shelf = if expired || *from_state == 2 { 0 } else { line.quantity - line.picked };
        let promised = on_shelf.min(quantity - aside);
        if aside + promised == 0 {
            return None;
        }
        line.picked += promised;
        line.collected += aside + promised;
        promise.answer_by = None;
        promise.changed_at = now;
        finish_if_done(promise);
        Some(Taken { aside })
    }

    /// A fact that a step of a reservation brought about.
    pub(super) fn moved(
        &mut self,
        at: Timestamp,
        place: Place,
        item: ItemNo,
        kind: Kind,
        (from, to): (i32, i32),
        quantity: i64,
    ) {
        if quantity > 0 {
            self.facts.push(Fact {
                key: (place, String::new(), self.facts.len().to_string()),
                kind,
                place,
                to_place: None,
                item,
                quantity,
                at,
                from,
                to,
                document: (String::new(), 0),
                linked: None,
                corrected: false,
            });
        }
    }

    fn judge(
        &mut self,
        now: Timestamp,
        step: &Step,
        told: &Outcome,
    ) -> Result<Reservation, Refusal> {
        let key = (step.place, step.request_id.clone());
        if let Some((fingerprint, first)) = self.promises.answers.get(&key) {
            return match *fingerprint == step.fingerprint {
                true => Ok(first.clone()),
                false => Err(Refusal::KeyReused { field: "request" }),
            };
        }
        let told = match told {
            Outcome::Stepped(told) => Some(&**told),
            _ => None,
        };
        let mut answer = match &step.action {
            Action::Create(create) => self.create(now, step, create, told)?,
            Action::Change(target, change) => {
                let index = self.target(target)?;
                let before = self.promises.all[index].clone();
                let (after, effect) = self.change(now, step, before.clone(), change, told)?;
                self.promises.all[index] = after.clone();
                match effect {
                    Effect::Nothing => {
                        let version = told.map_or(0, |told| told.version);
                        return Ok(Reservation { version, ..after });
                    }
                    Effect::Step => after,
                    Effect::Moved(successor) => {
                        self.promises.all.push((*successor).clone());
                        *successor
                    }
                }
            }
        };
        answer.version = told.map_or(0, |told| told.version);
        self.promises.answers.insert(key, (step.fingerprint, answer.clone()));
        Ok(answer)
    }

    fn create(
        &mut self,
        now: Timestamp,
        step: &Step,
        create: &Create,
        told: Option<&Reservation>,
    ) -> Result<Reservation, Refusal> {
        let Create { lines, hold, held_as, terms, .. } = create;
        if lines.is_empty() {
            let hold_id = hold.map_or_else(String::new, |hold| hold.to_string());
            return Err(Refusal::HoldUnknown { hold_id });
        }
        if lines.iter().any(|line| !line.stock_item) {
            return Err(Refusal::NotAStockItem);
        }
        if hold.is_some_and(|hold| hold.place != step.place) {
            return Err(Refusal::HoldElsewhere);
        }
        let digest = hold.map(|hold| hold.digest);
        if digest.is_some() && self.promises.all.iter().any(|other| other.hold == digest) {
            return Err(Refusal::HoldConsumed);
        }
        let own = self.promises.all.iter().position(|other| {
            digest.is_some() && other.held_as == digest && other.state == State::Held
        });
        let refusal = not_eligible(terms, step.place)
            .or_else(|| too_long(terms, create.ttl, held_as.is_some()))
            .or_else(|| above_cap(terms, step.place, lines));
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let own_units = |item| {
            let line = own.and_then(|own| line_of(&self.promises.all[own], item));
            line.map_or(0, |line| line.quantity - line.picked)
        };
        let lines = self.grant(step.place, lines, terms, own_units, create.per_line)?;
        if let Some(own) = own {
            let own = &mut self.promises.all[own];
            (own.state, own.reason) = (State::Consumed, "consumed".to_owned());
            (own.answer_by, own.changed_at) = (None, now);
        }
        let held = held_as.is_some();
        let rule = || collect_by(terms, now, create.settlement);
        let reservation = Reservation {
            id: new_id(told, step.place),
            state: if held { State::Held } else { State::Reserved },
            channel: step.channel,
            settlement: create.settlement,
            lines,
            order_ref: create.order_ref.clone(),
            customer_ref: create.customer_ref.clone(),
            hold: digest,
            held_as: held_as.map(|hold| hold.digest),
            code_hash: told.map_or(0, |told| told.code_hash),
            created_at: now,
            ready_by: ready_by(terms, now),
            expires_at: create.ttl.map_or_else(rule, |ttl| Timestamp(now.0 + ttl)),
            ttl_given: create.ttl.is_some(),
            answer_by: answer_by(terms, now).filter(|_| !held),
            paid_at: None,
            changed_at: now,
            reason: String::new(),
            cancelled_by: None,
            successor: None,
            predecessor: None,
            version: 0,
        };
        self.promises.all.push(reservation.clone());
        Ok(reservation)
    }

    fn target(&self, target: &Target) -> Result<usize, Refusal> {
        let find = |named: &dyn Fn(&Reservation) -> bool| self.promises.all.iter().position(named);
        match target {
            Target::Reservation(id) => find(&|found| found.id == *id)
                .ok_or(Refusal::ReservationUnknown { reservation_id: id.to_string() }),
            Target::Hold(hold) => {
                let consumed = find(&|found| found.hold == Some(hold.digest)).is_some();
                let refusal = match consumed {
                    true => Refusal::HoldConsumed,
                    false => Refusal::HoldUnknown { hold_id: hold.to_string() },
                };
                find(&|found| found.held_as == Some(hold.digest)).ok_or(refusal)
            }
        }
    }

    /// What is there for each line, `own` being what the one who asks has already.
    pub(super) fn grant(
        &self,
        place: Place,
        wanted: &[Wanted],
        terms: &Terms,
        own: impl Fn(ItemNo) -> i64,
        per_line: bool,
    ) -> Result<Vec<Line>, Refusal> {
        let (mut lines, mut short) = (Vec::new(), Vec::new());
        for Wanted { item, sku, quantity, .. } in wanted {
            let sellable = self.balance(place, *item, StockState::Sellable);
            let promised = self.reserved(place, *item) - own(*item);
            let kept_back = kept_back(&terms.policy, place, *item, sellable);
            let available = (sellable - promised - kept_back).max(0);
            if *quantity <= available {
                lines.push(Line {
                    item: *item,
                    quantity: *quantity,
                    picked: 0,
                    collected: 0,
                    shelved: 0,
                });
            } else {
                let (sku, wanted) = (sku.clone(), *quantity);
                short.push(Short { sku, wanted, available, band: None, version: 0 });
            }
        }
        if lines.is_empty() || !short.is_empty() && !per_line {
            return Err(Refusal::InsufficientStock { short });
        }
        Ok(lines)
    }
}

fn sells(movement: &Movement) -> bool {
    [Kind::Sale, Kind::ShipOut].contains(&movement.kind)
}

/// The name that was given to a new promise; any where none was given.
fn new_id(told: Option<&Reservation>, place: Place) -> ReservationId {
    told.map_or(ReservationId { place, epoch: 0, no: -1 }, |told| told.id)
}

fn short_of(refusal: Refusal) -> Vec<Short> {
    match refusal {
        Refusal::InsufficientStock { short } => short,
        _ => Vec::new(),
    }
}
