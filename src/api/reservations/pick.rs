//! Picking: what was not found, and who else has it.

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
}
