//! Reservations are made and given up.

use std::{slice, sync::Arc};

use tonic::Status;

use crate::{
    api::{
        Api,
        proto::{
            BatchCreateReservationsRequest, BatchCreateReservationsResponse,
            CreateReservationRequest,
        },
        reservations::{
            Answer,
            asked::{Asked, Call, basket, creation},
            told,
        },
    },
    stock::{channel_policy::HOLD_TTL_MAX, reservation::CancelledBy},
    writer::request::{NewPromise, Wish},
};

impl Api {
    pub(super) async fn make(
        &self,
        sent: CreateReservationRequest,
        call: Call,
    ) -> Result<Answer, Status> {
        let (ask, promise) = creation(sent, &call)?;
        let (of_holds, briefly) = nature(slice::from_ref(&promise));
        let policy = self.policy_asked(&call, &ask).await?;
        let mut probe = self.probe_promises(&call, &policy, slice::from_ref(&promise)).await?;
        let stepped = self.writer.reserve(ask, promise).await;
        let stepped = stepped.inspect_err(|denial| probe.refused(denial))?;
        let answer = self.answer(&call.caller, stepped).await?;
        let made = answer.reservation.as_slice();
        probe.promised(made.iter().flat_map(|made| &made.lines).map(|line| &*line.sku), briefly);
        if of_holds > 0 {
            self.guard.hold_became(&call.who);
            if !briefly {
                self.bought(&call.who, &policy, made);
            }
        }
        Ok(answer)
    }

    pub(super) async fn make_all(
        &self,
        sent: BatchCreateReservationsRequest,
        call: Call,
    ) -> Result<BatchCreateReservationsResponse, Status> {
        let (ask, promises) = basket(sent, &call)?;
        let (of_holds, briefly) = nature(&promises);
        let policy = self.policy_asked(&call, &ask).await?;
        let mut probe = self.probe_promises(&call, &policy, &promises).await?;
        let stepped = self.writer.reserve_all(ask, promises).await;
        let stepped = stepped.inspect_err(|denial| probe.refused(denial))?;
        let reservations = self.told(&stepped.reservations).await?;
        let lines = reservations.iter().flat_map(|made| &made.lines);
        probe.promised(lines.map(|line| &*line.sku), briefly);
        (0..of_holds).for_each(|_| self.guard.hold_became(&call.who));
        if of_holds == reservations.len() && !briefly {
            self.bought(&call.who, &policy, &reservations);
        }
        let (token, durability) = told::written(&stepped.heads, stepped.replicated);
        Ok(BatchCreateReservationsResponse { reservations, token, durability })
    }

    /// Cancels a reservation.
    pub(super) async fn give_up(&self, asked: Asked, by: CancelledBy) -> Result<Answer, Status> {
        let (caller, who) = (Arc::clone(&asked.caller), asked.who.clone());
        let stepped = self.step(asked, Wish::Cancel(by)).await?;
        let channel = stepped.reservations.last().and_then(|made| made.channel);
        let answer = self.answer(&caller, stepped).await?;
        let policy = self.policy_of(channel).await?;
        self.gave_up(&who, &policy, answer.reservation.as_slice());
        Ok(answer)
    }
}

/// How many of the promises are made from holds, and whether they end as soon as holds do.
fn nature(promises: &[NewPromise]) -> (usize, bool) {
    let of_holds = promises.iter().filter(|promise| promise.hold.is_some()).count();
    let brief = |promise: &NewPromise| promise.ttl.is_some_and(|ttl| ttl <= HOLD_TTL_MAX);
    (of_holds, promises.iter().any(brief))
}
