//! A hold that is asked for, and what Redis answers.

use std::sync::Arc;

use crate::{
    ambient,
    availability::{
        Trust,
        hold::{HoldAnswer, Wanted},
    },
    stock::{
        hold::HoldId,
        ids::{ChannelNo, PositionKey},
        recall::Recalled,
        refusal::{Refusal, Short},
        step,
        terms::Terms,
        time::Micros,
    },
    writer::{
        Failure,
        admit::AGE_US_MAX,
        hold::{Held, caps},
        request::Denial,
    },
};

/// A hold that is asked for, with everything that both stores need.
pub(super) struct Asked {
    pub id: HoldId,
    pub lines: Vec<step::Wanted>,
    pub per_line: bool,
    pub ttl: Option<Micros>,
    pub channel: Option<ChannelNo>,
    pub customer_ref: String,
    pub terms: Arc<Terms>,
    pub fingerprint: i64,
    /// Whether it wants something of a position with quotas: then the ledger keeps it, where it counts for
    /// the quota of its channel.
    pub of_quotas: bool,
    /// The epoch in which its names were looked up.
    pub names: i64,
}

impl Asked {
    /// Redis may judge it by positions of the epoch in which its items were looked up.
    pub(super) fn trust(&self) -> Trust {
        Trust { epoch: Some(self.names).filter(|epoch| *epoch > 0), age_us_max: AGE_US_MAX }
    }

    pub(super) fn check(&self, recalled: &Recalled) -> Result<(), Refusal> {
        if self.lines.iter().any(|line| !line.stock_item) {
            return Err(Refusal::NotAStockItem);
        }
        recalled.check(&self.lines)?;
        self.terms.check_place(self.id.place, ambient::now())?;
        self.terms.check_ttl(self.ttl, true)?;
        self.terms.check_cap(self.id.place, &self.lines)
    }

    /// Whether an answer grants no more than was asked for.
    pub(super) fn could_be_granted(&self, answer: &HoldAnswer) -> bool {
        let (HoldAnswer::Granted(hold) | HoldAnswer::Replayed(hold)) = answer else { return true };
        hold.lines.iter().all(|granted| {
            let mut asked = self.lines.iter();
            asked.any(|line| line.item == granted.item && line.quantity >= granted.quantity)
        })
    }

    /// Whether Redis can have heard of every item.
    pub(super) fn is_known(&self) -> bool {
        !self.lines.iter().any(|line| line.item.is_provisional())
    }

    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let wanted = |line: &step::Wanted| {
            let key = PositionKey { place: self.id.place, item: line.item };
            let buffer = self.terms.policy.buffer_at(key);
            Wanted { item: line.item, quantity: line.quantity, buffer }
        };
        self.lines.iter().map(wanted).collect()
    }

    pub(super) fn answered(&self, answer: HoldAnswer) -> Result<Held, Denial> {
        match answer {
            HoldAnswer::Granted(hold) | HoldAnswer::Replayed(hold) => Ok(hold.into()),
            HoldAnswer::KeyReused => Err(Refusal::KeyReused { field: "request" }.into()),
            HoldAnswer::Capped { by, units_max } => Err(caps::refusal(by, units_max).into()),
            HoldAnswer::Short { lines, checkpoint } => {
                let short = self.lines.iter().filter_map(|line| {
                    let short = lines.iter().find(|short| short.key.item == line.item)?;
                    Some(Short::new(line, short.available, checkpoint.seq, &self.terms.policy))
                });
                Err(Refusal::InsufficientStock { short: short.collect() }.into())
            }
            // The callers have dealt with these.
            HoldAnswer::Contended | HoldAnswer::InLedger | HoldAnswer::Unusable(_) => {
                Err(Failure::Broken.into())
            }
        }
    }
}
