//! Holds.

use tokio::time::Instant;
use tonic::Status;

use crate::api::{Api, proto::*};

impl Api {
    pub(super) async fn hold(
        &self,
        _sent: HoldStockRequest,
        _deadline: Instant,
    ) -> Result<HoldStockResponse, Status> {
        Err(Status::unimplemented(""))
    }

    pub(super) async fn replace(
        &self,
        _sent: ReplaceHoldRequest,
        _deadline: Instant,
    ) -> Result<ReplaceHoldResponse, Status> {
        Err(Status::unimplemented(""))
    }

    pub(super) async fn extend(
        &self,
        _sent: ExtendHoldRequest,
        _deadline: Instant,
    ) -> Result<ExtendHoldResponse, Status> {
        Err(Status::unimplemented(""))
    }

    pub(super) async fn release(
        &self,
        _sent: ReleaseHoldRequest,
        _deadline: Instant,
    ) -> Result<ReleaseHoldResponse, Status> {
        Err(Status::unimplemented(""))
    }
}
