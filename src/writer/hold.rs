//! Holds: taken in Redis, and in the ledger where Redis cannot say anything.

mod asked;
mod caps;
mod lines;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

pub use self::caps::HoldCaps;

use crate::{
    availability::{
        fault::Fault,
        hold::{
            ExtendRequest, Extended, Hold, HoldAnswer, HoldRequest, HoldStatus, KnownHold, Released,
        },
        replace::{ReplaceRequest, Replaced},
    },
    stock::{
        hash::{Digest, StableHash},
        hold::HoldId,
        ids::{ItemNo, Partition, Place, PositionKey},
        movement::Command,
        recall::Recalled,
        refusal::Refusal,
        reservation::{Reservation, Settlement},
        step::{self, Action, Change, Create, Step, Target},
        time::{Micros, Timestamp},
    },
    writer::{
        Failure, Writer,
        admit::CONTENDED_PAUSE,
        counted,
        hold::asked::Asked,
        patience::LATE_PAUSE,
        request::{Ask, Denial, NewPromise, Stepped, fingerprint_of_hold, leave_out_unheard},
    },
};

/// What is held, and how safely.
#[derive(Debug)]
pub struct Held {
    /// The hold.
    pub id: HoldId,
    /// What it promises.
    pub lines: Vec<(ItemNo, i64)>,
    /// When its units are free again.
    pub expires_at: Timestamp,
    /// Whether the ledger keeps it, on a standby too; `None`: Redis does.
    pub ledger: Option<bool>,
}

impl Writer {
    /// Holds stock.
    ///
    /// # Errors
    /// It is refused, or nothing can be said.
    pub async fn hold(&self, ask: Ask, promise: NewPromise) -> Result<Held, Denial> {
        let names = self.names();
        let place = self.location(&promise.location_id).await?.place;
        let channel = self.channel(&ask.channel_id).await?;
        let lines = self.wanted(&promise.lines).await?;
        let mut asked = Asked {
            id: HoldId::of(&ask.caller, place, &ask.request_id),
            of_quotas: self.have_quotas(place, &lines),
            lines,
            per_line: promise.per_line,
            ttl: promise.ttl,
            channel,
            customer_ref: promise.customer_ref.clone(),
            terms: self.terms(place, channel).await?,
            fingerprint: fingerprint_of_hold(&ask, "hold", &promise),
            names,
        };
        let policy = &asked.terms.policy;
        let unheard = leave_out_unheard(asked.per_line, &mut asked.lines, policy);
        let held = self.hold_asked(&ask, asked).await;
        let held = held.map_err(|denial| denial.also_short_of(unheard));
        held.inspect_err(|denial| {
            self.counted.denied(counted::Asked::Hold, channel, place.location, denial)
        })
    }

    async fn hold_asked(&self, ask: &Ask, asked: Asked) -> Result<Held, Denial> {
        if let Err(refusal) = asked.check(&self.recalled()) {
            return self.held_before(ask, asked, refusal).await;
        }
        if asked.of_quotas && !self.is_in_redis(asked.id).await {
            return self.hold_in_ledger(ask, asked).await;
        }
        loop {
            let answer = match asked.is_known() {
                true => self.hold_in_redis(&asked).await,
                false => None,
            };
            match answer {
                Some(HoldAnswer::Contended) => pause(ask.deadline, CONTENDED_PAUSE).await?,
                Some(answer) if self.waits_for(asked.id.place.partition, &answer) => {
                    pause(ask.deadline, LATE_PAUSE).await?;
                }
                Some(HoldAnswer::InLedger | HoldAnswer::Unusable(_)) | None => {
                    return self.hold_in_ledger(ask, asked).await;
                }
                Some(answer) => return asked.answered(answer),
            }
        }
    }

    /// The items that are recalled at the moment.
    fn recalled(&self) -> Arc<Recalled> {
        Arc::clone(self.stores.ledger.directory().known().recalled())
    }

    /// Gives a hold other lines.
    ///
    /// # Errors
    /// As [`Writer::hold`].
    pub async fn replace_hold(
        &self,
        ask: Ask,
        id: HoldId,
        promise: NewPromise,
    ) -> Result<Held, Denial> {
        self.check_hold(&ask.caller, id)?;
        let names = self.names();
        let channel = self.channel(&ask.channel_id).await?;
        let lines = self.wanted(&promise.lines).await?;
        let asked = Asked {
            id,
            of_quotas: self.have_quotas(id.place, &lines),
            lines,
            per_line: false,
            ttl: promise.ttl,
            channel,
            customer_ref: String::new(),
            terms: self.terms(id.place, channel).await?,
            fingerprint: fingerprint_of_hold(&ask, "replace_hold", &promise),
            names,
        };
        let replaced = self.replace_asked(&ask, asked).await;
        replaced.inspect_err(|denial| {
            self.counted.denied(counted::Asked::Hold, channel, id.place.location, denial)
        })
    }

    async fn replace_asked(&self, ask: &Ask, asked: Asked) -> Result<Held, Denial> {
        let id = asked.id;
        asked.check(&self.recalled())?;
        if asked.of_quotas && self.is_in_redis(id).await {
            return self.hold_instead(ask, asked).await;
        }
        loop {
            if asked.of_quotas || !asked.is_known() {
                return self.replace_in_ledger(ask, asked).await;
            }
            match self.replace_in_redis(ask, &asked).await {
                Ok(Replaced::Answer(HoldAnswer::Contended)) => {
                    pause(ask.deadline, CONTENDED_PAUSE).await?;
                }
                Ok(Replaced::Answer(answer)) if self.waits_for(id.place.partition, &answer) => {
                    pause(ask.deadline, LATE_PAUSE).await?;
                }
                Ok(Replaced::Answer(HoldAnswer::Unusable(_))) => {
                    return self.hold_instead(ask, asked).await;
                }
                Ok(Replaced::Answer(HoldAnswer::InLedger) | Replaced::Unknown) | Err(_) => {
                    return self.replace_in_ledger(ask, asked).await;
                }
                Ok(Replaced::Answer(answer)) => return asked.answered(answer),
                Ok(Replaced::InUse) => return Err(Refusal::HoldInUse.into()),
                Ok(Replaced::Finished(status)) => return Err(finished(status).into()),
            }
        }
    }

    /// Lets a hold last longer.
    ///
    /// # Errors
    /// As [`Writer::hold`].
    pub async fn extend_hold(&self, ask: Ask, id: HoldId, ttl: Micros) -> Result<Held, Denial> {
        self.check_hold(&ask.caller, id)?;
        let mut hash = StableHash::new("extend_hold");
        hash.text(&id.to_string());
        hash.number(ttl);
        let fingerprint = hash.finish_i64();
        let request = Digest::of_request(&ask.caller, &ask.request_id);
        let request = ExtendRequest { id, request, fingerprint, ttl_ms: millis(ttl) };
        match self.stores.availability.extend(request).await {
            Ok(Extended::Until(hold)) => return Ok(hold.into()),
            Ok(Extended::KeyReused) => return Err(Refusal::KeyReused { field: "request" }.into()),
            Ok(Extended::InUse) => return Err(Refusal::HoldInUse.into()),
            Ok(Extended::Finished(status)) => return Err(finished(status).into()),
            Ok(Extended::InLedger | Extended::Unknown) | Err(_) => {}
        }
        let names = self.names();
        let terms = self.terms(id.place, None).await?;
        self.change_hold(&ask, id, (fingerprint, names), Change::Extend { ttl, terms }).await
    }

    /// Gives a hold back. What has ended already is no error.
    ///
    /// # Errors
    /// As [`Writer::hold`].
    pub async fn release_hold(&self, ask: Ask, id: HoldId) -> Result<(), Denial> {
        self.check_hold(&ask.caller, id)?;
        match self.stores.availability.release(id).await {
            Ok(Released::Now | Released::Already(_)) => return Ok(()),
            Ok(Released::InUse) => return Err(Refusal::HoldInUse.into()),
            Ok(Released::InLedger | Released::Unknown) | Err(_) => {}
        }
        let mut hash = StableHash::new("release_hold");
        hash.text(&id.to_string());
        self.change_hold(&ask, id, (hash.finish_i64(), self.names()), Change::Release).await?;
        Ok(())
    }

    /// What the rules forbid now may have been granted before they changed: then it is answered as it
    /// was then.
    async fn held_before(&self, ask: &Ask, asked: Asked, refusal: Refusal) -> Result<Held, Denial> {
        if let Ok(KnownHold::Here(..)) = self.stores.availability.get(asked.id).await {
            return match self.hold_in_redis(&asked).await {
                Some(answer @ (HoldAnswer::Replayed(_) | HoldAnswer::KeyReused)) => {
                    asked.answered(answer)
                }
                Some(HoldAnswer::Granted(_)) => {
                    // It was forgotten in this very moment.
                    let _ = self.stores.availability.release(asked.id).await;
                    Err(refusal.into())
                }
                _ => Err(refusal.into()),
            };
        }
        match self.stores.ledger.ledger_hold(&asked.id).await? {
            Some(_) => self.hold_in_ledger(ask, asked).await,
            None => Err(refusal.into()),
        }
    }

    /// Redis has a hold and cannot judge it: the ledger takes its place under its name.
    async fn hold_instead(&self, ask: &Ask, asked: Asked) -> Result<Held, Denial> {
        let id = asked.id;
        let held = self.hold_in_ledger(ask, asked).await?;
        let _ = self.stores.availability.release(id).await;
        Ok(held)
    }

    async fn is_in_redis(&self, id: HoldId) -> bool {
        matches!(self.stores.availability.get(id).await, Ok(KnownHold::Here(..)))
    }

    /// Whether a position of any of these lines has quotas.
    fn have_quotas(&self, place: Place, lines: &[step::Wanted]) -> bool {
        let known = self.stores.ledger.directory().known();
        lines.iter().any(|line| known.has_quotas(PositionKey { place, item: line.item }))
    }

    async fn hold_in_redis(&self, asked: &Asked) -> Option<HoldAnswer> {
        let request = HoldRequest {
            id: asked.id,
            fingerprint: asked.fingerprint,
            lines: &asked.wanted(),
            per_line: asked.per_line,
            ttl_ms: millis(asked.ttl.unwrap_or(asked.terms.policy.hold_ttl_default)),
            trust: asked.trust(),
            caps: self.hold_caps.of(asked.channel, &asked.customer_ref),
        };
        let answer = self.stores.availability.hold(request).await.ok()?;
        // What nobody asked for cannot have been granted: then nothing of the answer is worth anything.
        asked.could_be_granted(&answer).then_some(answer)
    }

    async fn replace_in_redis(&self, ask: &Ask, asked: &Asked) -> Result<Replaced, Fault> {
        let request = ReplaceRequest {
            id: asked.id,
            request: Digest::of_request(&ask.caller, &ask.request_id),
            fingerprint: asked.fingerprint,
            lines: &asked.wanted(),
            per_line: false,
            ttl_ms: asked.ttl.map(millis),
            trust: asked.trust(),
            caps: self.hold_caps.of_change(),
        };
        self.stores.availability.replace(request).await
    }

    async fn hold_in_ledger(&self, ask: &Ask, asked: Asked) -> Result<Held, Denial> {
        let (id, channel, fingerprint) = (asked.id, asked.channel, asked.fingerprint);
        let names = asked.names;
        let ttl = asked.ttl.unwrap_or(asked.terms.policy.hold_ttl_default);
        let create = Create {
            lines: asked.lines,
            per_line: asked.per_line,
            ttl: Some(ttl),
            hold: None,
            held_as: Some(id),
            settlement: Settlement::default(),
            order_ref: String::new(),
            customer_ref: asked.customer_ref,
            terms: asked.terms,
        };
        let action = Action::Create(Box::new(create));
        let step = self.step_of(ask, id.place, fingerprint, action).await?;
        let step = Step { channel, ..step };
        let taken = self.take(Command::Step(Box::new(step)), names, ask.deadline).await?;
        Held::of(id, taken)
    }

    async fn replace_in_ledger(&self, ask: &Ask, asked: Asked) -> Result<Held, Denial> {
        let Asked { id, lines, ttl, terms, fingerprint, names, .. } = asked;
        let change = Change::Amend { lines, more: Vec::new(), ttl, terms };
        self.change_hold(ask, id, (fingerprint, names), change).await
    }

    /// Changes a hold that the ledger keeps, if it does.
    async fn change_hold(
        &self,
        ask: &Ask,
        id: HoldId,
        (fingerprint, names): (i64, i64),
        change: Change,
    ) -> Result<Held, Denial> {
        let action = Action::Change(Target::Hold(id), change);
        let step = self.step_of(ask, id.place, fingerprint, action).await?;
        let taken = self.take(Command::Step(Box::new(step)), names, ask.deadline).await?;
        Held::of(id, taken)
    }

    /// A hold of a partition that there is not was never given, and those of others do not exist.
    pub(super) fn check_hold(&self, caller: &str, id: HoldId) -> Result<(), Refusal> {
        let unknown = || Refusal::HoldUnknown { hold_id: id.to_string() };
        let there = self.lanes.contains_key(&id.place.partition) && id.is_of(caller);
        there.then_some(()).ok_or_else(unknown)
    }

    /// Whether Redis may soon say more: without it the ledger would not see who holds something.
    fn waits_for(&self, partition: Partition, answer: &HoldAnswer) -> bool {
        let why = match answer {
            HoldAnswer::Unusable(why) => Some(*why),
            _ => None,
        };
        self.stores.patience.is_worth_waiting(partition, why)
    }
}

impl From<Hold> for Held {
    fn from(hold: Hold) -> Held {
        let lines = hold.lines.iter().map(|line| (line.item, line.quantity)).collect();
        Held { id: hold.id, lines, expires_at: hold.expires_at, ledger: None }
    }
}

impl Held {
    fn of(id: HoldId, taken: Stepped) -> Result<Held, Denial> {
        let replicated = taken.replicated && !taken.heads.is_empty();
        let hold: Reservation = taken.reservations.into_iter().next().ok_or(Failure::Broken)?;
        let lines = hold.lines.iter().map(|line| (line.item, line.quantity)).collect();
        Ok(Held { id, lines, expires_at: hold.expires_at, ledger: Some(replicated) })
    }
}

fn finished(status: HoldStatus) -> Refusal {
    match status {
        HoldStatus::Consumed => Refusal::HoldConsumed,
        _ => Refusal::HoldEnded,
    }
}

/// Waits until batches under way may have ended, or a projection caught up.
async fn pause(deadline: Instant, pause: Duration) -> Result<(), Failure> {
    if Instant::now() + pause >= deadline {
        return Err(Failure::DeadlineExceeded);
    }
    tokio::time::sleep(pause).await;
    Ok(())
}

fn millis(span: Micros) -> i64 {
    (span / 1_000).max(1)
}
