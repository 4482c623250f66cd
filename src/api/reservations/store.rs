//! What only the store sees: picking, and its work list.

use std::pin::Pin;

use futures::Stream;
use tonic::Status;

use crate::{
    api::{
        Api,
        proto::*,
        reservations::{Answer, asked::Asked},
    },
    stock::step::ShortCause,
    writer::request::Wish,
};

impl Api {
    pub(super) async fn pick(
        &self,
        asked: Asked,
        lines: Vec<(String, i64, ShortCause)>,
    ) -> Result<ReportPickResponse, Status> {
        let Answer { reservation, token, durability } =
            self.change(asked, Wish::ReportPick(lines)).await?;
        let proposed_locations = Vec::new();
        Ok(ReportPickResponse { reservation, proposed_locations, token, durability })
    }

    pub(super) async fn watch(
        &self,
        _sent: WatchReservationsRequest,
    ) -> Result<Pin<Box<dyn Stream<Item = Result<WatchReservationsResponse, Status>> + Send>>, Status>
    {
        Err(Status::unimplemented(""))
    }
}
