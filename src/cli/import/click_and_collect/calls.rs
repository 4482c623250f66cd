//! Calls of a customer and a shop, each made again until it is answered.
use std::{future::Future, time::Duration};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use super::{CHANNEL, clock};
use crate::{
    api::proto::{
        CancelReservationRequest, CollectReservationRequest, CreateReservationRequest,
        GetReservationRequest, Line, ListReservationsRequest, MarkReadyRequest,
        MoveReservationRequest, Movement, MovementResult, PickedLine, RecordMovementsRequest,
        ReportPickRequest, Reservation, ReservationState, ReturnToShelfRequest,
        StartPickingRequest, movement_service_client::MovementServiceClient,
        reservation_service_client::ReservationServiceClient,
    },
    cli::{
        client::Connection,
        import::{
            retry::Patience,
            send::{Connections, SendError},
        },
    },
};

/// Shops and customers that are answered at the same time; the others wait their turn.
const CALLS_AT_ONCE_MAX: usize = 128;
/// Between two looks at a promise whose time is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The sweeper needs a quarter of a second; whoever needs this long has forgotten it.
const EXPIRED_WITHIN: Duration = Duration::from_secs(60);
/// Rows of one page.
const PAGE_ROWS: i32 = 1_000;

/// The server, as the shops and their customers know it.
pub(super) struct Calls<'a> {
    connections: &'a Connections,
    patience: &'a Patience,
    permits: Semaphore,
    ttl: prost_types::Duration,
}

/// What a customer has in hand.
#[derive(Debug, Clone)]
pub(super) struct Promise {
    /// The reservation.
    pub(super) id: String,
    /// What the customer shows.
    pub(super) pickup_code: String,
    /// Number of the shop that has the goods.
    pub(super) shop: u32,
    /// Whether a move was tried and what came of it.
    pub(super) moved: Option<bool>,
}

/// An answer that is no failure of the call.
pub(super) enum Answer {
    /// It is done, and so it stands.
    Done(Box<Reservation>),
    /// There is too little stock.
    Short,
    /// The reservation is not where this step begins.
    WrongState,
}

/// Makes a call of ReservationService for the shop of this number, whose response is a reservation.
macro_rules! step {
    ($calls:ident, $shop:expr, $doing:literal, $method:ident, $request:expr) => {{
        let request = $request;
        let response = $calls.ask($doing, || {
            let mut client = ReservationServiceClient::new($calls.channel($shop));
            let request = request.clone();
            async move { client.$method(request).await }
        });
        answer($doing, response.await.map(|response| response.reservation))
    }};
}

impl<'a> Calls<'a> {
    /// Calls nothing yet.
    pub(super) fn new(connections: &'a Connections, patience: &'a Patience, compress: u32) -> Self {
        let ttl = clock::ttl(compress);
        let ttl = prost_types::Duration {
            seconds: i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(ttl.subsec_nanos()).unwrap_or(0),
        };
        Self { connections, patience, permits: Semaphore::new(CALLS_AT_ONCE_MAX), ttl }
    }

    /// Reserves a basket at a shop, for as long as a customer has to collect it.
    pub(super) async fn reserve(
        &self,
        shop: u32,
        location_id: &str,
        (basket, household): (u64, u32),
        lines: Vec<Line>,
    ) -> Result<Answer, SendError> {
        let request = CreateReservationRequest {
            request_id: format!("{basket}-reserve"),
            channel_id: CHANNEL.to_owned(),
            location_id: location_id.to_owned(),
            lines,
            order_ref: basket.to_string(),
            customer_ref: format!("household-{household}"),
            ttl: Some(self.ttl),
            ..CreateReservationRequest::default()
        };
        step!(self, shop, "reserving", create_reservation, request)
    }

    pub(super) async fn move_to(
        &self,
        shop: u32,
        basket: u64,
        promise: &Promise,
        location_id: &str,
    ) -> Result<Answer, SendError> {
        let request = MoveReservationRequest {
            request_id: format!("{basket}-move"),
            reservation_id: promise.id.clone(),
            location_id: location_id.to_owned(),
            reason: String::new(),
        };
        step!(self, shop, "moving a reservation", move_reservation, request)
    }

    pub(super) async fn cancel(
        &self,
        shop: u32,
        basket: u64,
        promise: &Promise,
    ) -> Result<Answer, SendError> {
        let request = CancelReservationRequest {
            request_id: format!("{basket}-cancel"),
            reservation_id: promise.id.clone(),
            ..CancelReservationRequest::default()
        };
        step!(self, shop, "cancelling a reservation", cancel_reservation, request)
    }

    pub(super) async fn start_picking(
        &self,
        shop: u32,
        basket: u64,
        promise: &Promise,
    ) -> Result<Answer, SendError> {
        let request = StartPickingRequest {
            request_id: format!("{basket}-pick"),
            reservation_id: promise.id.clone(),
            actor: String::new(),
        };
        step!(self, shop, "picking a reservation", start_picking, request)
    }

    /// What was found of one line.
    pub(super) async fn report_pick(
        &self,
        shop: u32,
        basket: u64,
        promise: &Promise,
        line: PickedLine,
    ) -> Result<Answer, SendError> {
        let request = ReportPickRequest {
            request_id: format!("{basket}-report"),
            reservation_id: promise.id.clone(),
            lines: vec![line],
            actor: String::new(),
        };
        step!(self, shop, "reporting what was found", report_pick, request)
    }

    pub(super) async fn mark_ready(
        &self,
        shop: u32,
        basket: u64,
        promise: &Promise,
    ) -> Result<Answer, SendError> {
        let request = MarkReadyRequest {
            request_id: format!("{basket}-ready"),
            reservation_id: promise.id.clone(),
            actor: String::new(),
        };
        step!(self, shop, "making a reservation ready", mark_ready, request)
    }

    /// Hands over everything.
    pub(super) async fn collect(
        &self,
        shop: u32,
        basket: u64,
        promise: &Promise,
    ) -> Result<Answer, SendError> {
        let request = CollectReservationRequest {
            request_id: format!("{basket}-collect"),
            reservation_id: promise.id.clone(),
            pickup_code: promise.pickup_code.clone(),
            ..CollectReservationRequest::default()
        };
        step!(self, shop, "handing a reservation over", collect_reservation, request)
    }

    pub(super) async fn return_to_shelf(
        &self,
        shop: u32,
        basket: u64,
        promise: &Promise,
    ) -> Result<Answer, SendError> {
        let request = ReturnToShelfRequest {
            request_id: format!("{basket}-shelve"),
            reservation_id: promise.id.clone(),
            actor: String::new(),
        };
        step!(self, shop, "returning goods to the shelf", return_to_shelf, request)
    }

    pub(super) async fn look(&self, shop: u32, promise: &Promise) -> Result<Answer, SendError> {
        let request = GetReservationRequest { reservation_id: promise.id.clone() };
        step!(self, shop, "looking at a reservation", get_reservation, request)
    }

    /// Looks until the sweeper has ended the promise.
    pub(super) async fn await_expiry(
        &self,
        shop: u32,
        promise: &Promise,
    ) -> Result<Reservation, SendError> {
        let patience = Duration::from_secs(self.ttl.seconds.unsigned_abs()) + EXPIRED_WITHIN;
        let deadline = Instant::now() + patience;
        loop {
            match self.look(shop, promise).await? {
                Answer::Done(found) if found.state() == ReservationState::Expired => {
                    return Ok(*found);
                }
                _ if Instant::now() > deadline => {
                    return Err(SendError::NotExpired { reservation_id: promise.id.clone() });
                }
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// All reservations ever made at a location.
    pub(super) async fn list(
        &self,
        shop: u32,
        location_id: &str,
    ) -> Result<Vec<Reservation>, SendError> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListReservationsRequest {
                location_id: location_id.to_owned(),
                page_size: PAGE_ROWS,
                page_token,
                ..ListReservationsRequest::default()
            };
            let doing = "listing the reservations";
            let page = self.ask(doing, || {
                let mut client = ReservationServiceClient::new(self.channel(shop));
                let request = request.clone();
                async move { client.list_reservations(request).await }
            });
            let page = page.await.map_err(|status| SendError::refused(doing, status))?;
            all.extend(page.reservations);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            page_token = page.next_page_token;
        }
    }

    /// Reports movements of one shop; one result for each.
    pub(super) async fn record(
        &self,
        shop: u32,
        source: &str,
        movements: Vec<Movement>,
    ) -> Result<Vec<MovementResult>, SendError> {
        let sent = movements.len();
        let request =
            RecordMovementsRequest { source: source.to_owned(), sent_at: None, movements };
        let response = self.ask("sending lines", || {
            let mut client = MovementServiceClient::new(self.channel(shop));
            let request = request.clone();
            async move { client.record_movements(request).await }
        });
        let response = response.await.map_err(|status| SendError::refused("sending lines", status));
        let results = response?.results;
        if results.len() != sent {
            return Err(SendError::Answer { results: results.len(), movements: sent });
        }
        Ok(results)
    }

    fn channel(&self, shop: u32) -> Connection {
        self.connections.channel(shop as usize)
    }

    async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.permits.acquire().await.ok()
    }

    /// Until there is an answer or patience is at its end.
    async fn ask<T, F>(&self, doing: &'static str, call: impl Fn() -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let _permit = self.permit().await;
        let mut attempt = 0;
        loop {
            let status = match call().await {
                Ok(response) => {
                    self.patience.progressed();
                    return Ok(response.into_inner());
                }
                Err(status) => status,
            };
            let Some(pause) = self.patience.pause(attempt, &status) else { return Err(status) };
            tracing::debug!(%status, ?pause, doing, "call failed");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }
}

/// A refusal that follows from the stock, or from the life of a reservation, is an answer.
fn answer(
    doing: &'static str,
    response: Result<Option<Reservation>, Status>,
) -> Result<Answer, SendError> {
    let status = match response {
        Ok(Some(reservation)) => return Ok(Answer::Done(Box::new(reservation))),
        Ok(None) => Status::internal("the answer has no reservation"),
        Err(status) => status,
    };
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    match (status.code(), reason.as_str()) {
        (Code::FailedPrecondition, "INSUFFICIENT_STOCK") => Ok(Answer::Short),
        (Code::FailedPrecondition, "RESERVATION_STATE" | "NOTHING_ASIDE") => Ok(Answer::WrongState),
        _ => Err(SendError::refused(doing, status)),
    }
}
