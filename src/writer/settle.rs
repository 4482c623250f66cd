//! After a batch: Redis is told what it did. Losing that is harmless, as tokens expire and the feed
//! projects every entry again.

use crate::{
    availability::{
        Availability, Row,
        project::{Consumed, Effects, Settle},
    },
    ledger::head::Head,
    stock::{
        hold::{HoldEffect, HoldId},
        ids::{Partition, Seq},
        machine::Plan,
    },
    writer::{admit::Admitted, counted::Steps},
};

/// What a batch did to one partition, as far as it has to be told.
#[derive(Debug)]
pub(super) struct Effect {
    pub partition: Partition,
    epoch: i64,
    from: Seq,
    to: Seq,
    rows: Vec<Row>,
    consumed: Vec<Consumed>,
    ledger_holds: Vec<HoldId>,
    /// For the metrics, of which Redis knows nothing.
    pub steps: Steps,
}

impl Effect {
    /// The epoch in which it was written.
    pub(super) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// How many entries it wrote.
    pub(super) fn entries(&self) -> u64 {
        self.to.abs_diff(self.from)
    }
}

/// What a plan did, once `heads` were committed.
pub(super) fn effects(plan: &Plan<'_>, heads: &[Head]) -> Vec<Effect> {
    let moved = heads.iter().filter_map(|head| {
        let log = plan.logs.get(&head.partition).filter(|log| !log.entries.is_empty())?;
        let positions = plan.positions.iter();
        let rows = positions.filter(|(key, _)| key.place.partition == head.partition);
        let rows = rows.map(|(&key, position)| Row {
            key,
            seq: position.seq,
            sellable: position.sellable,
            reserved: position.reserved,
        });
        let mut effect = Effect {
            partition: head.partition,
            epoch: head.epoch,
            from: log.base,
            to: head.seq,
            rows: rows.collect(),
            consumed: Vec::new(),
            ledger_holds: Vec::new(),
            steps: Steps::of(plan, &log.entries),
        };
        for entry in log.entries.iter().filter(|entry| !entry.hold_id.is_empty()) {
            let Ok(hold) = entry.hold_id.parse::<HoldId>() else { continue };
            match HoldEffect::of(entry.kind, entry.reservation_state) {
                Some(HoldEffect::Consumed) => effect.consumed.push(Consumed { hold, item: None }),
                Some(HoldEffect::Sold) => {
                    effect.consumed.push(Consumed { hold, item: Some(entry.item) });
                }
                Some(HoldEffect::InLedger) => effect.ledger_holds.push(hold),
                None => {}
            }
        }
        // A hold of another partition is no business of this one.
        effect.consumed.retain(|consumed| consumed.hold.place.partition == head.partition);
        Some(effect)
    });
    moved.collect()
}

/// Tells Redis, and gives back what was taken for the batch. False: the feed has to project it.
pub(super) async fn settle(
    availability: &Availability,
    partition: Partition,
    effect: Option<&Effect>,
    admitted: Option<Admitted>,
) -> bool {
    let token = admitted.map(|admitted| admitted.token);
    if effect.is_none() && token.is_none() {
        return true;
    }
    let settle = match effect {
        Some(effect) => Settle {
            epoch: effect.epoch,
            from: effect.from,
            to: Some(effect.to),
            token,
            began_at: admitted.map(|admitted| admitted.at),
            effects: Effects {
                rows: &effect.rows,
                consumed: &effect.consumed,
                ledger_holds: &effect.ledger_holds,
            },
        },
        None => Settle {
            epoch: 0,
            from: 0,
            to: None,
            token,
            began_at: None,
            effects: Effects::default(),
        },
    };
    match availability.settle(partition, settle).await {
        Ok(moved) => moved || effect.is_none(),
        Err(fault) => {
            tracing::debug!(fault = fault.chain(), "a batch was not settled");
            false
        }
    }
}
