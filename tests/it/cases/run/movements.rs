//! Steps that report facts.

use stockroom::api::proto::{
    Movement, MovementKind, MovementRef, MovementResult, MovementStatus, StockState,
};

use super::{Answered, SOURCE, Scene, pair};
use crate::cases::table::Step;

/// The kind of movement that a verb reports, if it reports one.
pub fn kind(step: &Step<'_>) -> Option<MovementKind> {
    Some(match step.verb {
        "receive" => MovementKind::Receipt,
        "expect" => MovementKind::Expect,
        "sell" => MovementKind::Sale,
        "ship" => MovementKind::ShipOut,
        "return" => MovementKind::Return,
        "send" => MovementKind::TransferShip,
        "arrive" => MovementKind::TransferReceive,
        "adjust" => MovementKind::Adjust,
        "block" => MovementKind::Block,
        "unblock" => MovementKind::Unblock,
        "count" => MovementKind::Count,
        "correct" => MovementKind::Correct,
        _ => return None,
    })
}

fn state(step: &Step<'_>, name: &str) -> i32 {
    let state = step.option(name).map(|name| {
        StockState::from_str_name(&format!("STOCK_STATE_{name}"))
            .unwrap_or_else(|| panic!("line {}: no state {name}", step.line))
    });
    state.unwrap_or_default() as i32
}

impl Scene<'_> {
    /// Posts the movements of one request, and compares their results line by line.
    pub(super) async fn record(&self, steps: &[&Step<'_>]) -> Result<(), String> {
        for (step, answered) in steps.iter().zip(self.post(steps).await) {
            self.judge(step, answered).map_err(|what| format!("{} {what}", step.word(0)))?;
        }
        Ok(())
    }

    pub(super) async fn post(&self, steps: &[&Step<'_>]) -> Vec<Answered> {
        let movements = steps.iter().map(|step| self.movement(step)).collect();
        let source = steps.first().and_then(|step| step.option("source")).unwrap_or(SOURCE);
        let response = self.server.record_as(source, movements).await;
        response.results.into_iter().map(answered).collect()
    }

    /// `sell KEY LOCATION ITEM:QUANTITY`, and what else belongs to it by name.
    fn movement(&self, step: &Step<'_>) -> Movement {
        let (item, quantity) = pair(step.word(2), step.line);
        let key = step.word(0);
        let kind = kind(step).unwrap();
        let mut movement = Movement {
            key: if key == super::EMPTY { String::new() } else { key.to_owned() },
            kind: kind as i32,
            location_id: self.location(step.word(1)),
            sku: self.sku(item),
            quantity,
            reason: step.option("reason").unwrap_or_default().to_owned(),
            document: step.option("document").unwrap_or_default().to_owned(),
            document_line: step.number("line").unwrap_or_default() as u32,
            note: step.option("note").unwrap_or_default().to_owned(),
            from_state: state(step, "out_of"),
            to_state: state(step, "into"),
            to_location_id: step.option("to").map_or(String::new(), |to| self.location(to)),
            reservation_id: step.option("reservation").map_or(String::new(), |key| self.id(key)),
            hold_id: step.option("hold").map_or(String::new(), |key| self.id(key)),
            group: step.option("group").unwrap_or_default().to_owned(),
            original: step
                .option("original")
                .map(|key| MovementRef { source: SOURCE.to_owned(), key: key.to_owned() }),
            ..Movement::default()
        };
        // `adjust k a x:-2`: a sign instead of two states.
        if kind == MovementKind::Adjust && movement.from_state == movement.to_state {
            movement.quantity = quantity.abs();
            let sellable = StockState::Sellable as i32;
            match quantity < 0 {
                true => movement.from_state = sellable,
                false => movement.to_state = sellable,
            }
        }
        movement
    }
}

fn answered(result: MovementResult) -> Answered {
    match (result.status(), result.error) {
        (MovementStatus::Recorded, _) => Answered::Done("RECORDED"),
        (MovementStatus::Duplicate, _) => Answered::Done("DUPLICATE"),
        (_, Some(error)) => Answered::Rejected(error),
        (status, None) => panic!("{status:?} without an error"),
    }
}
