//! ReservationService: holds, reservations, and their way to the customer.

pub(crate) mod asked;
mod holds;
mod list;
mod pick;
pub(in crate::api) mod told;
mod watch;

use std::pin::Pin;

use futures::Stream;
use tonic::{Request, Response, Status};

use crate::{
    api::{
        Api,
        movements::deadline,
        proto::{self, reservation_service_server::ReservationService, *},
        reservations::asked::{Asked, lines, reservation_id},
    },
    stock::reservation::{CancelledBy, Reservation},
    writer::request::{Denial, Stepped, Wish},
};

/// A step's answer, in the parts that every response has.
struct Answer {
    reservation: Option<proto::Reservation>,
    token: String,
    durability: i32,
}

/// Handlers whose request names a reservation and whose response is a reservation.
macro_rules! answer {
    ($response:ident, $answer:expr) => {{
        let Answer { reservation, token, durability } = $answer;
        Ok(Response::new($response { reservation, token, durability }))
    }};
}

#[tonic::async_trait]
impl ReservationService for Api {
    async fn hold_stock(
        &self,
        request: Request<HoldStockRequest>,
    ) -> Result<Response<HoldStockResponse>, Status> {
        let deadline = deadline(&request);
        self.hold(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn replace_hold(
        &self,
        request: Request<ReplaceHoldRequest>,
    ) -> Result<Response<ReplaceHoldResponse>, Status> {
        let deadline = deadline(&request);
        self.replace(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn extend_hold(
        &self,
        request: Request<ExtendHoldRequest>,
    ) -> Result<Response<ExtendHoldResponse>, Status> {
        let deadline = deadline(&request);
        self.extend(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn release_hold(
        &self,
        request: Request<ReleaseHoldRequest>,
    ) -> Result<Response<ReleaseHoldResponse>, Status> {
        let deadline = deadline(&request);
        self.release(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn create_reservation(
        &self,
        request: Request<CreateReservationRequest>,
    ) -> Result<Response<CreateReservationResponse>, Status> {
        let deadline = deadline(&request);
        let (ask, promise) = asked::creation(request.into_inner(), deadline)?;
        let stepped = self.writer.reserve(ask, promise).await?;
        answer!(CreateReservationResponse, self.answer(stepped).await?)
    }

    async fn batch_create_reservations(
        &self,
        request: Request<BatchCreateReservationsRequest>,
    ) -> Result<Response<BatchCreateReservationsResponse>, Status> {
        let deadline = deadline(&request);
        let (ask, promises) = asked::basket(request.into_inner(), deadline)?;
        let stepped = self.writer.reserve_all(ask, promises).await?;
        let reservations = self.told(&stepped.reservations).await?;
        let (token, durability) = told::written(&stepped.heads, stepped.replicated);
        Ok(Response::new(BatchCreateReservationsResponse { reservations, token, durability }))
    }

    async fn get_reservation(
        &self,
        request: Request<GetReservationRequest>,
    ) -> Result<Response<GetReservationResponse>, Status> {
        let id = reservation_id(&request.into_inner().reservation_id)?;
        let found = self.reservation(&id).await?;
        let reservation = self.told(&[found]).await?.pop();
        Ok(Response::new(GetReservationResponse { reservation }))
    }

    async fn list_reservations(
        &self,
        request: Request<ListReservationsRequest>,
    ) -> Result<Response<ListReservationsResponse>, Status> {
        self.list(request.into_inner()).await.map(Response::new)
    }

    async fn amend_reservation(
        &self,
        request: Request<AmendReservationRequest>,
    ) -> Result<Response<AmendReservationResponse>, Status> {
        let deadline = deadline(&request);
        let AmendReservationRequest { request_id, reservation_id, lines: sent, reason } =
            request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, deadline)?.because(reason)?;
        let wish = Wish::Amend(lines(sent)?);
        answer!(AmendReservationResponse, self.change(asked, wish).await?)
    }

    async fn extend_reservation(
        &self,
        request: Request<ExtendReservationRequest>,
    ) -> Result<Response<ExtendReservationResponse>, Status> {
        let deadline = deadline(&request);
        let ExtendReservationRequest { request_id, reservation_id, ttl } = request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, deadline)?;
        let wish = Wish::Extend(asked::required_ttl(ttl)?);
        answer!(ExtendReservationResponse, self.change(asked, wish).await?)
    }

    async fn confirm_reservation_payment(
        &self,
        request: Request<ConfirmReservationPaymentRequest>,
    ) -> Result<Response<ConfirmReservationPaymentResponse>, Status> {
        let deadline = deadline(&request);
        let ConfirmReservationPaymentRequest { request_id, reservation_id } = request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, deadline)?;
        answer!(ConfirmReservationPaymentResponse, self.change(asked, Wish::ConfirmPayment).await?)
    }

    async fn move_reservation(
        &self,
        request: Request<MoveReservationRequest>,
    ) -> Result<Response<MoveReservationResponse>, Status> {
        let deadline = deadline(&request);
        let MoveReservationRequest { request_id, reservation_id, location_id, reason } =
            request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, deadline)?.because(reason)?;
        let wish = Wish::Move(asked::location_id(location_id)?);
        answer!(MoveReservationResponse, self.change(asked, wish).await?)
    }

    async fn cancel_reservation(
        &self,
        request: Request<CancelReservationRequest>,
    ) -> Result<Response<CancelReservationResponse>, Status> {
        let deadline = deadline(&request);
        let CancelReservationRequest { request_id, reservation_id, reason, cancelled_by } =
            request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, deadline)?.because(reason)?;
        let by = match proto::CancelledBy::try_from(cancelled_by) {
            Ok(proto::CancelledBy::Store) => CancelledBy::Store,
            Ok(_) => CancelledBy::Customer,
            Err(_) => return Err(asked::unknown_value("cancelled_by")),
        };
        answer!(CancelReservationResponse, self.change(asked, Wish::Cancel(by)).await?)
    }

    async fn start_picking(
        &self,
        request: Request<StartPickingRequest>,
    ) -> Result<Response<StartPickingResponse>, Status> {
        let deadline = deadline(&request);
        let StartPickingRequest { request_id, reservation_id, actor } = request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, deadline)?.by(actor)?;
        answer!(StartPickingResponse, self.change(asked, Wish::StartPicking).await?)
    }

    async fn report_pick(
        &self,
        request: Request<ReportPickRequest>,
    ) -> Result<Response<ReportPickResponse>, Status> {
        let deadline = deadline(&request);
        let ReportPickRequest { request_id, reservation_id, lines, actor } = request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, deadline)?.by(actor)?;
        self.pick(asked, asked::picked(lines)?).await.map(Response::new)
    }

    async fn mark_ready(
        &self,
        request: Request<MarkReadyRequest>,
    ) -> Result<Response<MarkReadyResponse>, Status> {
        let deadline = deadline(&request);
        let MarkReadyRequest { request_id, reservation_id, actor } = request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, deadline)?.by(actor)?;
        answer!(MarkReadyResponse, self.change(asked, Wish::MarkReady).await?)
    }

    async fn collect_reservation(
        &self,
        request: Request<CollectReservationRequest>,
    ) -> Result<Response<CollectReservationResponse>, Status> {
        let deadline = deadline(&request);
        let CollectReservationRequest {
            request_id,
            reservation_id,
            lines: sent,
            pickup_code,
            actor,
        } = request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, deadline)?.by(actor)?;
        let wish = Wish::Collect(asked::optional_lines(sent)?, asked::pickup_code(pickup_code)?);
        answer!(CollectReservationResponse, self.change(asked, wish).await?)
    }

    async fn return_to_shelf(
        &self,
        request: Request<ReturnToShelfRequest>,
    ) -> Result<Response<ReturnToShelfResponse>, Status> {
        let deadline = deadline(&request);
        let ReturnToShelfRequest { request_id, reservation_id, actor } = request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, deadline)?.by(actor)?;
        answer!(ReturnToShelfResponse, self.change(asked, Wish::ReturnToShelf).await?)
    }

    type WatchReservationsStream =
        Pin<Box<dyn Stream<Item = Result<WatchReservationsResponse, Status>> + Send>>;

    async fn watch_reservations(
        &self,
        request: Request<WatchReservationsRequest>,
    ) -> Result<Response<Self::WatchReservationsStream>, Status> {
        self.watch(request.into_inner()).await.map(Response::new)
    }
}

impl Api {
    /// Takes a reservation a step further.
    async fn change(&self, asked: Asked, wish: Wish) -> Result<Answer, Status> {
        let stepped = self.writer.change(asked.ask, asked.id, wish).await?;
        self.answer(stepped).await
    }

    async fn answer(&self, stepped: Stepped) -> Result<Answer, Status> {
        let reservation = self.told(&stepped.reservations).await?.pop();
        let (token, durability) = told::written(&stepped.heads, stepped.replicated);
        Ok(Answer { reservation, token, durability })
    }

    async fn reservation(
        &self,
        id: &crate::stock::reservation::ReservationId,
    ) -> Result<Reservation, Status> {
        let found = self.ledger.reservation(id).await?;
        found.ok_or_else(|| asked::unknown_reservation(&id.to_string()))
    }
}

impl From<Denial> for Status {
    fn from(denial: Denial) -> Status {
        match denial {
            Denial::Refused(refusal) => crate::api::error::refused(&refusal),
            Denial::Failed(failure) => failure.into(),
        }
    }
}
