//! Lists of reservations, partition by partition.

use tonic::Status;

use crate::{
    access::Caller,
    api::{
        Api,
        error::invalid,
        guard::Who,
        page,
        proto::{ListReservationsRequest, ListReservationsResponse},
        reservations::asked::{location_id, optional_identifier, pickup_code, unknown_value},
    },
    ledger::reservation::Filter,
    stock::{
        ids::{Partition, Place, Seq},
        pickup::PickupSecret,
        reservation::State,
    },
};

const RESERVATIONS: &str = "reservations";
/// Highest number of a state that the contract has.
const STATE_MAX: i16 = State::Moved as i16;

impl Api {
    pub(super) async fn list(
        &self,
        caller: &Caller,
        sent: ListReservationsRequest,
        who: &Who,
    ) -> Result<ListReservationsResponse, Status> {
        let rows_max = page::rows_max(sent.page_size)?;
        let (mut partition, mut after) = position(&sent.page_token)?;
        let place = self.listed_place(caller, &sent).await?;
        let mut filter = self.filter(&sent, place)?;
        filter.places = self.places_of(caller).await?;
        filter.channels = self.channels_of(caller).await?;
        let tried = place.filter(|_| filter.code_hash.is_some()).map(|place| place.location);
        if let Some(location) = tried {
            self.guard.may_try_code(who, location)?;
        }
        let partitions = match place {
            Some(place) => vec![place.partition],
            None => self.ledger.partitions().await?.to_vec(),
        };
        let mut found = Vec::new();
        for next in partitions.into_iter().filter(|next| next.0 >= partition) {
            let behind = if next.0 == partition { after } else { 0 };
            let left = rows_max - found.len() as i64;
            found.extend(self.ledger.reservations(next, &filter, behind, left).await?);
            if found.len() as i64 >= rows_max {
                break;
            }
        }
        if let Some(location) = tried.filter(|_| found.is_empty()) {
            self.guard.code_was_wrong(who, location);
        }
        if let Some(last) = found.last() {
            (partition, after) = (last.id.place.partition.0, last.id.no);
        }
        let full = found.len() as i64 >= rows_max;
        let next = || page::encode(RESERVATIONS, &format!("{partition}.{after}"));
        let next_page_token = if full { next() } else { String::new() };
        let reservations = self.told(&found).await?;
        Ok(ListReservationsResponse { reservations, next_page_token })
    }

    async fn listed_place(
        &self,
        caller: &Caller,
        sent: &ListReservationsRequest,
    ) -> Result<Option<Place>, Status> {
        if sent.location_id.is_empty() {
            return Ok(None);
        }
        let id = location_id(sent.location_id.clone())?;
        Ok(Some(self.place(caller, &id).await?))
    }

    fn filter(
        &self,
        sent: &ListReservationsRequest,
        place: Option<Place>,
    ) -> Result<Filter, Status> {
        let any = sent.states.contains(&0);
        let states = sent.states.iter().filter(|_| !any).map(|&state| {
            let state = i16::try_from(state).ok().filter(|state| *state <= STATE_MAX);
            state.and_then(State::of).ok_or_else(|| unknown_value("states"))
        });
        let states = states.collect::<Result<Vec<_>, _>>()?;
        let code = pickup_code(sent.pickup_code.clone())?;
        let order_ref = optional_identifier(sent.order_ref.clone(), "order_ref")?;
        let customer_ref = optional_identifier(sent.customer_ref.clone(), "customer_ref")?;
        let code_hash = match (place, code.is_empty()) {
            (_, true) => None,
            (Some(place), false) => {
                let code = PickupSecret::normalised(&code);
                Some(self.writer.pickup_secret().hash(place, &code))
            }
            (None, false) => {
                let rule = "must be given with a pickup code, which is unique per location only";
                return Err(invalid("LOCATION_ID_REQUIRED", "location_id", rule));
            }
        };
        if place.is_none() && order_ref.is_empty() && customer_ref.is_empty() {
            let rule = "must be given, or an order_ref, or a customer_ref";
            return Err(invalid("FILTER_REQUIRED", "location_id", rule));
        }
        let location = place.map(|place| place.location);
        Ok(Filter { location, states, code_hash, order_ref, customer_ref, ..Filter::default() })
    }
}

/// Partition and number that a page begins behind.
fn position(page_token: &str) -> Result<(i16, Seq), Status> {
    let Some(text) = page::decode(RESERVATIONS, page_token)? else { return Ok((0, 0)) };
    let parsed = text.split_once('.').and_then(|(partition, number)| {
        Some((Partition(partition.parse().ok()?), number.parse().ok()?))
    });
    parsed.map(|(partition, number)| (partition.0, number)).ok_or_else(page::malformed)
}
