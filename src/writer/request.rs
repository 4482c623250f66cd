//! Requests: what is asked for by name becomes a step that a lane can take.

mod fingerprint;
mod names;

pub(super) use self::{fingerprint::fingerprint_of_hold, names::leave_out_unheard};

use tokio::{sync::oneshot, time::Instant};

use crate::{
    access::Reach,
    ambient,
    ledger::{archive::PastError, fault::Fault, head::Head},
    stock::{
        channel_policy::Unanswered,
        hash::Digest,
        hold::HoldId,
        ids::Place,
        machine::Outcome,
        movement::Command,
        pickup::PickupSecret,
        refusal::{Refusal, Short},
        reservation::{CancelledBy, Reservation, ReservationId, Settlement},
        step::{Action, Change, Create, Elsewhere, Found, ShortCause, Step, Target},
        time::Micros,
    },
    writer::{
        Failure, Writer,
        counted::Asked,
        decided,
        lane::Job,
        request::{
            fingerprint::fingerprint_of_creations,
            names::{additions, left},
        },
    },
};

/// What every request says of itself.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who asks.
    pub caller: String,
    /// Idempotency key; 1 to 64 printable ASCII characters.
    pub request_id: String,
    /// Through which channel; empty: none.
    pub channel_id: String,
    /// Who did it in the shop; empty: nobody said.
    pub actor: String,
    /// Why; empty: nobody said.
    pub reason: String,
    /// When to give up.
    pub deadline: Instant,
}

/// A promise that is asked for.
#[derive(Clone, Debug)]
pub struct NewPromise {
    /// Where.
    pub location_id: String,
    /// What: code and units; an item may be named more than once.
    pub lines: Vec<(String, i64)>,
    /// The hold that it is made from.
    pub hold: Option<HoldId>,
    /// How long; `None`: the pickup rule.
    pub ttl: Option<Micros>,
    /// Promise what is there instead of nothing.
    pub per_line: bool,
    /// Where it is paid.
    pub settlement: Settlement,
    /// For other systems.
    pub order_ref: String,
    /// For other systems.
    pub customer_ref: String,
}

/// What is to happen to a reservation.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Other quantities: code and units of all lines.
    Amend(Vec<(String, i64)>),
    /// Another end, counted from now.
    Extend(Micros),
    /// It was paid.
    ConfirmPayment,
    /// To another location.
    Move(String),
    /// Given up.
    Cancel(CancelledBy),
    /// The store begins to pick.
    StartPicking,
    /// What was found.
    ReportPick(Vec<(String, i64, ShortCause)>),
    /// Everything is aside.
    MarkReady,
    /// Handed over: lines (none: all), and the code that was shown (empty: none).
    Collect(Vec<(String, i64)>, String),
    /// Back to the shelf.
    ReturnToShelf,
}

/// What a request came to.
#[derive(Debug)]
pub struct Stepped {
    /// The reservations, in the order of the request.
    pub reservations: Vec<Reservation>,
    /// Heads that cover every effect.
    pub heads: Vec<Head>,
    /// Whether all of it is on a standby too.
    pub replicated: bool,
}

/// Why a request was not granted.
#[derive(Debug)]
pub enum Denial {
    /// By a rule.
    Refused(Refusal),
    /// Nothing can be said; the same request may be sent again.
    Failed(Failure),
}

impl Denial {
    /// A refusal for lack of stock names every short line.
    pub(super) fn also_short_of(mut self, more: Vec<Short>) -> Denial {
        if let Denial::Refused(Refusal::InsufficientStock { short }) = &mut self {
            short.extend(more);
        }
        self
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Denial {
        Denial::Refused(refusal)
    }
}

impl From<Failure> for Denial {
    fn from(failure: Failure) -> Denial {
        Denial::Failed(failure)
    }
}

impl From<PastError> for Denial {
    fn from(error: PastError) -> Denial {
        match error {
            PastError::Archived { until } => Refusal::Archived { until }.into(),
            PastError::Fault(fault) => fault.into(),
        }
    }
}

impl From<Fault> for Denial {
    fn from(fault: Fault) -> Denial {
        Denial::Failed(Failure::of(&fault, false))
    }
}

impl Writer {
    /// Makes a reservation.
    ///
    /// # Errors
    /// It is refused, or nothing can be said.
    pub async fn reserve(&self, ask: Ask, promise: NewPromise) -> Result<Stepped, Denial> {
        let names = self.names();
        let mut steps = self.creations(&ask, std::slice::from_ref(&promise)).await?;
        let mut step = steps.pop().ok_or(Failure::Broken)?;
        let unheard = match &mut step.action {
            Action::Create(create) => {
                leave_out_unheard(create.per_line, &mut create.lines, &create.terms.policy)
            }
            Action::Change(..) => Vec::new(),
        };
        let (channel, location) = (step.channel, step.place.location);
        let taken = self.take(Command::Step(Box::new(step)), names, ask.deadline).await;
        let taken = taken.map_err(|denial| denial.also_short_of(unheard));
        taken.inspect_err(|denial| {
            self.counted.denied(Asked::Reservation, channel, location, denial)
        })
    }

    /// Makes reservations at several locations, all or none.
    ///
    /// # Errors
    /// As [`Writer::reserve`].
    pub async fn reserve_all(
        &self,
        ask: Ask,
        promises: Vec<NewPromise>,
    ) -> Result<Stepped, Denial> {
        let names = self.names();
        let steps = self.creations(&ask, &promises).await?;
        let first = steps.first().map(|step| (step.channel, step.place.location));
        let taken = self.take(Command::Basket(steps), names, ask.deadline).await;
        taken.inspect_err(|denial| {
            if let Some((channel, location)) = first {
                self.counted.denied(Asked::Reservation, channel, location, denial);
            }
        })
    }

    /// Takes a reservation a step further.
    ///
    /// # Errors
    /// As [`Writer::reserve`].
    pub async fn change(&self, ask: Ask, id: ReservationId, wish: Wish) -> Result<Stepped, Denial> {
        let unknown = || Refusal::ReservationUnknown { reservation_id: id.to_string() };
        if !self.lanes.contains_key(&id.place.partition) {
            return Err(unknown().into());
        }
        let names = self.names();
        let fingerprint = wish.fingerprint(&ask, &id);
        let change = self.wished(&id, wish).await?;
        let asked = change.elsewhere().map_or(id.place, |elsewhere| elsewhere.to).location;
        let action = Action::Change(Target::Reservation(id), change);
        let step = self.step_of(&ask, id.place, fingerprint, action).await?;
        let taken = self.take(Command::Step(Box::new(step)), names, ask.deadline).await;
        // Its channel is known to the ledger, which is not asked for the sake of counting.
        taken.inspect_err(|denial| self.counted.denied(Asked::Reservation, None, asked, denial))
    }

    /// Gives a command, whose names were looked up in the epoch `names`, its place in its lane and waits
    /// for its outcome.
    pub(super) async fn take(
        &self,
        command: Command,
        names: i64,
        deadline: Instant,
    ) -> Result<Stepped, Denial> {
        let partitions = command.places().map(|place| place.partition).collect();
        let (reply, answer) = oneshot::channel();
        self.enqueue(partitions, Job { commands: vec![command], names, deadline, reply }).await?;
        let decided = decided(answer).await?;
        let mut reservations = Vec::with_capacity(1);
        for outcome in decided.outcomes {
            match outcome {
                Some(Outcome::Stepped(reservation)) => reservations.push(*reservation),
                Some(Outcome::Refused(refusal)) => return Err(refusal.into()),
                _ => return Err(Failure::Broken.into()),
            }
        }
        Ok(Stepped { reservations, heads: decided.heads, replicated: decided.replicated })
    }

    async fn creations(&self, ask: &Ask, promises: &[NewPromise]) -> Result<Vec<Step>, Denial> {
        let fingerprint = fingerprint_of_creations(ask, promises);
        let mut steps = Vec::with_capacity(promises.len());
        for promise in promises {
            let place = self.location(&promise.location_id).await?.place;
            let channel = self.channel(&ask.channel_id).await?;
            if let Some(hold) = promise.hold.filter(|hold| !hold.is_of(&ask.caller)) {
                return Err(Refusal::HoldUnknown { hold_id: hold.to_string() }.into());
            }
            let terms = self.terms(place, channel).await?;
            let lines = match (promise.hold, promise.lines.is_empty()) {
                (Some(hold), true) => {
                    self.check_hold(&ask.caller, hold)?;
                    self.lines_of(hold).await?.0
                }
                _ => self.wanted(&promise.lines).await?,
            };
            let create = Create {
                lines,
                per_line: promise.per_line,
                ttl: promise.ttl,
                hold: promise.hold,
                held_as: None,
                settlement: promise.settlement,
                order_ref: promise.order_ref.clone(),
                customer_ref: promise.customer_ref.clone(),
                terms,
            };
            let action = Action::Create(Box::new(create));
            let step = self.step_of(ask, place, fingerprint, action).await?;
            steps.push(Step { channel, ..step });
        }
        Ok(steps)
    }

    /// A step with its content.
    pub(super) async fn step_of(
        &self,
        ask: &Ask,
        place: Place,
        fingerprint: i64,
        action: Action,
    ) -> Result<Step, Denial> {
        Ok(Step {
            request_id: ask.request_id.clone(),
            caller: self.stores.ledger.directory().source(&ask.caller).await?,
            digest: Digest::of_request(&ask.caller, &ask.request_id),
            fingerprint,
            actor: ask.actor.clone(),
            channel: None,
            place,
            reason: ask.reason.clone(),
            action,
        })
    }

    async fn wished(&self, id: &ReservationId, wish: Wish) -> Result<Change, Denial> {
        Ok(match wish {
            Wish::Amend(lines) => {
                let (old, terms) = self.seen(id, id.place).await?;
                let mut lines = self.wanted(&lines).await?;
                let dropped = old.lines.iter().map(|line| (line.item, 0));
                let dropped: Vec<_> = dropped
                    .filter(|(item, _)| !lines.iter().any(|line| line.item == *item))
                    .collect();
                lines.extend(self.named(&dropped).await?);
                Change::Amend { more: additions(&old, &lines, &terms), lines, ttl: None, terms }
            }
            Wish::Extend(ttl) => Change::Extend { ttl, terms: self.seen(id, id.place).await?.1 },
            Wish::ConfirmPayment => {
                Change::ConfirmPayment { terms: self.seen(id, id.place).await?.1 }
            }
            Wish::Move(location_id) => {
                let to = self.location(&location_id).await?.place;
                let (old, terms) = self.seen(id, to).await?;
                let accepts = terms.check_place(to, ambient::now()).is_ok();
                let moves = old.state.is_open() && to != id.place && accepts;
                let left = if moves { left(&old) } else { Vec::new() };
                let more = self.named(&left).await?;
                Change::Move(Elsewhere { to, more, terms })
            }
            Wish::Cancel(by) => Change::Cancel { by },
            Wish::StartPicking => Change::StartPicking,
            Wish::ReportPick(found) => self.picked(id, &found).await?,
            Wish::MarkReady => Change::MarkReady,
            Wish::Collect(lines, code) => {
                // Whoever says nothing but separators has shown a code, and a wrong one.
                let code_fits = code.is_empty()
                    || PickupSecret::normalised(&code) == self.pickup_secret.code(id);
                Change::Collect { lines: self.wanted(&lines).await?, code_fits }
            }
            Wish::ReturnToShelf => Change::ReturnToShelf,
        })
    }

    /// What was found, and where the reservation goes if that is nothing and its channel says so.
    async fn picked(
        &self,
        id: &ReservationId,
        found: &[(String, i64, ShortCause)],
    ) -> Result<Change, Denial> {
        let named: Vec<_> = found.iter().map(|(sku, units, _)| (sku.clone(), *units)).collect();
        let cause_of = |sku: &str| found.iter().find(|(named, ..)| named == sku);
        let lines = self.wanted(&named).await?.into_iter().map(|line| Found {
            cause: cause_of(&line.sku).map_or(ShortCause::NotFound, |(.., cause)| *cause),
            item: line.item,
            sku: line.sku,
            found: line.quantity,
        });
        let lines = lines.collect();
        let nothing = found.iter().all(|(_, units, _)| *units == 0);
        let elsewhere = if nothing { self.elsewhere(id).await? } else { None };
        Ok(Change::ReportPick { lines, elsewhere })
    }

    /// The nearest location that could take a reservation over, if its channel wants that, and that did
    /// not have it before: shops that never answer must not hand it round for ever.
    pub(super) async fn elsewhere(&self, id: &ReservationId) -> Result<Option<Elsewhere>, Denial> {
        let (old, terms) = self.seen(id, id.place).await?;
        if terms.policy.unanswered != Unanswered::Move || !old.state.is_open() {
            return Ok(None);
        }
        let left = left(&old);
        let been = self.been_at(&old).await?;
        let found = self
            .reads
            .elsewhere(id.place, &left, (&terms.policy, &Reach::All), been.len() + 1)
            .await?;
        let mut places = found.iter().map(|nearby| nearby.location.place);
        let Some(to) = places.find(|to| !been.contains(to)) else { return Ok(None) };
        let (more, terms) = (self.named(&left).await?, self.terms(to, old.channel).await?);
        Ok(Some(Elsewhere { to, more, terms }))
    }

    /// Where a reservation was before it was moved to where it is.
    async fn been_at(&self, reservation: &Reservation) -> Result<Vec<Place>, Denial> {
        let (mut been, mut before) = (Vec::new(), reservation.predecessor);
        while let Some(id) = before.filter(|id| !been.contains(&id.place)) {
            been.push(id.place);
            before = self.stores.ledger.reservation(&id).await?.and_then(|found| found.predecessor);
        }
        Ok(been)
    }
}
