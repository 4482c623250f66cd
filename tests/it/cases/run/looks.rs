//! Steps that look.

use stockroom::api::proto::{
    CheckAvailabilityRequest, Entry, ListEntriesRequest, MovementKind, Position, Reservation,
    ReservationState,
};

use super::Scene;
use crate::{
    cases::table::{Step, number},
    harness::{availability::check, server::eventually},
};

impl Scene<'_> {
    pub(super) async fn look(&self, step: &Step<'_>) -> Result<(), String> {
        match step.verb {
            "is" => self.look_at_position(step).await,
            "total" => self.look_at_total(step).await,
            "sees" => self.look_through_channel(step).await,
            "state" => self.look_at_state(step).await,
            "expires" => {
                let id = self.id(step.word(0));
                eventually("it expires", || async {
                    let expired = self.server.get(&id).await.state() == ReservationState::Expired;
                    expired.then_some(())
                })
                .await;
                Ok(())
            }
            _ => self.look_at_entries(step).await,
        }
    }

    /// `is LOCATION ITEM sellable=5 available=3`.
    async fn look_at_position(&self, step: &Step<'_>) -> Result<(), String> {
        let (location, sku) = (self.location(step.word(0)), self.sku(step.word(1)));
        let position = self.server.position(&location, &sku).await;
        for (name, value) in &step.options {
            let told = match *name {
                "available" => self.server.available(&location, &sku).await,
                "held" => {
                    self.server.explain(&location, &sku).await.terms.iter().fold(0, |held, term| {
                        match &*term.term {
                            "held" => held - term.quantity,
                            _ => held,
                        }
                    })
                }
                name => balance(&position, name, step.line),
            };
            same(name, told, number(value, step.line))?;
        }
        Ok(())
    }

    /// `total ITEM at=a,b available=7`: over several locations.
    async fn look_at_total(&self, step: &Step<'_>) -> Result<(), String> {
        let sku = self.sku(step.word(0));
        let locations: Vec<_> = step.option("at").unwrap().split(',').collect();
        for (name, value) in step.options.iter().filter(|(name, _)| *name != "at") {
            let mut told = 0;
            for location in &locations {
                let location = self.location(location);
                told += match *name {
                    "available" => self.server.available(&location, &sku).await,
                    name => {
                        let position = self.server.position(&location, &sku).await;
                        balance(&position, name, step.line)
                    }
                };
            }
            same(name, told, number(value, step.line))?;
        }
        Ok(())
    }

    /// `sees LOCATION ITEM 5 channel=web own=KEY`: what may be promised to somebody.
    async fn look_through_channel(&self, step: &Step<'_>) -> Result<(), String> {
        let own = step.option("own").map(|key| self.id(key));
        let channel_id = step.option("channel").map_or(String::new(), |name| self.location(name));
        let request = CheckAvailabilityRequest {
            channel_id,
            hold_id: own.clone().filter(|id| id.starts_with('h')).unwrap_or_default(),
            reservation_id: own.filter(|id| id.starts_with('r')).unwrap_or_default(),
            ..check(&self.location(step.word(0)), &self.sku(step.word(1)))
        };
        self.server.caught_up().await;
        let told = self.server.check(request).await.map_err(|status| format!("{status:?}"))?;
        same("available", told.available, number(step.word(2), step.line))
    }

    /// `state RESERVATION COLLECTED x:15/13/13`: with quantity, picked and collected of its lines.
    async fn look_at_state(&self, step: &Step<'_>) -> Result<(), String> {
        let found = self.server.get(&self.id(step.word(0))).await;
        let state = found.state().as_str_name().trim_start_matches("RESERVATION_STATE_");
        if state != step.word(1) {
            return Err(format!("it is {state}, not {}", step.word(1)));
        }
        for word in &step.words[2..] {
            let (item, numbers) = word.split_once(':').unwrap();
            let told = self.line_of(&found, item);
            if told != numbers {
                return Err(format!("{item} is {told}, not {numbers}"));
            }
        }
        Ok(())
    }

    fn line_of(&self, found: &Reservation, item: &str) -> String {
        let sku = self.sku(item);
        let line = found.lines.iter().find(|line| line.sku == sku);
        line.map_or("missing".to_owned(), |line| {
            format!("{}/{}/{}", line.quantity, line.picked, line.collected)
        })
    }

    /// `entries LOCATION ITEM RECEIPT:5 RESERVE:3`: all of the position, in order.
    async fn look_at_entries(&self, step: &Step<'_>) -> Result<(), String> {
        let request = ListEntriesRequest {
            location_id: self.location(step.word(0)),
            sku: self.sku(step.word(1)),
            page_size: 1_000,
            ..ListEntriesRequest::default()
        };
        let response = self.server.ledger().list_entries(request).await;
        let entries = response.map_err(|status| format!("{status:?}"))?.into_inner().entries;
        let told: Vec<String> = entries.iter().map(shown).collect();
        if told != step.words[2..] {
            return Err(format!("entries are {}", told.join(" ")));
        }
        Ok(())
    }
}

/// Kind, and units moved or promised.
fn shown(entry: &Entry) -> String {
    let kind = entry.kind();
    let units = match kind {
        MovementKind::Reserve | MovementKind::Release => entry.reserved_change,
        _ => entry.quantity,
    };
    format!("{}:{units}", kind.as_str_name().trim_start_matches("MOVEMENT_KIND_"))
}

fn balance(position: &Position, name: &str, line: usize) -> i64 {
    match name {
        "sellable" => position.sellable,
        "staged" => position.staged,
        "blocked" => position.blocked,
        "transit" => position.in_transit,
        "expected" => position.expected,
        "reserved" => position.reserved,
        "shortfall" => position.shortfall,
        "on_hand" => position.sellable + position.staged + position.blocked,
        _ => panic!("line {line}: no balance {name}"),
    }
}

fn same(name: &str, told: i64, wanted: i64) -> Result<(), String> {
    match told == wanted {
        true => Ok(()),
        false => Err(format!("{name} is {told}, not {wanted}")),
    }
}
