//! Reservations as they are told.

use tonic::Status;

use crate::{
    api::{
        Api,
        proto::{self, Durability},
        token::Token,
        wire::time_out,
    },
    ledger::{directory::Known, head::Head},
    stock::{hold::HoldId, reservation::Reservation},
};

/// Token and durability of what was written.
pub(in crate::api) fn written(heads: &[Head], replicated: bool) -> (String, i32) {
    let durability = match replicated && !heads.is_empty() {
        true => Durability::Replicated,
        false => Durability::Ledger,
    };
    let token = Token::of(heads).map_or_else(String::new, |token| token.encode());
    (token, durability as i32)
}

impl Api {
    /// Numbers to names.
    pub(in crate::api) async fn told(
        &self,
        reservations: &[Reservation],
    ) -> Result<Vec<proto::Reservation>, Status> {
        self.know(reservations).await?;
        let known = self.ledger.directory().known();
        Ok(reservations.iter().map(|reservation| self.tell(&known, reservation)).collect())
    }

    /// Makes the names of everything known that these reservations refer to.
    async fn know(&self, reservations: &[Reservation]) -> Result<(), Status> {
        let directory = self.ledger.directory();
        let (locations, channels, items) = {
            let known = directory.known();
            let all = || reservations.iter();
            let locations = all().map(|made| made.id.place.location);
            let channels = all().filter_map(|made| made.channel);
            let items = all().flat_map(|made| made.lines.iter().map(|line| line.item));
            (
                locations.filter(|no| known.location_of(*no).is_none()).collect::<Vec<_>>(),
                channels.filter(|no| known.channel_of(*no).is_none()).collect::<Vec<_>>(),
                items.filter(|no| known.sku_of(*no).is_none()).collect::<Vec<_>>(),
            )
        };
        if !locations.is_empty() {
            directory.find_numbered_locations(&locations).await?;
        }
        if !channels.is_empty() {
            directory.find_numbered_channels(&channels).await?;
        }
        if !items.is_empty() {
            directory.find_numbered_items(&items).await?;
        }
        Ok(())
    }

    fn tell(&self, known: &Known, made: &Reservation) -> proto::Reservation {
        let line = |line: &crate::stock::reservation::Line| proto::ReservationLine {
            sku: known.sku_of(line.item).map_or_else(String::new, |sku| sku.to_string()),
            quantity: line.quantity,
            picked: line.picked,
            collected: line.collected,
            shelved: line.shelved,
        };
        let location = known.location_of(made.id.place.location);
        let channel = made.channel.and_then(|channel| known.channel_of(channel));
        let hold = made.hold.map(|digest| HoldId { place: made.id.place, digest });
        proto::Reservation {
            reservation_id: made.id.to_string(),
            state: made.state.told(),
            location_id: location.map_or_else(String::new, |known| known.location_id.to_string()),
            lines: made.lines.iter().map(line).collect(),
            ready_by: Some(time_out(made.ready_by)),
            collect_by: Some(time_out(made.expires_at)),
            expires_at: Some(time_out(made.expires_at)),
            pickup_code: self.writer.pickup_secret().code(&made.id),
            channel_id: channel.map_or_else(String::new, |known| known.channel_id.to_string()),
            settlement: made.settlement as i32,
            order_ref: made.order_ref.clone(),
            customer_ref: made.customer_ref.clone(),
            hold_id: hold.map_or_else(String::new, |hold| hold.to_string()),
            created_at: Some(time_out(made.created_at)),
            answer_by: made.answer_by.map(time_out),
            paid_at: made.paid_at.map(time_out),
            changed_at: Some(time_out(made.changed_at)),
            reason: made.reason.clone(),
            cancelled_by: made.cancelled_by.map_or(0, |by| by as i32),
            successor_id: made.successor.map_or_else(String::new, |id| id.to_string()),
            predecessor_id: made.predecessor.map_or_else(String::new, |id| id.to_string()),
            version: made.version as u64,
        }
    }
}
