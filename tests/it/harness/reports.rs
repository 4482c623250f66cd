//! Reports in one line each.
#![expect(clippy::disallowed_types, reason = "a client of the services")]

use prost_types::Timestamp;
use stockroom::api::proto::{
    EndFigures, GetReportRequest, GetReportResponse, ReportGrouping, ReservationFigures,
    StockFigures, report_service_client::ReportServiceClient,
};
use tonic::{Status, transport::Channel as Connection};

use crate::harness::{movements::seconds_from_now, server::Server};

/// Everything that was ever recorded.
pub fn everything(grouping: ReportGrouping) -> GetReportRequest {
    GetReportRequest {
        from: Some(Timestamp { seconds: 946_684_800, nanos: 0 }),
        grouping: grouping as i32,
        ..GetReportRequest::default()
    }
}

/// The last hour, and the quarter of an hour in which it began.
pub fn last_hour(grouping: ReportGrouping) -> GetReportRequest {
    let from = Some(seconds_from_now(-3_600));
    GetReportRequest { from, ..everything(grouping) }
}

impl Server {
    pub fn reports(&self) -> ReportServiceClient<Connection> {
        ReportServiceClient::new(self.connection())
    }

    pub async fn report(&self, request: GetReportRequest) -> Result<GetReportResponse, Status> {
        Ok(self.reports().get_report(request).await?.into_inner())
    }

    /// What became of all reservations.
    pub async fn total(&self) -> ReservationFigures {
        let mut report = self.report(everything(ReportGrouping::Total)).await.unwrap();
        report.reservations.pop().unwrap_or_default()
    }

    /// What became of the stock of a location.
    pub async fn stock_figures(&self, location_id: &str) -> StockFigures {
        let report = self.report(everything(ReportGrouping::Location)).await.unwrap();
        let mut rows = report.stock.into_iter();
        rows.find(|row| row.location_id == location_id).unwrap_or_default()
    }
}

/// How many ended so, and why.
pub fn ended(ends: &[EndFigures]) -> Vec<(i32, i32, &str, i64)> {
    ends.iter().map(told).collect()
}

fn told(end: &EndFigures) -> (i32, i32, &str, i64) {
    (end.state, end.cancelled_by, &end.reason, end.reservations)
}
