//! ReservationService: holds, reservations, and their way to the customer.

pub(crate) mod asked;
mod holds;
mod list;
mod make;
mod pick;
mod probes;
pub(in crate::api) mod told;
mod watch;

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use tonic::{Request, Response, Status};

use crate::{
    access::Caller,
    api::{
        Api,
        authorise::caller,
        guard::{Who, is_wrong_code},
        proto::{self, reservation_service_server::ReservationService, *},
        reach::check_location,
        reservations::asked::{Asked, Call, lines, reservation_id, unknown_reservation},
    },
    stock::{
        ids::LocationNo,
        reservation::{CancelledBy, Reservation, ReservationId},
    },
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
        let call = Call::of(&request);
        self.hold(request.into_inner(), call).await.map(Response::new)
    }

    async fn replace_hold(
        &self,
        request: Request<ReplaceHoldRequest>,
    ) -> Result<Response<ReplaceHoldResponse>, Status> {
        let call = Call::of(&request);
        self.replace(request.into_inner(), call).await.map(Response::new)
    }

    async fn extend_hold(
        &self,
        request: Request<ExtendHoldRequest>,
    ) -> Result<Response<ExtendHoldResponse>, Status> {
        let call = Call::of(&request);
        self.extend(request.into_inner(), call).await.map(Response::new)
    }

    async fn release_hold(
        &self,
        request: Request<ReleaseHoldRequest>,
    ) -> Result<Response<ReleaseHoldResponse>, Status> {
        let call = Call::of(&request);
        self.release(request.into_inner(), call).await.map(Response::new)
    }

    async fn create_reservation(
        &self,
        request: Request<CreateReservationRequest>,
    ) -> Result<Response<CreateReservationResponse>, Status> {
        let call = Call::of(&request);
        answer!(CreateReservationResponse, self.make(request.into_inner(), call).await?)
    }

    async fn batch_create_reservations(
        &self,
        request: Request<BatchCreateReservationsRequest>,
    ) -> Result<Response<BatchCreateReservationsResponse>, Status> {
        let call = Call::of(&request);
        self.make_all(request.into_inner(), call).await.map(Response::new)
    }

    async fn get_reservation(
        &self,
        request: Request<GetReservationRequest>,
    ) -> Result<Response<GetReservationResponse>, Status> {
        let caller = caller(&request);
        let id = reservation_id(&request.into_inner().reservation_id)?;
        let found = self.reservation(&caller, &id).await?;
        let reservation = self.told(&[found]).await?.pop();
        Ok(Response::new(GetReservationResponse { reservation }))
    }

    async fn list_reservations(
        &self,
        request: Request<ListReservationsRequest>,
    ) -> Result<Response<ListReservationsResponse>, Status> {
        let (caller, who) = (caller(&request), Who::of(request.extensions()));
        self.list(&caller, request.into_inner(), &who).await.map(Response::new)
    }

    async fn amend_reservation(
        &self,
        request: Request<AmendReservationRequest>,
    ) -> Result<Response<AmendReservationResponse>, Status> {
        let call = Call::of(&request);
        let AmendReservationRequest { request_id, reservation_id, lines: sent, reason } =
            request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, call)?.because(reason)?;
        let wish = Wish::Amend(lines(sent)?);
        answer!(AmendReservationResponse, self.change(asked, wish).await?)
    }

    async fn extend_reservation(
        &self,
        request: Request<ExtendReservationRequest>,
    ) -> Result<Response<ExtendReservationResponse>, Status> {
        let call = Call::of(&request);
        let ExtendReservationRequest { request_id, reservation_id, ttl } = request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, call)?;
        let wish = Wish::Extend(asked::required_ttl(ttl)?);
        answer!(ExtendReservationResponse, self.change(asked, wish).await?)
    }

    async fn confirm_reservation_payment(
        &self,
        request: Request<ConfirmReservationPaymentRequest>,
    ) -> Result<Response<ConfirmReservationPaymentResponse>, Status> {
        let call = Call::of(&request);
        let ConfirmReservationPaymentRequest { request_id, reservation_id } = request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, call)?;
        answer!(ConfirmReservationPaymentResponse, self.change(asked, Wish::ConfirmPayment).await?)
    }

    async fn move_reservation(
        &self,
        request: Request<MoveReservationRequest>,
    ) -> Result<Response<MoveReservationResponse>, Status> {
        let call = Call::of(&request);
        let MoveReservationRequest { request_id, reservation_id, location_id, reason } =
            request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, call)?.because(reason)?;
        let location_id = asked::location_id(location_id)?;
        check_location(&asked.caller, &location_id)?;
        let wish = Wish::Move(location_id);
        answer!(MoveReservationResponse, self.change(asked, wish).await?)
    }

    async fn cancel_reservation(
        &self,
        request: Request<CancelReservationRequest>,
    ) -> Result<Response<CancelReservationResponse>, Status> {
        let call = Call::of(&request);
        let CancelReservationRequest { request_id, reservation_id, reason, cancelled_by } =
            request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, call)?.because(reason)?;
        let by = match proto::CancelledBy::try_from(cancelled_by) {
            Ok(proto::CancelledBy::Store) => CancelledBy::Store,
            Ok(_) => CancelledBy::Customer,
            Err(_) => return Err(asked::unknown_value("cancelled_by")),
        };
        answer!(CancelReservationResponse, self.give_up(asked, by).await?)
    }

    async fn start_picking(
        &self,
        request: Request<StartPickingRequest>,
    ) -> Result<Response<StartPickingResponse>, Status> {
        let call = Call::of(&request);
        let StartPickingRequest { request_id, reservation_id, actor } = request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, call)?.by(actor)?;
        answer!(StartPickingResponse, self.change(asked, Wish::StartPicking).await?)
    }

    async fn report_pick(
        &self,
        request: Request<ReportPickRequest>,
    ) -> Result<Response<ReportPickResponse>, Status> {
        let call = Call::of(&request);
        let ReportPickRequest { request_id, reservation_id, lines, actor } = request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, call)?.by(actor)?;
        self.pick(asked, asked::picked(lines)?).await.map(Response::new)
    }

    async fn mark_ready(
        &self,
        request: Request<MarkReadyRequest>,
    ) -> Result<Response<MarkReadyResponse>, Status> {
        let call = Call::of(&request);
        let MarkReadyRequest { request_id, reservation_id, actor } = request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, call)?.by(actor)?;
        answer!(MarkReadyResponse, self.change(asked, Wish::MarkReady).await?)
    }

    async fn collect_reservation(
        &self,
        request: Request<CollectReservationRequest>,
    ) -> Result<Response<CollectReservationResponse>, Status> {
        let call = Call::of(&request);
        let CollectReservationRequest {
            request_id,
            reservation_id,
            lines: sent,
            pickup_code,
            actor,
        } = request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, call)?.by(actor)?;
        let code = asked::pickup_code(pickup_code)?;
        let tried = (!code.is_empty()).then_some(asked.id.place.location);
        let wish = Wish::Collect(asked::optional_lines(sent)?, code);
        answer!(CollectReservationResponse, self.collect(asked, wish, tried).await?)
    }

    async fn return_to_shelf(
        &self,
        request: Request<ReturnToShelfRequest>,
    ) -> Result<Response<ReturnToShelfResponse>, Status> {
        let call = Call::of(&request);
        let ReturnToShelfRequest { request_id, reservation_id, actor } = request.into_inner();
        let asked = Asked::new(&request_id, &reservation_id, call)?.by(actor)?;
        answer!(ReturnToShelfResponse, self.change(asked, Wish::ReturnToShelf).await?)
    }

    type WatchReservationsStream =
        Pin<Box<dyn Stream<Item = Result<WatchReservationsResponse, Status>> + Send>>;

    async fn watch_reservations(
        &self,
        request: Request<WatchReservationsRequest>,
    ) -> Result<Response<Self::WatchReservationsStream>, Status> {
        let caller = caller(&request);
        self.watch(caller, request.into_inner()).await.map(Response::new)
    }
}

impl Api {
    /// Takes a reservation a step further.
    async fn change(&self, asked: Asked, wish: Wish) -> Result<Answer, Status> {
        let caller = Arc::clone(&asked.caller);
        let stepped = self.step(asked, wish).await?;
        self.answer(&caller, stepped).await
    }

    /// The same with a pickup code, which somebody tries at a location.
    async fn collect(
        &self,
        asked: Asked,
        wish: Wish,
        tried: Option<LocationNo>,
    ) -> Result<Answer, Status> {
        let Asked { ask, id, caller, who } = asked;
        self.check_reach(&caller, &id).await?;
        if let Some(location) = tried {
            self.guard.may_try_code(&who, location)?;
        }
        let stepped = self.writer.change(ask, id, wish).await;
        if let (Some(location), Err(denial)) = (tried, &stepped)
            && is_wrong_code(denial)
        {
            self.guard.code_was_wrong(&who, location);
        }
        self.answer(&caller, stepped?).await
    }

    /// The same, before it is told.
    async fn step(&self, asked: Asked, wish: Wish) -> Result<Stepped, Status> {
        let Asked { ask, id, caller, who } = asked;
        self.check_reach(&caller, &id).await?;
        let mut probe = self.probe_wish((&who, &caller), &id, &wish).await?;
        let stepped = self.writer.change(ask, id, wish).await;
        if let Some(probe) = &mut probe {
            probe.stepped(&stepped);
        }
        Ok(stepped?)
    }

    /// Whether a reservation exists for the caller, as far as can be said without reading it where that is
    /// not needed.
    async fn check_reach(&self, caller: &Caller, id: &ReservationId) -> Result<(), Status> {
        if !self.reaches(caller, id.place.location).await? {
            return Err(unknown_reservation(&id.to_string()));
        }
        if !caller.channels.is_all() {
            // Its channel never changes, so this may be looked at before the step.
            self.reservation(caller, id).await?;
        }
        Ok(())
    }

    async fn answer(&self, caller: &Caller, stepped: Stepped) -> Result<Answer, Status> {
        let mut made = stepped.reservations;
        // A step may move it to where the caller does not see it: then it is told as it was left.
        if let Some(last) = made.last_mut()
            && let Some(before) = last.predecessor
            && !self.reaches(caller, last.id.place.location).await?
            && let Some(left) = self.ledger.reservation(&before).await?
        {
            *last = left;
        }
        let reservation = self.told(&made).await?.pop();
        let (token, durability) = told::written(&stepped.heads, stepped.replicated);
        Ok(Answer { reservation, token, durability })
    }

    /// A reservation that exists for the caller.
    async fn reservation(
        &self,
        caller: &Caller,
        id: &ReservationId,
    ) -> Result<Reservation, Status> {
        let unknown = || unknown_reservation(&id.to_string());
        let found = match self.reaches(caller, id.place.location).await? {
            true => self.ledger.reservation(id).await?.ok_or_else(unknown)?,
            false => return Err(unknown()),
        };
        match self.reaches_channel(caller, found.channel).await? {
            true => Ok(found),
            false => Err(unknown()),
        }
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
