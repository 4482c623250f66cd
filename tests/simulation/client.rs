//! A client: a till, a shop or a web site that asks for one thing after the other.

use std::sync::{Arc, Mutex};

use stockroom::stock::{
    draft::Draft,
    hold::HoldId,
    kind::Kind,
    reservation::{CancelledBy, ReservationId, Settlement, State},
    time::{Micros, SECOND, Timestamp},
};
use stockroom::writer::request::{NewPromise, Wish};

use crate::{
    call::{Call, Heard, What, call},
    database::tables::POISON,
    stage::{LOCATIONS, SKUS, Stage, caller},
    world::{World, lock},
};

/// What some client has, which any client may go on with.
#[derive(Debug, Default)]
pub struct Known {
    holds: Vec<KnownHold>,
    reservations: Vec<ReservationId>,
    facts: Vec<KnownFact>,
    /// What is on its way, with where it goes.
    shipped: Vec<KnownFact>,
}

/// A hold that was granted.
#[derive(Clone, Debug)]
struct KnownHold {
    id: HoldId,
    location_id: String,
    lines: Vec<(String, i64)>,
}

/// A fact that was recorded.
#[derive(Clone, Debug)]
struct KnownFact {
    source: String,
    key: String,
    location_id: String,
    sku: String,
    quantity: i64,
}

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Stock never falls but by what was promised, so that every promise can be kept.
    Orderly,
    /// Everything.
    Wild,
}

/// One client.
pub struct Client {
    stage: Arc<Stage>,
    name: String,
    manner: Manner,
    known: Arc<Mutex<Known>>,
    last: u64,
}

impl Client {
    pub fn new(
        stage: Arc<Stage>,
        number: usize,
        manner: Manner,
        known: Arc<Mutex<Known>>,
    ) -> Client {
        Client { stage, name: caller(number), manner, known, last: 0 }
    }

    /// Asks for some things, and tells what it heard.
    pub async fn run(mut self, requests: usize) -> Vec<Call> {
        let mut calls = Vec::new();
        for _ in 0..requests {
            tokio::time::sleep(self.world().span(0..40_000)).await;
            let key = self.key();
            let Some(what) = self.next(&key) else { continue };
            let made = call(&self.stage, &self.name, &key, what).await;
            self.learn(&made);
            let other = self.other(&made);
            calls.extend(made);
            if let Some(other) = other {
                calls.extend(call(&self.stage, &self.name, &key, other).await);
            }
        }
        calls
    }

    fn world(&self) -> &World {
        &self.stage.world
    }

    fn key(&mut self) -> String {
        self.last += 1;
        format!("{}-{}", self.name, self.last)
    }

    fn next(&mut self, key: &str) -> Option<What> {
        let facts = if self.manner == Manner::Wild { 44 } else { 4 };
        match self.world().below(facts + 81) {
            0..18 => Some(What::Hold(self.promise())),
            18..32 => Some(What::Reserve(self.promise())),
            32..44 => self.converted_hold(),
            44..48 => Some(What::ReserveAll(self.basket())),
            48..60 => self.change(),
            60..64 => {
                let KnownHold { id, .. } = self.some_hold()?;
                Some(What::ReleaseHold(id))
            }
            64..70 => {
                let KnownHold { id, .. } = self.some_hold()?;
                Some(What::ExtendHold(id, self.world().between(1..6) * SECOND))
            }
            70..75 => {
                let KnownHold { id, location_id, .. } = self.some_hold()?;
                let promise = self.promise();
                Some(What::ReplaceHold(id, NewPromise { location_id, ..promise }))
            }
            75..81 => Some(What::ReserveAll(self.basket())),
            81..85 => Some(What::Record(vec![self.fact(Kind::Receipt, key)])),
            _ => self.wild_fact(key),
        }
    }

    /// Now and then something else under a key that was used.
    fn other(&self, made: &[Call]) -> Option<What> {
        let more = |promise: &NewPromise| {
            let mut promise = promise.clone();
            promise.lines.first_mut()?.1 += 1;
            Some(promise)
        };
        match &made.last().filter(|_| self.world().happens(60))?.what {
            What::Reserve(promise) => Some(What::Reserve(more(promise)?)),
            What::Hold(promise) => Some(What::Hold(more(promise)?)),
            What::Record(drafts) => {
                let mut drafts = drafts.clone();
                drafts.first_mut()?.quantity += 1;
                Some(What::Record(drafts))
            }
            _ => None,
        }
    }

    fn promise(&self) -> NewPromise {
        let world = self.world();
        let lines = (0..=world.below(3)).map(|_| self.line()).collect();
        NewPromise {
            location_id: world.one_of(&LOCATIONS).0.to_owned(),
            lines,
            hold: None,
            ttl: Some(self.ttl()),
            per_line: world.happens(150),
            settlement: Settlement::default(),
            order_ref: String::new(),
            customer_ref: String::new(),
        }
    }

    fn ttl(&self) -> Micros {
        match self.world().happens(400) {
            true => self.world().between(1_000_000..3_000_000),
            false => 600 * SECOND,
        }
    }

    fn line(&self) -> (String, i64) {
        let sku = (*self.world().one_of(&SKUS)).to_owned();
        (sku, self.world().between(1..6))
    }

    fn basket(&self) -> Vec<NewPromise> {
        let mut first = self.promise();
        let mut second = self.promise();
        while second.location_id == first.location_id {
            second = self.promise();
        }
        // Both in one partition.
        if self.world().happens(400) {
            first.location_id = LOCATIONS[0].0.to_owned();
            second.location_id = LOCATIONS[1].0.to_owned();
        }
        let whole = |promise| NewPromise { per_line: false, ..promise };
        vec![whole(first), whole(second)]
    }

    fn some_hold(&self) -> Option<KnownHold> {
        let known = lock(&self.known);
        let at = usize::try_from(self.world().below(known.holds.len().max(1) as u64)).ok()?;
        known.holds.get(at).cloned()
    }

    fn converted_hold(&self) -> Option<What> {
        let KnownHold { id, location_id, lines } = self.some_hold()?;
        // Without lines: those of the hold.
        let lines = if self.world().happens(500) { Vec::new() } else { lines };
        let promise = self.promise();
        let per_line = false;
        Some(What::Reserve(NewPromise { location_id, lines, hold: Some(id), per_line, ..promise }))
    }

    fn change(&self) -> Option<What> {
        let world = self.world();
        let id = {
            let known = lock(&self.known);
            let at = usize::try_from(world.below(known.reservations.len().max(1) as u64)).ok()?;
            *known.reservations.get(at)?
        };
        let wish = match world.below(20) {
            0..7 => Wish::Cancel(CancelledBy::Customer),
            7..10 if self.manner == Manner::Wild => Wish::Collect(Vec::new(), String::new()),
            7..10 => Wish::Extend(world.between(2..600) * SECOND),
            10..12 => Wish::StartPicking,
            12 => Wish::MarkReady,
            13 => Wish::ReturnToShelf,
            14..17 => Wish::Move(world.one_of(&LOCATIONS).0.to_owned()),
            _ => Wish::Amend(vec![self.line()]),
        };
        Some(What::Change(id, wish))
    }

    fn fact(&self, kind: Kind, key: &str) -> Draft {
        let (sku, quantity) = self.line();
        Draft {
            key: key.to_owned(),
            kind: kind as i32,
            location_id: self.world().one_of(&LOCATIONS).0.to_owned(),
            sku,
            quantity,
            ..Draft::default()
        }
    }

    fn ago(&self) -> Option<Timestamp> {
        let ago = self.world().between(1..4_000_000);
        Some(self.world().now().saturating_add(-ago))
    }

    fn wild_fact(&self, key: &str) -> Option<What> {
        let world = self.world();
        let late = |draft: Draft| Draft { occurred_at: self.ago(), ..draft };
        let one = |draft: Draft| Some(What::Record(vec![draft]));
        match world.below(40) {
            0..8 => one(self.fact(Kind::Sale, key)),
            8..13 => one(late(self.fact(Kind::Sale, key))),
            13..18 => one(late(self.fact(Kind::Count, key))),
            18..20 => one(self.fact(Kind::Block, key)),
            20..25 => {
                let fact = self.fact(Kind::TransferShip, key);
                let to = world.one_of(&LOCATIONS).0;
                (to != fact.location_id)
                    .then(|| What::Record(vec![Draft { to_location_id: to.to_owned(), ..fact }]))
            }
            25..28 => self.receive(key),
            28..31 => self.about(key, Kind::Correct),
            31..34 => self.about(key, Kind::Return),
            34..36 => {
                let sku = format!("new-{}", world.below(6));
                one(Draft { sku, ..self.fact(Kind::Receipt, key) })
            }
            36..38 => {
                let KnownHold { id, location_id, lines } = self.some_hold()?;
                let (sku, quantity) = lines.first()?.clone();
                let fact = self.fact(Kind::Sale, key);
                one(Draft { hold_id: id.to_string(), location_id, sku, quantity, ..fact })
            }
            38 => {
                let fact = self.fact(Kind::Receipt, key);
                one(Draft { note: POISON.to_owned(), ..fact })
            }
            _ => {
                let drafts = (0..3).map(|at| Draft {
                    group: if at < 2 { key.to_owned() } else { String::new() },
                    ..self.fact(*world.one_of(&[Kind::Sale, Kind::Receipt]), &format!("{key}.{at}"))
                });
                Some(What::Record(drafts.collect()))
            }
        }
    }

    fn about(&self, key: &str, kind: Kind) -> Option<What> {
        let KnownFact { source, key: original, location_id, sku, quantity } = {
            let known = lock(&self.known);
            let at = usize::try_from(self.world().below(known.facts.len().max(1) as u64)).ok()?;
            known.facts.get(at)?.clone()
        };
        let quantity = if kind == Kind::Correct { 0 } else { quantity };
        Some(What::Record(vec![Draft {
            key: key.to_owned(),
            kind: kind as i32,
            location_id,
            sku,
            quantity,
            original: Some((source, original)),
            reason: "did_not_occur".to_owned(),
            ..Draft::default()
        }]))
    }

    fn receive(&self, key: &str) -> Option<What> {
        let KnownFact { location_id, sku, quantity, .. } = lock(&self.known).shipped.pop()?;
        Some(What::Record(vec![Draft {
            key: key.to_owned(),
            kind: Kind::TransferReceive as i32,
            location_id,
            sku,
            quantity,
            ..Draft::default()
        }]))
    }

    fn learn(&self, calls: &[Call]) {
        let known = &mut *lock(&self.known);
        for Call { heard, what, .. } in calls {
            match (what, heard) {
                (What::Hold(promise), Heard::Held { id, .. }) => known.holds.push(KnownHold {
                    id: *id,
                    location_id: promise.location_id.clone(),
                    lines: promise.lines.clone(),
                }),
                (_, Heard::Stepped(reservations)) => {
                    let open = reservations.iter().filter(|made| made.state == State::Reserved);
                    known.reservations.extend(open.map(|made| made.id));
                }
                (What::Record(drafts), Heard::Recorded(_)) => {
                    for draft in drafts {
                        let told = |location_id: &String| {
                            let known = KnownFact {
                                source: self.name.clone(),
                                key: draft.key.clone(),
                                location_id: location_id.clone(),
                                sku: draft.sku.clone(),
                                quantity: draft.quantity,
                            };
                            Some(known).filter(|known| !known.location_id.is_empty())
                        };
                        known.shipped.extend(told(&draft.to_location_id));
                        known.facts.extend(told(&draft.location_id));
                    }
                }
                _ => {}
            }
        }
    }
}
