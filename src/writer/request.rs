//! Requests: what is asked for by name becomes a step that a lane can take.

use std::sync::Arc;

use tokio::{sync::oneshot, time::Instant};

use crate::{
    ledger::{
        directory::{Known, KnownLocation},
        epoch::Head,
        fault::Fault,
    },
    stock::{
        channel_policy::Unanswered,
        hash::{Digest, StableHash},
        hold::HoldId,
        ids::{ChannelNo, ItemNo, Place},
        machine::Outcome,
        movement::Command,
        pickup::PickupSecret,
        refusal::Refusal,
        reservation::{CancelledBy, Reservation, ReservationId, Settlement},
        step::{Action, Change, Create, Elsewhere, Found, ShortCause, Step, Target, Wanted},
        terms::Terms,
        time::Micros,
    },
    writer::{Failure, Writer, decided, lane::Job},
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
        let mut steps = self.creations(&ask, std::slice::from_ref(&promise)).await?;
        match steps.pop() {
            Some(step) => self.take(Command::Step(Box::new(step)), ask.deadline).await,
            None => Err(Failure::Broken.into()),
        }
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
        let steps = self.creations(&ask, &promises).await?;
        self.take(Command::Basket(steps), ask.deadline).await
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
        let fingerprint = wish.fingerprint(&ask, &id);
        let change = self.wished(&id, wish).await?;
        let step = Step {
            fingerprint,
            action: Action::Change(Target::Reservation(id), change),
            ..self.step_of(&ask, id.place).await?
        };
        self.take(Command::Step(Box::new(step)), ask.deadline).await
    }

    /// Gives a command its place in its lane and waits for its outcome.
    pub(super) async fn take(
        &self,
        command: Command,
        deadline: Instant,
    ) -> Result<Stepped, Denial> {
        let partitions = command.places().map(|place| place.partition).collect();
        let (reply, answer) = oneshot::channel();
        self.enqueue(partitions, Job { commands: vec![command], deadline, reply }).await?;
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
            let terms = self.terms(place, channel).await?;
            let lines = match (promise.hold, promise.lines.is_empty()) {
                (Some(hold), true) => self.lines_of(hold).await?,
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
            let step = self.step_of(ask, place).await?;
            steps.push(Step { fingerprint, channel, action, ..step });
        }
        Ok(steps)
    }

    /// A step without its content.
    pub(super) async fn step_of(&self, ask: &Ask, place: Place) -> Result<Step, Denial> {
        Ok(Step {
            request_id: ask.request_id.clone(),
            caller: self.ledger.directory().source(&ask.caller).await?,
            digest: Digest::of_request(&ask.caller, &ask.request_id),
            fingerprint: 0,
            actor: ask.actor.clone(),
            channel: None,
            place,
            reason: ask.reason.clone(),
            action: Action::Change(Target::Reservation(nobody(place)), Change::Release),
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
                let more = lines.iter().cloned().filter_map(|mut line| {
                    line.quantity -= old.line(line.item).map_or(0, |old| old.quantity);
                    (line.quantity > 0).then_some(line)
                });
                Change::Amend { more: more.collect(), lines, ttl: None, terms }
            }
            Wish::Extend(ttl) => Change::Extend { ttl, terms: self.seen(id, id.place).await?.1 },
            Wish::ConfirmPayment => {
                Change::ConfirmPayment { terms: self.seen(id, id.place).await?.1 }
            }
            Wish::Move(location_id) => {
                let to = self.location(&location_id).await?.place;
                let (old, terms) = self.seen(id, to).await?;
                let more = self.named(&left(&old)).await?;
                Change::Move(Elsewhere { to, more, terms })
            }
            Wish::Cancel(by) => Change::Cancel { by },
            Wish::StartPicking => Change::StartPicking,
            Wish::ReportPick(found) => self.picked(id, &found).await?,
            Wish::MarkReady => Change::MarkReady,
            Wish::Collect(lines, code) => {
                let code = PickupSecret::normalised(&code);
                let code_fits = code.is_empty() || code == self.pickup_secret.code(id);
                Change::Collect { lines: self.wanted(&lines).await?, code_fits }
            }
            Wish::ReturnToShelf => Change::ReturnToShelf,
        })
    }

    /// The location with this id.
    pub(super) async fn location(&self, location_id: &str) -> Result<Arc<KnownLocation>, Denial> {
        let directory = self.ledger.directory();
        let known = || directory.known().location(location_id).cloned();
        if let Some(found) = known() {
            return Ok(found);
        }
        directory.find_locations(&[location_id]).await?;
        let unknown = || Refusal::LocationUnknown { location_id: location_id.to_owned() };
        known().ok_or_else(|| unknown().into())
    }

    /// The channel with this id; an empty one is none.
    pub(super) async fn channel(&self, channel_id: &str) -> Result<Option<ChannelNo>, Denial> {
        if channel_id.is_empty() {
            return Ok(None);
        }
        let directory = self.ledger.directory();
        if let Some(found) = directory.known().channel(channel_id) {
            return Ok(Some(found));
        }
        directory.find_channels(&[channel_id]).await?;
        let unknown = || Refusal::ChannelUnknown { channel_id: channel_id.to_owned() };
        let found = directory.known().channel(channel_id);
        found.map(Some).ok_or_else(|| unknown().into())
    }

    /// What a channel may promise at a place.
    pub(super) async fn terms(
        &self,
        place: Place,
        channel: Option<ChannelNo>,
    ) -> Result<Arc<Terms>, Denial> {
        let directory = self.ledger.directory();
        if directory.known().location_of(place.location).is_none() {
            directory.find_numbered_locations(&[place.location]).await?;
        }
        let channels: Vec<_> = channel.into_iter().collect();
        if channels.iter().any(|&channel| directory.known().channel_of(channel).is_none()) {
            directory.find_numbered_channels(&channels).await?;
        }
        let known = directory.known();
        let location = known.location_of(place.location).cloned();
        let location =
            location.ok_or_else(|| Refusal::LocationUnknown { location_id: String::new() })?;
        let policy = channel.and_then(|channel| known.channel_of(channel));
        Ok(Arc::new(Terms {
            policy: policy.map_or_else(Arc::default, |channel| Arc::clone(&channel.policy)),
            calendar: Arc::clone(&location.calendar),
            preparation: location.preparation,
            secret: self.pickup_secret.clone(),
        }))
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

    /// The nearest location that could take a reservation over, if its channel wants that.
    pub(super) async fn elsewhere(&self, id: &ReservationId) -> Result<Option<Elsewhere>, Denial> {
        let (old, terms) = self.seen(id, id.place).await?;
        if terms.policy.unanswered != Unanswered::Move || !old.state.is_open() {
            return Ok(None);
        }
        let left = left(&old);
        let buffer = terms.policy.buffer;
        let found = self.reads.nearest(id.place, &left, buffer, 1).await?;
        let Some(nearby) = found.first() else { return Ok(None) };
        let to = nearby.location.place;
        let (more, terms) = (self.named(&left).await?, self.terms(to, old.channel).await?);
        Ok(Some(Elsewhere { to, more, terms }))
    }

    /// Lines that are known by number.
    pub(super) async fn named(&self, lines: &[(ItemNo, i64)]) -> Result<Vec<Wanted>, Denial> {
        let directory = self.ledger.directory();
        let items: Vec<_> = lines.iter().map(|(item, _)| *item).collect();
        if items.iter().any(|item| directory.known().sku_of(*item).is_none()) {
            directory.find_numbered_items(&items).await?;
        }
        let known = directory.known();
        let wanted = |&(item, quantity): &(ItemNo, i64)| Wanted {
            item,
            sku: known.sku_of(item).map_or_else(String::new, |sku| sku.to_string()),
            stock_item: true,
            quantity,
        };
        Ok(lines.iter().map(wanted).collect())
    }

    /// A reservation as it is without the lock, and what its channel may promise at a place.
    async fn seen(
        &self,
        id: &ReservationId,
        place: Place,
    ) -> Result<(Reservation, Arc<Terms>), Denial> {
        let unknown = || Refusal::ReservationUnknown { reservation_id: id.to_string() };
        let reservation = self.ledger.reservation(id).await?.ok_or_else(unknown)?;
        let terms = self.terms(place, reservation.channel).await?;
        Ok((reservation, terms))
    }

    /// Lines with their items, each item once, in the order in which they were named first.
    pub(super) async fn wanted(&self, lines: &[(String, i64)]) -> Result<Vec<Wanted>, Denial> {
        let directory = self.ledger.directory();
        let unknown: Vec<&str> = {
            let known = directory.known();
            let skus = lines.iter().map(|(sku, _)| &**sku);
            skus.filter(|sku| known.item(sku).is_none()).collect()
        };
        if !unknown.is_empty() {
            directory.find_items(&unknown).await?;
        }
        let known = directory.known();
        Ok(sum(&known, lines))
    }
}

fn sum(known: &Known, lines: &[(String, i64)]) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::with_capacity(lines.len());
    for (sku, quantity) in lines {
        if let Some(line) = wanted.iter_mut().find(|line| line.sku == *sku) {
            line.quantity += quantity;
            continue;
        }
        let item = known.item(sku);
        wanted.push(Wanted {
            item: item.map_or_else(|| ItemNo::provisional(sku), |item| item.item),
            sku: sku.clone(),
            stock_item: item.is_none_or(|item| item.stock_item),
            quantity: *quantity,
        });
    }
    wanted
}

/// What a reservation has not handed over yet.
fn left(reservation: &Reservation) -> Vec<(ItemNo, i64)> {
    let lines = reservation.lines.iter().filter(|line| line.quantity > line.collected);
    lines.map(|line| (line.item, line.quantity - line.collected)).collect()
}

/// Names no reservation: numbers begin at 1.
fn nobody(place: Place) -> ReservationId {
    ReservationId { place, epoch: 0, no: 0 }
}

fn common(ask: &Ask, what: &str) -> StableHash {
    let mut hash = StableHash::new(what);
    for text in [&ask.channel_id, &ask.actor, &ask.reason] {
        hash.text(text);
    }
    hash
}

fn add_lines(hash: &mut StableHash, lines: &[(String, i64)]) {
    hash.number(lines.len() as i64);
    for (sku, quantity) in lines {
        hash.text(sku);
        hash.number(*quantity);
    }
}

fn fingerprint_of_creations(ask: &Ask, promises: &[NewPromise]) -> i64 {
    let mut hash = common(ask, "create");
    for promise in promises {
        hash.text(&promise.location_id);
        add_lines(&mut hash, &promise.lines);
        hash.text(&promise.hold.map_or_else(String::new, |hold| hold.to_string()));
        hash.optional(promise.ttl);
        hash.number(i64::from(promise.per_line));
        hash.number(promise.settlement as i64);
        hash.text(&promise.order_ref);
        hash.text(&promise.customer_ref);
    }
    hash.finish_i64()
}

impl Wish {
    fn fingerprint(&self, ask: &Ask, id: &ReservationId) -> i64 {
        let mut hash = common(ask, self.name());
        hash.text(&id.to_string());
        match self {
            Wish::Amend(lines) => add_lines(&mut hash, lines),
            Wish::Extend(ttl) => hash.number(*ttl),
            Wish::Move(location_id) => hash.text(location_id),
            Wish::Cancel(by) => hash.number(*by as i64),
            Wish::ReportPick(found) => {
                for (sku, units, cause) in found {
                    hash.text(sku);
                    hash.number(*units);
                    hash.text(cause.reason());
                }
            }
            Wish::Collect(lines, code) => {
                add_lines(&mut hash, lines);
                hash.text(code);
            }
            Wish::ConfirmPayment | Wish::StartPicking | Wish::MarkReady | Wish::ReturnToShelf => {}
        }
        hash.finish_i64()
    }

    fn name(&self) -> &'static str {
        match self {
            Wish::Amend(_) => "amend",
            Wish::Extend(_) => "extend",
            Wish::ConfirmPayment => "confirm_payment",
            Wish::Move(_) => "move",
            Wish::Cancel(_) => "cancel",
            Wish::StartPicking => "start_picking",
            Wish::ReportPick(_) => "report_pick",
            Wish::MarkReady => "mark_ready",
            Wish::Collect(..) => "collect",
            Wish::ReturnToShelf => "return_to_shelf",
        }
    }
}
