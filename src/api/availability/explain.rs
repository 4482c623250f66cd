//! ExplainAvailability: how a number comes about.

use tonic::Status;

use crate::{
    access::Caller,
    ambient,
    api::{
        Api,
        availability::{AGE_US_DEFAULT, check_sku},
        error::unknown,
        proto::{
            AvailabilityCause, AvailabilityTerm, ExplainAvailabilityRequest,
            ExplainAvailabilityResponse,
        },
        wire::time_out,
    },
    availability::explain::HeldUnits,
    ledger::reservation::PromiseOrder,
    reads::{Question, Stock},
    stock::{
        channel_policy::Policy,
        hold::HoldId,
        ids::{ItemNo, Place, PositionKey},
        live::Live,
        policy,
        position::Position,
        reservation::Reservation,
    },
};

/// Rows that are named of one term.
const CAUSES_MAX: usize = 100;

impl Api {
    /// What the status of a location says.
    fn live(&self, place: Place) -> Live {
        let known = self.ledger.directory().known();
        known.location_of(place.location).map_or_else(Live::default, |location| location.live)
    }

    pub(super) async fn explain(
        &self,
        caller: &Caller,
        sent: ExplainAvailabilityRequest,
    ) -> Result<ExplainAvailabilityResponse, Status> {
        let policy = self.policy(caller, &sent.channel_id).await?;
        let place = self.place(caller, &sent.location_id).await?;
        check_sku(&sent.sku, "sku")?;
        let item = self.item_no(&sent.sku).await?;
        let item = item.ok_or_else(|| unknown("item", "sku", &sent.sku))?;
        let key = PositionKey { place, item };
        let (keys, channel, age_us_max) = (&[key], policy.channel, AGE_US_DEFAULT);
        let question = Question { keys, channel, own: None, seen: None, age_us_max };
        let answer = self.reads.stock(question).await?;
        let stock = answer.stock.first().copied().unwrap_or_default();
        let position = self.ledger.positions(&[key]).await?.remove(&key).unwrap_or_default();
        let (live, now) = (self.live(place), ambient::now());
        let (shut, recalled) = {
            let known = self.ledger.directory().known();
            (known.is_shut(key, now), known.recalled().has(item))
        };
        let shown = if shut { policy.shown(0) } else { stock.shown(key, 0, &policy) };
        let told = ExplainAvailabilityResponse {
            available: shown.available,
            band: shown.band.map_or(0, |band| band as i32),
            version: stock.seq as u64,
            doubtful: position.doubtful_at.is_some(),
            as_of: Some(time_out(answer.as_of)),
            degraded: answer.degraded,
            ..ExplainAvailabilityResponse::default()
        };
        if shown.band.is_some() {
            return Ok(told);
        }
        let promises =
            self.ledger.promises(key, PromiseOrder::LargestFirst, CAUSES_MAX as i64 + 1).await?;
        let promises = self.seen(caller, promises).await?;
        let holds = self.reads.availability().holds_of(key, CAUSES_MAX + 1).await;
        let mut holds = holds.unwrap_or_default();
        // Of a hold nobody knows the channel.
        holds.retain(|held| caller.channels.is_all() || held.id.is_of(caller.owner()));
        let mut terms = vec![
            sellable_term(&stock),
            reserved_term(&stock, item, &promises),
            held_term(&stock, &holds),
            buffer_term(&stock, key, &policy, &sent.channel_id),
        ];
        let free = terms.iter().map(|term| term.quantity).sum::<i64>().max(0);
        if !policy.is_eligible(place.location) {
            let left = -free;
            terms.push(term("not_eligible", left, vec![cause("policy", sent.channel_id, left)]));
        } else if stock.fences.others > 0 {
            let fenced = stock.available(key, 0, &policy) - free;
            terms.push(self.quota_term(caller, fenced, key, &policy).await?);
        }
        let left = terms.iter().map(|term| term.quantity).sum::<i64>().max(0);
        if recalled && left > 0 {
            terms.push(term("recalled", -left, vec![cause("item", sent.sku, -left)]));
        } else if shut && left > 0 {
            let status = live.status_at(now).name().to_owned();
            terms.push(term("not_accepting", -left, vec![cause("status", status, -left)]));
        }
        Ok(ExplainAvailabilityResponse {
            sum: terms.iter().map(|term| term.quantity).sum(),
            terms,
            shortfall: (stock.reserved - stock.sellable).max(0),
            unserved: self.unserved(caller, key, &position).await?,
            ..told
        })
    }

    /// What quotas keep from the channel. Those of other channels are named as they are now: what they
    /// fence together may be more, and may have changed since the sum was read.
    async fn quota_term(
        &self,
        caller: &Caller,
        fenced: i64,
        key: PositionKey,
        policy: &Policy,
    ) -> Result<AvailabilityTerm, Status> {
        let book = self.ledger.positions_with_quotas(&[key]).await?;
        let quotas = book.quotas.get(&key).into_iter().flatten();
        let others = quotas.filter(|quota| Some(quota.channel) != policy.channel);
        let fencing: Vec<_> =
            others.map(|quota| (quota.channel, -quota.fenced(book.now))).collect();
        let channels: Vec<_> = fencing.iter().map(|(channel, _)| *channel).collect();
        self.ledger.directory().find_numbered_channels(&channels).await?;
        let known = self.ledger.directory().known();
        let causes = fencing.into_iter().filter(|(_, units)| *units < 0).map(|(channel, units)| {
            let channel_id = known.channel_of(channel).map(|known| known.channel_id.to_string());
            cause("quota", channel_id.unwrap_or_default(), units)
        });
        let causes = causes.filter(|cause| caller.channels.includes(&cause.id));
        Ok(term("quota", fenced, causes.collect()))
    }

    /// Whom a shortfall of a position hits.
    async fn unserved(
        &self,
        caller: &Caller,
        key: PositionKey,
        position: &Position,
    ) -> Result<Vec<AvailabilityCause>, Status> {
        let shortfall = position.reserved - position.sellable;
        if shortfall <= 0 {
            return Ok(Vec::new());
        }
        let newest =
            self.ledger.promises(key, PromiseOrder::NewestFirst, CAUSES_MAX as i64).await?;
        let newest = newest.iter().map(|made| (made, made.reserved(key.item)));
        let hit = policy::unserved(shortfall, newest);
        let mut causes = Vec::with_capacity(hit.len());
        for (made, lacking) in hit {
            if self.sees(caller, made).await? {
                causes.push(promise(made, lacking));
            }
        }
        Ok(causes)
    }

    /// Those that exist for the caller.
    async fn seen(
        &self,
        caller: &Caller,
        promises: Vec<Reservation>,
    ) -> Result<Vec<Reservation>, Status> {
        let mut seen = Vec::with_capacity(promises.len());
        for made in promises {
            if self.sees(caller, &made).await? {
                seen.push(made);
            }
        }
        Ok(seen)
    }
}

fn cause(kind: &str, id: String, quantity: i64) -> AvailabilityCause {
    AvailabilityCause { kind: kind.to_owned(), id, quantity, expires_at: None }
}

fn term(term: &str, quantity: i64, mut causes: Vec<AvailabilityCause>) -> AvailabilityTerm {
    causes.sort_by_key(|cause| cause.quantity);
    let truncated = causes.len() > CAUSES_MAX;
    causes.truncate(CAUSES_MAX);
    AvailabilityTerm { term: term.to_owned(), quantity, causes, truncated }
}

fn sellable_term(stock: &Stock) -> AvailabilityTerm {
    let causes = vec![cause("position", stock.seq.to_string(), stock.sellable)];
    term("sellable", stock.sellable, causes)
}

fn reserved_term(stock: &Stock, item: ItemNo, promises: &[Reservation]) -> AvailabilityTerm {
    let causes = promises.iter().map(|made| promise(made, -made.reserved(item)));
    term("reserved", -stock.reserved, causes.collect())
}

fn promise(made: &Reservation, quantity: i64) -> AvailabilityCause {
    // Who asked for a hold knows it by that name, wherever it is kept.
    let held = made.held_as.map(|digest| HoldId { place: made.id.place, digest });
    let (kind, id) = match held {
        Some(hold) => ("hold", hold.to_string()),
        None => ("reservation", made.id.to_string()),
    };
    let expires_at = Some(time_out(made.expires_at));
    AvailabilityCause { expires_at, ..cause(kind, id, quantity) }
}

fn held_term(stock: &Stock, holds: &[HeldUnits]) -> AvailabilityTerm {
    let causes = holds.iter().map(|held| AvailabilityCause {
        expires_at: Some(time_out(held.expires_at)),
        ..cause("hold", held.id.to_string(), -held.units)
    });
    term("held", -stock.held, causes.collect())
}

fn buffer_term(
    stock: &Stock,
    key: PositionKey,
    policy: &Policy,
    channel_id: &str,
) -> AvailabilityTerm {
    let buffer = -policy.buffer_at(key).of(stock.sellable);
    let policy = || cause("policy", channel_id.to_owned(), buffer);
    let causes = if buffer == 0 { Vec::new() } else { vec![policy()] };
    term("buffer", buffer, causes)
}
