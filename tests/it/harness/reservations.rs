//! Requests of ReservationService, short enough to read a test by them.
#![expect(clippy::disallowed_types, reason = "a client of the services")]

use prost_types::{Duration, Timestamp};
use stockroom::api::proto::{
    AmendReservationRequest, BatchCreateReservationsRequest, CancelReservationRequest, CancelledBy,
    CollectReservationRequest, ConfirmReservationPaymentRequest, CreateReservationRequest,
    ExtendReservationRequest, GetReservationRequest, Line, ListReservationsRequest,
    ListReservationsResponse, MarkReadyRequest, MoveReservationRequest, PickedLine,
    ReportPickRequest, ReportPickResponse, Reservation, ReservationDraft, ReturnToShelfRequest,
    StartPickingRequest,
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

pub fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

/// One item at each of several locations.
pub fn basket(request_id: &str, parts: &[(&str, &str, i64)]) -> BatchCreateReservationsRequest {
    let draft = |&(location_id, sku, quantity): &(&str, &str, i64)| ReservationDraft {
        location_id: location_id.to_owned(),
        lines: vec![line(sku, quantity)],
        hold_id: String::new(),
    };
    BatchCreateReservationsRequest {
        request_id: request_id.to_owned(),
        reservations: parts.iter().map(draft).collect(),
        ..BatchCreateReservationsRequest::default()
    }
}

/// What was found of each line, and why not all of it.
pub fn pick(request_id: &str, id: &str, lines: &[(&str, i64, &str)]) -> ReportPickRequest {
    let lines = lines.iter().map(|&(sku, found, reason)| PickedLine {
        sku: sku.to_owned(),
        found,
        reason: reason.to_owned(),
    });
    ReportPickRequest {
        request_id: request_id.to_owned(),
        reservation_id: id.to_owned(),
        lines: lines.collect(),
        actor: String::new(),
    }
}

/// Hands all of it over to whoever shows this code.
pub fn collection(request_id: &str, id: &str, pickup_code: &str) -> CollectReservationRequest {
    CollectReservationRequest {
        request_id: request_id.to_owned(),
        reservation_id: id.to_owned(),
        pickup_code: pickup_code.to_owned(),
        ..CollectReservationRequest::default()
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
        let request = pick(request_id, id, lines);
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

    pub async fn batch(
        &self,
        request: BatchCreateReservationsRequest,
    ) -> Result<Vec<Reservation>, Status> {
        let response = self.reservations().batch_create_reservations(request).await?;
        Ok(response.into_inner().reservations)
    }

    pub async fn pick(&self, request: ReportPickRequest) -> Result<ReportPickResponse, Status> {
        Ok(self.reservations().report_pick(request).await?.into_inner())
    }

    pub async fn hand_over(
        &self,
        request: CollectReservationRequest,
    ) -> Result<Reservation, Status> {
        let response = self.reservations().collect_reservation(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    /// The customer gives it up.
    pub async fn cancel(&self, request_id: &str, id: &str) -> Result<Reservation, Status> {
        self.cancel_by(CancelledBy::Customer, "changed_mind", request_id, id).await
    }

    pub async fn cancel_by(
        &self,
        by: CancelledBy,
        reason: &str,
        request_id: &str,
        id: &str,
    ) -> Result<Reservation, Status> {
        let request = CancelReservationRequest {
            request_id: request_id.to_owned(),
            reservation_id: id.to_owned(),
            reason: reason.to_owned(),
            cancelled_by: by as i32,
        };
        let response = self.reservations().cancel_reservation(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    pub async fn amend(
        &self,
        request_id: &str,
        id: &str,
        lines: Vec<Line>,
    ) -> Result<Reservation, Status> {
        let request = AmendReservationRequest {
            request_id: request_id.to_owned(),
            reservation_id: id.to_owned(),
            lines,
            reason: "customer_wish".to_owned(),
        };
        let response = self.reservations().amend_reservation(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    /// From now on for so many seconds.
    pub async fn extend(
        &self,
        request_id: &str,
        id: &str,
        ttl: i64,
    ) -> Result<Reservation, Status> {
        let (request_id, reservation_id) = (request_id.to_owned(), id.to_owned());
        let request = ExtendReservationRequest { request_id, reservation_id, ttl: seconds(ttl) };
        let response = self.reservations().extend_reservation(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    pub async fn confirm_payment(&self, request_id: &str, id: &str) -> Result<Reservation, Status> {
        let (request_id, reservation_id) = (request_id.to_owned(), id.to_owned());
        let request = ConfirmReservationPaymentRequest { request_id, reservation_id };
        let response = self.reservations().confirm_reservation_payment(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    pub async fn move_to(
        &self,
        request_id: &str,
        id: &str,
        location_id: &str,
    ) -> Result<Reservation, Status> {
        let request = MoveReservationRequest {
            request_id: request_id.to_owned(),
            reservation_id: id.to_owned(),
            location_id: location_id.to_owned(),
            reason: "closer_to_home".to_owned(),
        };
        let response = self.reservations().move_reservation(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    pub async fn return_to_shelf(&self, request_id: &str, id: &str) -> Result<Reservation, Status> {
        let (request_id, reservation_id) = (request_id.to_owned(), id.to_owned());
        let request = ReturnToShelfRequest { request_id, reservation_id, actor: String::new() };
        let response = self.reservations().return_to_shelf(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    pub async fn list(
        &self,
        request: ListReservationsRequest,
    ) -> Result<ListReservationsResponse, Status> {
        Ok(self.reservations().list_reservations(request).await?.into_inner())
    }

    /// SELLABLE, STAGED and promised units of a position.
    pub async fn balances(&self, location_id: &str, sku: &str) -> (i64, i64, i64) {
        let position = self.position(location_id, sku).await;
        (position.sellable, position.staged, position.reserved)
    }
}
