//! AvailabilityService: what may still be promised.

mod explain;
mod pickup;
mod watch;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::{
    access::{Caller, Reach},
    ambient,
    api::{
        Api,
        authorise::caller,
        error::{invalid, unknown},
        guard::Who,
        proto::{
            self, CheckAvailabilityRequest, CheckAvailabilityResponse, ExplainAvailabilityRequest,
            ExplainAvailabilityResponse, FindPickupLocationsRequest, FindPickupLocationsResponse,
            WatchAvailabilityRequest, availability_service_server::AvailabilityService,
        },
        reach::check_channel,
        reservations::asked::{optional_hold_id, reservation_id},
        token::Token,
        wire::{duration_in, time_out},
    },
    availability::hold::KnownHold,
    ledger::directory::Known,
    reads::{Question, Stock},
    stock::{
        channel_policy::{Policy, Shown},
        hold::HoldId,
        ids::{ChannelNo, PositionKey, Seq, is_identifier, is_sku},
        reservation::Reservation,
        time::{Micros, SECOND},
    },
};

/// Item codes of one call.
const SKUS_MAX: usize = 10_000;
/// Items times locations of one call: the answer must fit into a message.
pub(in crate::api) const PAIRS_MAX: usize = 20_000;
/// How old an answer may be where the caller does not say.
pub(in crate::api) const AGE_US_DEFAULT: Micros = SECOND;
/// The most that a caller may allow.
const AGE_US_MAX: Micros = 3_600 * SECOND;

#[tonic::async_trait]
impl AvailabilityService for Api {
    async fn check_availability(
        &self,
        request: Request<CheckAvailabilityRequest>,
    ) -> Result<Response<CheckAvailabilityResponse>, Status> {
        let (caller, sent) = (caller(&request), request.into_inner());
        let age_us_max = max_staleness(sent.max_staleness)?;
        let token = min_token(&sent.min_token)?;
        let own_hold = optional_hold_id(&sent.hold_id)?.filter(|hold| hold.is_of(caller.owner()));
        let policy = self.policy(&caller, &sent.channel_id).await?;
        let own = self.own_promises(&caller, &sent.reservation_id, own_hold).await?;
        let pairs = self.pairs(&caller, sent.skus, sent.location_ids).await?;
        let question = Question {
            keys: &pairs.keys,
            channel: policy.channel,
            own: own_hold,
            seen: token.as_ref().map(|token| (token.epoch, &token.seqs)),
            age_us_max,
        };
        let answer = self.reads.stock(question).await?;
        Ok(Response::new(CheckAvailabilityResponse {
            availability: pairs.told(&answer.stock, &policy, &own),
            as_of: Some(time_out(answer.as_of)),
            degraded: answer.degraded,
        }))
    }

    type WatchAvailabilityStream = watch::Answers;

    async fn watch_availability(
        &self,
        request: Request<WatchAvailabilityRequest>,
    ) -> Result<Response<watch::Answers>, Status> {
        let caller = caller(&request);
        Ok(Response::new(self.watch_positions(caller, request.into_inner()).await?))
    }

    async fn explain_availability(
        &self,
        request: Request<ExplainAvailabilityRequest>,
    ) -> Result<Response<ExplainAvailabilityResponse>, Status> {
        let caller = caller(&request);
        Ok(Response::new(self.explain(&caller, request.into_inner()).await?))
    }

    async fn find_pickup_locations(
        &self,
        request: Request<FindPickupLocationsRequest>,
    ) -> Result<Response<FindPickupLocationsResponse>, Status> {
        let (caller, who) = (caller(&request), Who::of(request.extensions()));
        self.find_pickup(&caller, request.into_inner(), &who).await.map(Response::new)
    }
}

/// Every item at every location, those that are known first looked up.
pub(in crate::api) struct Pairs {
    skus: Vec<String>,
    location_ids: Vec<String>,
    /// Of each pair, location by location, where it is in `keys`; `None`: nobody has heard of it.
    indices: Vec<Option<usize>>,
    keys: Vec<PositionKey>,
    /// Of each pair, whether nothing more is promised of it.
    shut: Vec<bool>,
}

/// One item at one location, with what was read of it; `None`: nobody has heard of it.
pub(in crate::api) struct Pair<'p> {
    pub sku: &'p str,
    pub location_id: &'p str,
    pub found: Option<(PositionKey, &'p Stock)>,
    /// Whether nothing more is promised of it.
    pub shut: bool,
}

impl Pairs {
    fn new(known: &Known, reach: &Reach, skus: Vec<String>, location_ids: Vec<String>) -> Pairs {
        let now = ambient::now();
        let items: Vec<_> = skus.iter().map(|sku| known.item(sku).map(|item| item.item)).collect();
        let (mut indices, mut keys, mut shut) = (Vec::new(), Vec::new(), Vec::new());
        shut.reserve_exact(skus.len() * location_ids.len());
        indices.reserve_exact(skus.len() * location_ids.len());
        for location_id in &location_ids {
            let place = known.place(location_id).filter(|_| reach.includes(location_id));
            for item in &items {
                let key = place.zip(*item).map(|(place, item)| PositionKey { place, item });
                shut.push(key.is_some_and(|key| known.is_shut(key, now)));
                indices.push(key.map(|key| {
                    keys.push(key);
                    keys.len() - 1
                }));
            }
        }
        Pairs { skus, location_ids, indices, keys, shut }
    }

    fn told(
        &self,
        stock: &[Stock],
        policy: &Policy,
        own: &[Reservation],
    ) -> Vec<proto::Availability> {
        let tell = |pair: Pair<'_>| {
            let (shown, version) = pair.found.map_or((policy.shown(0), 0), |(key, stock)| {
                let own = own.iter().filter(|own| own.id.place == key.place);
                let own = own.map(|own| own.reserved(key.item)).sum();
                let shown = if pair.shut { policy.shown(0) } else { stock.shown(key, own, policy) };
                (shown, stock.seq)
            });
            availability(pair.sku.to_owned(), pair.location_id.to_owned(), shown, version)
        };
        self.each(stock).map(tell).collect()
    }

    /// Positions to read.
    pub fn keys(&self) -> &[PositionKey] {
        &self.keys
    }

    /// Every pair, location by location.
    pub fn each<'p>(&'p self, stock: &'p [Stock]) -> impl ExactSizeIterator<Item = Pair<'p>> {
        let pairs = self.indices.iter().enumerate();
        pairs.map(move |(number, index)| {
            let found = index.and_then(|index| Some((*self.keys.get(index)?, stock.get(index)?)));
            let name = |names: &'p [String], at: usize| names.get(at).map_or("", |name| &**name);
            let skus = self.skus.len().max(1);
            let (location_id, sku) = (number / skus, number % skus);
            let shut = self.shut.get(number).copied().unwrap_or_default();
            let location_id = name(&self.location_ids, location_id);
            Pair { sku: name(&self.skus, sku), location_id, found, shut }
        })
    }
}

impl Api {
    /// The policy of a channel that exists for the caller; an empty name is none.
    pub(in crate::api) async fn policy(
        &self,
        caller: &Caller,
        channel_id: &str,
    ) -> Result<Arc<Policy>, Status> {
        if channel_id.is_empty() {
            check_channel(caller, channel_id)?;
            return Ok(Arc::default());
        }
        if !is_identifier(channel_id) {
            let rule = "must match [A-Za-z0-9._:/-]{1,64}";
            return Err(invalid("IDENTIFIER_INVALID", "channel_id", rule));
        }
        check_channel(caller, channel_id)?;
        let directory = self.ledger.directory();
        let known =
            || directory.known().known_channel(channel_id).map(|known| Arc::clone(&known.policy));
        if let Some(policy) = known() {
            return Ok(policy);
        }
        directory.find_channels(&[channel_id]).await?;
        known().ok_or_else(|| unknown("channel", "channel_id", channel_id))
    }

    /// The policy of the channel with a number.
    pub(in crate::api) async fn policy_of(
        &self,
        channel: Option<ChannelNo>,
    ) -> Result<Arc<Policy>, Status> {
        let Some(channel) = channel else { return Ok(Arc::default()) };
        let directory = self.ledger.directory();
        if directory.known().channel_of(channel).is_none() {
            directory.find_numbered_channels(&[channel]).await?;
        }
        let known = directory.known();
        Ok(known.channel_of(channel).map_or_else(Arc::default, |known| Arc::clone(&known.policy)))
    }

    /// What the ledger keeps of promises that do not count against their owner: a reservation (an empty
    /// name is none), and a hold that the reservation layer does not have.
    async fn own_promises(
        &self,
        caller: &Caller,
        id: &str,
        hold: Option<HoldId>,
    ) -> Result<Vec<Reservation>, Status> {
        let mut own = Vec::new();
        if !id.is_empty()
            && let Some(found) = self.ledger.reservation(&reservation_id(id)?).await?
            && self.sees(caller, &found).await?
        {
            own.push(found);
        }
        if let Some(hold) = hold {
            let known = self.reads.availability().get(hold).await;
            if !matches!(known, Ok(KnownHold::Here(..))) {
                own.extend(self.ledger.ledger_hold(&hold).await?);
            }
        }
        Ok(own)
    }

    pub(in crate::api) async fn pairs(
        &self,
        caller: &Caller,
        skus: Vec<String>,
        mut location_ids: Vec<String>,
    ) -> Result<Pairs, Status> {
        if !(1..=SKUS_MAX).contains(&skus.len()) {
            return Err(invalid("SKUS_INVALID", "skus", "must be 1 to 10,000"));
        }
        skus.iter().try_for_each(|sku| check_sku(sku, "skus"))?;
        let directory = self.ledger.directory();
        if location_ids.is_empty() {
            directory.refresh().await?;
            let known = directory.known();
            let names = known.locations().map(|known| &*known.location_id);
            let reached = names.filter(|id| caller.locations.includes(id));
            location_ids.extend(reached.map(str::to_owned));
            location_ids.sort_unstable();
        }
        if location_ids.len().saturating_mul(skus.len()) > PAIRS_MAX {
            let rule = "must be at most 20,000 together with the locations";
            return Err(invalid("SKUS_INVALID", "skus", rule));
        }
        if !location_ids.iter().all(|id| is_identifier(id)) {
            let rule = "must match [A-Za-z0-9._:/-]{1,64}";
            return Err(invalid("LOCATION_ID_INVALID", "location_ids", rule));
        }
        let (unknown_skus, unknown_locations) = {
            let known = directory.known();
            let skus = skus.iter().filter(|sku| known.item(sku).is_none());
            let reached = location_ids.iter().filter(|id| caller.locations.includes(id));
            let locations = reached.filter(|id| known.place(id).is_none());
            (
                skus.map(String::as_str).collect::<Vec<_>>(),
                locations.map(String::as_str).collect::<Vec<_>>(),
            )
        };
        if !unknown_skus.is_empty() {
            directory.find_items(&unknown_skus).await?;
        }
        if !unknown_locations.is_empty() {
            directory.find_locations(&unknown_locations).await?;
        }
        let known = directory.known();
        Ok(Pairs::new(&known, &caller.locations, skus, location_ids))
    }
}

fn check_sku(sku: &str, field: &str) -> Result<(), Status> {
    let rule = "must match [A-Za-z0-9._:/-]{1,64} with single inner spaces at most";
    if is_sku(sku) { Ok(()) } else { Err(invalid("SKU_INVALID", field, rule)) }
}

fn max_staleness(sent: Option<prost_types::Duration>) -> Result<Micros, Status> {
    let Some(sent) = sent else { return Ok(AGE_US_DEFAULT) };
    let micros = duration_in(sent).filter(|micros| (0..=AGE_US_MAX).contains(micros));
    micros.ok_or_else(|| invalid("FIELD_INVALID", "max_staleness", "must be 0 to 1 h"))
}

fn min_token(sent: &str) -> Result<Option<Token>, Status> {
    if sent.is_empty() {
        return Ok(None);
    }
    let token = Token::decode(sent);
    let rule = "is not one that a write returned";
    token.map(Some).ok_or_else(|| invalid("TOKEN_INVALID", "min_token", rule))
}

/// One pair, as far as the channel is told.
pub(super) fn availability(
    sku: String,
    location_id: String,
    shown: Shown,
    version: Seq,
) -> proto::Availability {
    proto::Availability {
        sku,
        location_id,
        available: shown.available,
        version: version as u64,
        known: version > 0,
        band: shown.band.map_or(0, |band| band as i32),
    }
}
