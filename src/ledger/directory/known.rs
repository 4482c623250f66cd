//! What a server knows of the master data.

use std::{collections::HashMap, sync::Arc};

use jiff::tz::TimeZone;
use rustc_hash::FxHashMap;

use crate::{
    ledger::network::Location,
    stock::{
        calendar::Calendar,
        channel_policy::Policy,
        distance::Spot,
        ids::{ChannelNo, ItemNo, LocationNo, Place, PositionKey, SourceNo},
        live::Live,
        recall::Recalled,
        time::{Micros, Timestamp},
    },
};

/// What is known so far, by name and by number.
#[derive(Debug, Default)]
pub struct Known {
    locations: HashMap<Box<str>, Arc<KnownLocation>>,
    location_names: FxHashMap<LocationNo, Arc<KnownLocation>>,
    channels: HashMap<Arc<str>, KnownChannel>,
    channel_names: FxHashMap<ChannelNo, Arc<str>>,
    items: HashMap<Arc<str>, KnownItem>,
    item_names: FxHashMap<ItemNo, Arc<str>>,
    sources: HashMap<Box<str>, SourceNo>,
    /// Positions that have, or had, quotas: whether they have, and by which revision.
    quotas: FxHashMap<(LocationNo, ItemNo), (bool, i64)>,
    recalled: Arc<Recalled>,
    pub(super) revision: i64,
    /// In which all of it was read; 0: none was heard of yet.
    pub(super) epoch: i64,
}

/// A location as the hot path needs it.
#[derive(Clone, Debug)]
pub struct KnownLocation {
    /// Its name.
    pub location_id: Box<str>,
    /// Where its stock is.
    pub place: Place,
    /// When it is open.
    pub calendar: Arc<Calendar>,
    /// How long an order takes to be ready, in opening time.
    pub preparation: Micros,
    /// Where it is on earth, if anybody said so.
    pub spot: Option<Spot>,
    /// Whether customers may collect there.
    pub pickup_enabled: bool,
    /// What its status says.
    pub live: Live,
    /// Orders that it has ready within one quarter of an hour; 0: any number.
    pub pickups_per_quarter_hour: u32,
    /// Of several readings of the row the newest counts.
    pub revision: i64,
}

/// A channel as the hot path needs it.
#[derive(Clone, Debug)]
pub struct KnownChannel {
    /// Its name.
    pub channel_id: Arc<str>,
    /// Its number.
    pub channel: ChannelNo,
    /// What may be promised through it.
    pub policy: Arc<Policy>,
    /// Of several readings of the row the newest counts.
    pub revision: i64,
}

/// An item as the hot path needs it.
#[derive(Clone, Copy, Debug)]
pub struct KnownItem {
    /// Its number.
    pub item: ItemNo,
    /// Whether stock is kept of it.
    pub stock_item: bool,
    /// Whether it is recalled.
    pub recalled: bool,
    /// Of several readings of the row the newest counts.
    pub revision: i64,
}

impl Known {
    #[cfg(not(feature = "simulation"))]
    pub(super) fn forget(&mut self) {
        *self = Known::default();
    }

    /// A simulated network does not change.
    #[cfg(feature = "simulation")]
    pub(super) fn forget(&mut self) {
        self.items.clear();
        self.item_names.clear();
    }

    /// Where a location's stock is.
    pub fn place(&self, location_id: &str) -> Option<Place> {
        self.locations.get(location_id).map(|location| location.place)
    }

    /// A location.
    pub fn location(&self, location_id: &str) -> Option<&Arc<KnownLocation>> {
        self.locations.get(location_id)
    }

    /// The location with a number.
    pub fn location_of(&self, location: LocationNo) -> Option<&Arc<KnownLocation>> {
        self.location_names.get(&location)
    }

    /// All locations that are known, in no order: since the last
    /// [`refresh`](super::Directory::refresh) all that there are.
    pub fn locations(&self) -> impl ExactSizeIterator<Item = &Arc<KnownLocation>> {
        self.locations.values()
    }

    /// A channel's number.
    pub fn channel(&self, channel_id: &str) -> Option<ChannelNo> {
        self.channels.get(channel_id).map(|known| known.channel)
    }

    /// A channel and its policy.
    pub fn known_channel(&self, channel_id: &str) -> Option<&KnownChannel> {
        self.channels.get(channel_id)
    }

    /// The channel with a number, and its policy.
    pub fn channel_of(&self, channel: ChannelNo) -> Option<&KnownChannel> {
        self.channel_names.get(&channel).and_then(|channel_id| self.channels.get(channel_id))
    }

    /// An item.
    pub fn item(&self, sku: &str) -> Option<KnownItem> {
        self.items.get(sku).copied()
    }

    /// The code of the item with a number.
    pub fn sku_of(&self, item: ItemNo) -> Option<&Arc<str>> {
        self.item_names.get(&item)
    }

    /// Whether a position has quotas, so that only the ledger can say what is available of it. A server
    /// that does not know it yet is told by the ledger all the same when it asks for stock.
    pub fn has_quotas(&self, key: PositionKey) -> bool {
        // Most ledgers have none at all.
        !self.quotas.is_empty()
            && self.quotas.get(&(key.place.location, key.item)).is_some_and(|(has, _)| *has)
    }

    /// Positions whose quotas were put after a revision.
    pub fn quotas_since(&self, revision: i64) -> impl Iterator<Item = PositionKey> {
        let since = self.quotas.iter().filter(move |(_, (_, put))| *put > revision);
        since.filter_map(|(&(location, item), _)| {
            let place = self.location_names.get(&location)?.place;
            Some(PositionKey { place, item })
        })
    }

    /// The items that are recalled.
    pub fn recalled(&self) -> &Arc<Recalled> {
        &self.recalled
    }

    /// Whether nothing of a position may be promised, whatever there is.
    pub fn is_shut(&self, key: PositionKey, now: Timestamp) -> bool {
        let location = self.location_of(key.place.location);
        self.recalled.has(key.item)
            || location.is_some_and(|location| location.live.check_accepts(now).is_err())
    }

    /// A source's number.
    pub fn source(&self, source: &str) -> Option<SourceNo> {
        self.sources.get(source).copied()
    }

    pub(super) fn learn_location(&mut self, location: KnownLocation) {
        let known = self.locations.get(&location.location_id);
        if known.is_some_and(|known| known.revision > location.revision) {
            return;
        }
        let location = Arc::new(location);
        self.location_names.insert(location.place.location, Arc::clone(&location));
        self.locations.insert(location.location_id.clone(), location);
    }

    pub(super) fn learn_channel(&mut self, channel: KnownChannel) {
        let known = self.channels.get(&channel.channel_id);
        if known.is_some_and(|known| known.revision > channel.revision) {
            return;
        }
        self.channel_names.insert(channel.channel, Arc::clone(&channel.channel_id));
        self.channels.insert(Arc::clone(&channel.channel_id), channel);
    }

    /// A reading that was overtaken by a newer one must not undo it.
    pub(super) fn learn_item(&mut self, sku: &str, item: KnownItem) {
        if let Some(known) = self.items.get_mut(sku) {
            if known.revision > item.revision {
                return;
            }
            *known = item;
        }
        let sku = match self.items.get_key_value(sku) {
            Some((sku, _)) => Arc::clone(sku),
            None => Arc::<str>::from(sku),
        };
        if item.recalled != self.recalled.has(item.item) {
            Arc::make_mut(&mut self.recalled).put(item.item, &sku, item.recalled);
        }
        self.item_names.insert(item.item, Arc::clone(&sku));
        self.items.insert(sku, item);
    }

    pub(super) fn learn_quotas(&mut self, key: (LocationNo, ItemNo), active: bool, revision: i64) {
        let known = self.quotas.entry(key).or_default();
        if known.1 <= revision {
            *known = (active, revision);
        }
    }

    pub(super) fn learn_source(&mut self, source: &str, number: SourceNo) {
        self.sources.insert(source.into(), number);
    }
}

impl KnownLocation {
    /// A location that was read or put under a revision. A zone that this machine's time zone
    /// database does not have, unlike that of the server that accepted it, counts as UTC.
    pub(crate) fn new(place: Place, location: &Location, revision: i64) -> KnownLocation {
        let zone = TimeZone::get(&location.time_zone).unwrap_or_else(|_| {
            let (location_id, time_zone) = (&location.location_id, &location.time_zone);
            tracing::warn!(location_id, time_zone, "unknown time zone; its deadlines are in UTC");
            TimeZone::UTC
        });
        KnownLocation {
            location_id: (*location.location_id).into(),
            place,
            calendar: Arc::new(
                Calendar::new(zone, location.opening.clone()).closed(location.live.closure),
            ),
            preparation: location.preparation,
            spot: location.coordinates.map(Spot::new),
            pickup_enabled: location.pickup_enabled,
            live: location.live,
            pickups_per_quarter_hour: location.pickups_per_quarter_hour,
            revision,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stock::{calendar::Opening, ids::Partition};

    fn location(preparation: Micros, revision: i64) -> KnownLocation {
        let place = Place { partition: Partition(0), location: LocationNo(1) };
        let location = Location {
            location_id: "berlin".to_owned(),
            name: String::new(),
            time_zone: "Europe/Berlin".to_owned(),
            coordinates: None,
            pickup_enabled: false,
            partition: place.partition,
            opening: Opening::default(),
            preparation,
            pickups_per_quarter_hour: 0,
            live: Live::default(),
        };
        KnownLocation::new(place, &location, revision)
    }

    fn channel(version: i64, revision: i64) -> KnownChannel {
        let policy = Arc::new(Policy { version, ..Policy::default() });
        KnownChannel { channel_id: "web".into(), channel: ChannelNo(1), policy, revision }
    }

    fn item(stock_item: bool, revision: i64) -> KnownItem {
        KnownItem { item: ItemNo(1), stock_item, recalled: false, revision }
    }

    #[test]
    fn a_reading_that_was_overtaken_does_not_undo_a_newer_one() {
        let mut known = Known::default();
        for (revision, newest) in [(2, 2), (1, 2), (3, 3), (2, 3)] {
            known.learn_location(location(revision, revision));
            known.learn_channel(channel(revision, revision));
            known.learn_item("A", item(revision == 3, revision));
            assert_eq!(known.location("berlin").unwrap().preparation, newest);
            assert_eq!(known.location_of(LocationNo(1)).unwrap().preparation, newest);
            assert_eq!(known.known_channel("web").unwrap().policy.version, newest);
            assert_eq!(known.channel_of(ChannelNo(1)).unwrap().policy.version, newest);
            assert_eq!(known.item("A").unwrap().stock_item, newest == 3);
        }
    }

    #[test]
    fn a_zone_that_this_machine_does_not_know_counts_as_utc() {
        let elsewhere = Location {
            location_id: "mars".to_owned(),
            name: String::new(),
            time_zone: "Mars/Olympus_Mons".to_owned(),
            coordinates: None,
            pickup_enabled: false,
            partition: Partition(0),
            opening: Opening::default(),
            preparation: 0,
            pickups_per_quarter_hour: 0,
            live: Live::default(),
        };
        let place = location(0, 1).place;
        let known = KnownLocation::new(place, &elsewhere, 1);
        let midnight = crate::stock::time::Timestamp(24 * 3_600 * crate::stock::time::SECOND);
        assert_eq!(known.calendar.collect_by(crate::stock::time::Timestamp(0), 0), midnight);
    }
}
