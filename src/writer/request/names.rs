//! Names to numbers, and what goes with them.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::{
    ambient,
    ledger::directory::{Known, KnownLocation},
    mutants::{Mutant, on},
    stock::{
        channel_policy::Policy,
        ids::{ChannelNo, ItemNo, Place},
        refusal::{Refusal, Short},
        reservation::{Reservation, ReservationId, State},
        step::Wanted,
        terms::Terms,
    },
    writer::{Writer, request::Denial},
};

impl Writer {
    /// The location with this id.
    pub(in crate::writer) async fn location(
        &self,
        location_id: &str,
    ) -> Result<Arc<KnownLocation>, Denial> {
        let directory = self.stores.ledger.directory();
        let known = || directory.known().location(location_id).cloned();
        if let Some(found) = known() {
            return Ok(found);
        }
        directory.find_locations(&[location_id]).await?;
        let unknown = || Refusal::LocationUnknown { location_id: location_id.to_owned() };
        known().ok_or_else(|| unknown().into())
    }

    /// The channel with this id; an empty one is none.
    pub(in crate::writer) async fn channel(
        &self,
        channel_id: &str,
    ) -> Result<Option<ChannelNo>, Denial> {
        if channel_id.is_empty() {
            return Ok(None);
        }
        let directory = self.stores.ledger.directory();
        if let Some(found) = directory.known().channel(channel_id) {
            return Ok(Some(found));
        }
        directory.find_channels(&[channel_id]).await?;
        let unknown = || Refusal::ChannelUnknown { channel_id: channel_id.to_owned() };
        let found = directory.known().channel(channel_id);
        found.map(Some).ok_or_else(|| unknown().into())
    }

    /// What a channel may promise at a place.
    pub(in crate::writer) async fn terms(
        &self,
        place: Place,
        channel: Option<ChannelNo>,
    ) -> Result<Arc<Terms>, Denial> {
        let directory = self.stores.ledger.directory();
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
            live: location.live,
            pickups_per_quarter_hour: location.pickups_per_quarter_hour,
            secret: self.pickup_secret.clone(),
        }))
    }

    /// Lines that are known by number.
    pub(in crate::writer) async fn named(
        &self,
        lines: &[(ItemNo, i64)],
    ) -> Result<Vec<Wanted>, Denial> {
        let directory = self.stores.ledger.directory();
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
    pub(in crate::writer) async fn seen(
        &self,
        id: &ReservationId,
        place: Place,
    ) -> Result<(Reservation, Arc<Terms>), Denial> {
        let unknown = || Refusal::ReservationUnknown { reservation_id: id.to_string() };
        let reservation = self.stores.ledger.reservation(id).await?.ok_or_else(unknown)?;
        let terms = self.terms(place, reservation.channel).await?;
        Ok((reservation, terms))
    }

    /// Lines with their items, each item once, in the order in which they were named first.
    pub(in crate::writer) async fn wanted(
        &self,
        lines: &[(String, i64)],
    ) -> Result<Vec<Wanted>, Denial> {
        let directory = self.stores.ledger.directory();
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
    let mut first = FxHashMap::default();
    for (sku, quantity) in lines {
        let at = *first.entry(sku).or_insert(wanted.len());
        if let Some(line) = wanted.get_mut(at).filter(|_| !on(Mutant::LinesNotSummed)) {
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
pub(super) fn left(reservation: &Reservation) -> Vec<(ItemNo, i64)> {
    let lines = reservation.lines.iter().filter(|line| line.quantity > line.collected);
    lines.map(|line| (line.item, line.quantity - line.collected)).collect()
}

/// Takes out of lines that may be granted one by one those of items that nobody has heard of, if any
/// other is left: the reservation layer can judge the others only without them.
pub(in crate::writer) fn leave_out_unheard(
    per_line: bool,
    lines: &mut Vec<Wanted>,
    policy: &Policy,
) -> Vec<Short> {
    if !per_line || lines.iter().all(|line| line.item.is_provisional()) {
        return Vec::new();
    }
    let unheard = lines.extract_if(.., |line| line.item.is_provisional());
    unheard.map(|line| Short::new(&line, 0, 0, policy)).collect()
}

/// What an amendment adds. Nothing, where it will be refused whatever the stock: the reservation layer
/// need not be asked, and must not be the first to refuse.
pub(super) fn additions(old: &Reservation, lines: &[Wanted], terms: &Terms) -> Vec<Wanted> {
    let before = |line: &Wanted| old.line(line.item).map_or(0, |old| old.quantity);
    let picked = |line: &Wanted| old.line(line.item).map_or(0, |old| old.picked);
    let increased: Vec<_> =
        lines.iter().filter(|line| line.quantity > before(line)).cloned().collect();
    let amendable = matches!(old.state, State::Reserved | State::Picking)
        && lines.iter().all(|line| line.quantity >= picked(line))
        && terms.check_place(old.id.place, ambient::now()).is_ok()
        && terms.check_cap(old.id.place, &increased).is_ok();
    if !amendable {
        return Vec::new();
    }
    let added = |line: &Wanted| Wanted { quantity: line.quantity - before(line), ..line.clone() };
    increased.iter().map(added).collect()
}
