//! Amounts asked for through channels that see bands. Whether there is enough of an amount tells more of
//! the number than its band, so little of that is told: by refusals, and by promises that are given up.

use std::{collections::BTreeMap, sync::Arc};

use tonic::{Code, Status};

use crate::{
    access::Caller,
    api::{
        Api,
        guard::{Guard, Position, Who},
        proto,
        reservations::asked::Call,
    },
    stock::{
        channel_policy::{Band, Policy, Visibility},
        ids::{LocationNo, Place},
        refusal::Refusal,
        reservation::ReservationId,
    },
    writer::request::{Ask, Denial, NewPromise, Stepped, Wish},
};

/// What is asked for at a location, by code.
type Amounts<'a> = (LocationNo, &'a [(String, i64)]);

/// Amounts that a call tries; none, where the channel sees numbers. What was not told otherwise told nothing.
#[derive(Debug)]
pub(in crate::api) struct Probe {
    guard: Arc<Guard>,
    tried: Vec<(Position, i64)>,
    /// A band of more than a few says no more of an amount up to this than whether it is there.
    few_left_max: i64,
}

impl Probe {
    /// The whole was refused. Lines that are not short have enough: so much was told for nothing.
    pub(super) fn refused(&mut self, denial: &Denial) {
        let Denial::Refused(Refusal::InsufficientStock { short }) = denial else { return };
        self.end(|sku, amount, few| match short.iter().find(|line| line.sku == sku) {
            Some(line) => is_told(line.band, amount, few),
            None => amount > few,
        });
    }

    /// A reservation went a step further, or did not.
    pub(super) fn stepped(&mut self, stepped: &Result<Stepped, Denial>) {
        match stepped {
            // An amendment is as easily amended again.
            Ok(_) => self.end(|_, amount, few| amount > few),
            Err(denial) => self.refused(denial),
        }
    }

    /// These items were promised. Where the promise is soon given up, as a hold may be, what it tells of
    /// the number counts at once.
    pub(super) fn promised<'a>(&mut self, items: impl Iterator<Item = &'a str>, briefly: bool) {
        let items: Vec<_> = items.collect();
        self.end(|sku, amount, few| !items.contains(&sku) || (briefly && amount > few));
    }

    /// A hold was taken, which promises this.
    pub(super) fn held(&mut self, hold: Option<&proto::Hold>) {
        let lines = hold.iter().flat_map(|hold| &hold.lines);
        self.promised(lines.map(|line| &*line.sku), true);
    }

    /// Ends it; what is told says, of an item, an amount and how many are few.
    fn end(&mut self, is_told: impl Fn(&str, i64, i64) -> bool) {
        for tried in std::mem::take(&mut self.tried) {
            let ((_, _, sku), amount) = &tried;
            self.guard.amount_was_tried(&tried, is_told(sku, *amount, self.few_left_max));
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.tried.iter().for_each(|tried| self.guard.amount_was_tried(tried, false));
    }
}

impl Api {
    /// Begins to try amounts.
    pub(super) fn probe<'a>(
        &self,
        who: &Who,
        policy: &Policy,
        asked: impl IntoIterator<Item = Amounts<'a>>,
    ) -> Result<Probe, Status> {
        let guard = Arc::clone(&self.guard);
        let few_left_max = policy.few_left_max;
        let mut tried = Vec::new();
        if self.sees_bands(policy) {
            for (location, lines) in asked {
                let position = |sku: &str| (who.clone(), Some(location), sku.to_owned());
                let lines = summed(lines).into_iter().filter(|(_, amount)| *amount > 1);
                tried.extend(lines.map(|(sku, amount)| (position(sku), amount)));
            }
            guard.may_try_amounts(&tried)?;
        }
        Ok(Probe { guard, tried, few_left_max })
    }

    /// The same for promises. What a live hold promises is there, and nothing is told of it.
    pub(super) async fn probe_promises(
        &self,
        Call { caller, who, .. }: &Call,
        policy: &Policy,
        promises: &[NewPromise],
    ) -> Result<Probe, Status> {
        let mut asked = Vec::with_capacity(promises.len());
        for promise in promises.iter().filter(|_| self.sees_bands(policy)) {
            let place = known(self.place(caller, &promise.location_id).await)?;
            let Some(Place { location, .. }) = place else { continue };
            asked.push((location, self.amounts_asked(promise).await?));
        }
        self.probe(who, policy, asked.iter().map(|(location, lines)| (*location, &**lines)))
    }

    /// What is asked for beyond what the named hold promises.
    async fn amounts_asked(&self, promise: &NewPromise) -> Result<Vec<(String, i64)>, Status> {
        let Some(hold) = promise.hold else { return Ok(promise.lines.clone()) };
        let (held, is_live) = self.writer.lines_of(hold).await?;
        let mut asked = promise.lines.clone();
        if asked.is_empty() {
            asked = held.iter().map(|line| (line.sku.clone(), line.quantity)).collect();
        }
        asked.retain(|(sku, amount)| {
            !is_live || !held.iter().any(|line| line.sku == *sku && line.quantity >= *amount)
        });
        Ok(asked)
    }

    /// The same for what is to happen to a reservation, if it asks for stock.
    pub(super) async fn probe_wish(
        &self,
        (who, caller): (&Who, &Caller),
        id: &ReservationId,
        wish: &Wish,
    ) -> Result<Option<Probe>, Status> {
        if !self.guard.watches_amounts() || !matches!(wish, Wish::Amend(_) | Wish::Move(_)) {
            return Ok(None);
        }
        let made = self.reservation(caller, id).await?;
        let policy = self.policy_of(made.channel).await?;
        if !self.sees_bands(&policy) {
            return Ok(None);
        }
        let told = self.told(std::slice::from_ref(&made)).await?;
        let (location, lines) = match wish {
            Wish::Amend(lines) => (Some(id.place.location), lines.clone()),
            Wish::Move(to) => {
                let place = known(self.place(caller, to).await)?;
                (place.map(|place| place.location), amounts(&told))
            }
            _ => (None, Vec::new()),
        };
        let asked = location.map(|location| (location, &*lines));
        self.probe(who, &policy, asked).map(Some)
    }

    /// Reservations were given up: as much was told for nothing.
    pub(super) fn gave_up(&self, who: &Who, policy: &Policy, made: &[proto::Reservation]) {
        for position in self.beyond_few(who, policy, made) {
            self.guard.amount_was_told(position);
        }
    }

    /// Reservations were made of holds: what the holds told was worth it.
    pub(super) fn bought(&self, who: &Who, policy: &Policy, made: &[proto::Reservation]) {
        for position in self.beyond_few(who, policy, made) {
            self.guard.amount_was_bought(&position);
        }
    }

    /// Positions of which reservations promise more than a few.
    fn beyond_few(&self, who: &Who, policy: &Policy, made: &[proto::Reservation]) -> Vec<Position> {
        let mut positions = Vec::new();
        for made in made.iter().filter(|_| self.sees_bands(policy)) {
            let place = self.ledger.directory().known().place(&made.location_id);
            let location = place.map(|place| place.location);
            let lines = made.lines.iter().filter(|line| line.quantity > policy.few_left_max);
            positions.extend(lines.map(|line| (who.clone(), location, line.sku.clone())));
        }
        positions
    }

    /// The policy of the channel that a request names. What is wrong with it the writer says.
    pub(super) async fn policy_asked(&self, call: &Call, ask: &Ask) -> Result<Arc<Policy>, Status> {
        if !self.guard.watches_amounts() {
            return Ok(Arc::default());
        }
        Ok(known(self.policy(&call.caller, &ask.channel_id).await)?.unwrap_or_default())
    }

    /// Searches for locations that have as much of each item, wherever they are.
    pub(in crate::api) fn search_amounts(
        &self,
        who: &Who,
        policy: &Policy,
        basket: &[(String, i64)],
    ) -> Result<(), Status> {
        if !self.sees_bands(policy) {
            return Ok(());
        }
        let told = basket.iter().filter(|(_, amount)| *amount > policy.few_left_max.max(1));
        let tried = told.map(|(sku, amount)| ((who.clone(), None, sku.clone()), *amount));
        self.guard.may_search_amounts(&tried.collect::<Vec<_>>())
    }

    fn sees_bands(&self, policy: &Policy) -> bool {
        policy.visibility == Visibility::Band && self.guard.watches_amounts()
    }
}

/// Whether the refusal of an amount tells more than the band does.
fn is_told(band: Option<Band>, amount: i64, few_left_max: i64) -> bool {
    match band {
        Some(Band::Out) | None => false,
        Some(Band::FewLeft) => amount <= few_left_max,
        Some(Band::InStock) => true,
    }
}

/// What a reservation promises, by code.
fn amounts(told: &[proto::Reservation]) -> Vec<(String, i64)> {
    let lines = told.iter().flat_map(|made| &made.lines);
    lines.map(|line| (line.sku.clone(), line.quantity)).collect()
}

/// What does not exist is none.
fn known<T>(found: Result<T, Status>) -> Result<Option<T>, Status> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// Each item once.
fn summed(lines: &[(String, i64)]) -> BTreeMap<&str, i64> {
    let mut summed = BTreeMap::new();
    for (sku, amount) in lines {
        *summed.entry(&**sku).or_default() += amount;
    }
    summed
}
