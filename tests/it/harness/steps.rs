//! Steps of reservations straight on a ledger: also those that only the service itself takes, and
//! batches of a test's own making.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use stockroom::{
    ledger::Ledger,
    stock::{
        book::Needs,
        calendar::{Calendar, Opening},
        channel_policy::Policy,
        hash::{Digest, StableHash},
        hold::HoldId,
        ids::{ItemNo, Place},
        live::Live,
        machine::{Outcome, Plan, apply},
        movement::Command,
        pickup::PickupSecret,
        reservation::{Reservation, ReservationId, Settlement},
        step::{Action, Change, Create, Elsewhere, Step, Target, Wanted},
        terms::Terms,
        time::{Micros, SECOND},
    },
};
use tokio::time::Instant;

/// Who asks.
pub const CALLER: &str = "shop-app";

/// Takes steps on a ledger.
pub struct Steps<'l> {
    pub ledger: &'l Ledger,
}

/// Terms of a location that never closes.
pub fn terms(policy: Policy) -> Arc<Terms> {
    Arc::new(Terms {
        policy: Arc::new(policy),
        calendar: Arc::new(Calendar::new(TimeZone::UTC, Opening::default())),
        preparation: 7_200 * SECOND,
        live: Live::default(),
        pickups_per_quarter_hour: 0,
        secret: PickupSecret::new(b"secret"),
    })
}

/// A promise of these items.
pub fn create(lines: &[(ItemNo, i64)]) -> Create {
    Create {
        lines: wanted(lines),
        per_line: false,
        ttl: None,
        hold: None,
        held_as: None,
        settlement: Settlement::PaidOnline,
        order_ref: String::new(),
        customer_ref: String::new(),
        terms: terms(Policy::default()),
    }
}

pub fn wanted(lines: &[(ItemNo, i64)]) -> Vec<Wanted> {
    let wanted = |&(item, quantity): &(ItemNo, i64)| Wanted {
        item,
        sku: format!("item-{}", item.0),
        stock_item: true,
        quantity,
    };
    lines.iter().map(wanted).collect()
}

/// These lines instead.
pub fn amend(lines: Vec<Wanted>) -> Change {
    Change::Amend { lines, more: Vec::new(), ttl: None, terms: terms(Policy::default()) }
}

/// To another location.
pub fn move_to(to: Place) -> Change {
    Change::Move(elsewhere(to))
}

pub fn elsewhere(to: Place) -> Elsewhere {
    Elsewhere { to, more: Vec::new(), terms: terms(Policy::default()) }
}

impl Steps<'_> {
    pub async fn place(&self, location_id: &str) -> Place {
        let directory = self.ledger.directory();
        directory.find_locations(&[location_id]).await.unwrap();
        directory.known().location(location_id).unwrap().place
    }

    pub async fn item(&self, sku: &str) -> ItemNo {
        let directory = self.ledger.directory();
        directory.find_items(&[sku]).await.unwrap();
        directory.known().item(sku).unwrap().item
    }

    pub async fn step(&self, key: &str, place: Place, action: Action) -> Step {
        let mut hash = StableHash::new("step");
        hash.text(key);
        hash.number(place.location.0.into());
        Step {
            request_id: key.to_owned(),
            caller: self.ledger.directory().source(CALLER).await.unwrap(),
            digest: Digest::of_request(CALLER, key),
            fingerprint: hash.finish_i64(),
            actor: "clerk".to_owned(),
            channel: None,
            place,
            reason: String::new(),
            action,
        }
    }

    pub async fn create(&self, key: &str, place: Place, create: Create) -> Reservation {
        let step = self.step(key, place, Action::Create(Box::new(create))).await;
        self.one(step).await
    }

    /// A hold that the ledger keeps.
    pub async fn hold(&self, key: &str, place: Place, item: ItemNo, ttl: Micros) -> HoldId {
        let id = HoldId::of(CALLER, place, key);
        let hold = Create { held_as: Some(id), ttl: Some(ttl), ..create(&[(item, 3)]) };
        self.create(key, place, hold).await;
        id
    }

    pub async fn change(&self, key: &str, id: ReservationId, change: Change) -> Reservation {
        let action = Action::Change(Target::Reservation(id), change);
        self.one(Step { reason: "because".to_owned(), ..self.step(key, id.place, action).await })
            .await
    }

    pub async fn change_hold(&self, key: &str, id: HoldId, change: Change) -> Reservation {
        let action = Action::Change(Target::Hold(id), change);
        self.one(self.step(key, id.place, action).await).await
    }

    /// One step, which must be taken.
    pub async fn one(&self, step: Step) -> Reservation {
        match &*self.take(&[Command::Step(Box::new(step))], |_| ()).await {
            [Outcome::Stepped(reservation)] => (**reservation).clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Decides a batch and writes it, after `spoil` has had its way with it.
    pub async fn take(
        &self,
        commands: &[Command],
        spoil: impl FnOnce(&mut Plan<'_>),
    ) -> Vec<Outcome> {
        let places = commands.iter().flat_map(Command::places);
        let partitions: BTreeSet<_> = places.map(|place| place.partition).collect();
        let partitions: Vec<_> = partitions.into_iter().collect();
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut batch = self.ledger.begin(&partitions, deadline).await.unwrap();
        let mut book = batch.open(&Needs::of(commands)).await.unwrap().unwrap();
        loop {
            match apply(&book, commands) {
                Ok(mut plan) => {
                    spoil(&mut plan);
                    batch.write(&plan, book.now).await.unwrap();
                    batch.commit().await.unwrap();
                    return plan.outcomes;
                }
                Err(more) => batch.read(&more, &mut book).await.unwrap(),
            }
        }
    }
}
