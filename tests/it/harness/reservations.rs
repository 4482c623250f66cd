//! Requests of ReservationService, short enough to read a test by them.
#![expect(clippy::disallowed_types, reason = "a client of the services")]

use prost_types::Timestamp;
use stockroom::api::proto::{
    CollectReservationRequest, CreateReservationRequest, GetReservationRequest, Line,
    MarkReadyRequest, PickedLine, ReportPickRequest, Reservation, StartPickingRequest,
};
use tonic::Status;

use crate::harness::server::Server;

pub fn line(sku: &str, quantity: i64) -> Line {
    Line { sku: sku.to_owned(), quantity }
}

pub fn create(request_id: &str, location_id: &str, lines: Vec<Line>) -> CreateReservationRequest {
    CreateReservationRequest {
        request_id: request_id.to_owned(),
        location_id: location_id.to_owned(),
        lines,
        ..CreateReservationRequest::default()
    }
}

/// Microseconds since 1970.
pub fn micros(time: Option<Timestamp>) -> i64 {
    time.map_or(0, |time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000)
}

impl Server {
    /// Reserves one item.
    pub async fn reserve(
        &self,
        request_id: &str,
        location_id: &str,
        sku: &str,
        quantity: i64,
    ) -> Result<Reservation, Status> {
        self.create(create(request_id, location_id, vec![line(sku, quantity)])).await
    }

    pub async fn create(&self, request: CreateReservationRequest) -> Result<Reservation, Status> {
        let response = self.reservations().create_reservation(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    pub async fn start_picking(&self, request_id: &str, id: &str) -> Result<Reservation, Status> {
        let (request_id, reservation_id) = (request_id.to_owned(), id.to_owned());
        let request = StartPickingRequest { request_id, reservation_id, actor: String::new() };
        let response = self.reservations().start_picking(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    pub async fn report_pick(
        &self,
        request_id: &str,
        id: &str,
        lines: &[(&str, i64, &str)],
    ) -> Result<Reservation, Status> {
        let lines = lines.iter().map(|&(sku, found, reason)| PickedLine {
            sku: sku.to_owned(),
            found,
            reason: reason.to_owned(),
        });
        let request = ReportPickRequest {
            request_id: request_id.to_owned(),
            reservation_id: id.to_owned(),
            lines: lines.collect(),
            actor: String::new(),
        };
        let response = self.reservations().report_pick(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    pub async fn mark_ready(&self, request_id: &str, id: &str) -> Result<Reservation, Status> {
        let (request_id, reservation_id) = (request_id.to_owned(), id.to_owned());
        let request = MarkReadyRequest { request_id, reservation_id, actor: String::new() };
        let response = self.reservations().mark_ready(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    pub async fn get(&self, id: &str) -> Reservation {
        let request = GetReservationRequest { reservation_id: id.to_owned() };
        let response = self.reservations().get_reservation(request).await.unwrap();
        response.into_inner().reservation.unwrap()
    }

    /// Hands everything over.
    pub async fn collect(&self, request_id: &str, id: &str) -> Result<Reservation, Status> {
        let request = CollectReservationRequest {
            request_id: request_id.to_owned(),
            reservation_id: id.to_owned(),
            ..CollectReservationRequest::default()
        };
        let response = self.reservations().collect_reservation(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }
}
