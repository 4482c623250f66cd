//! Snapshots in one line each.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use stockroom::api::proto::{
    ApplySnapshotRequest, ApplySnapshotResponse, SnapshotEnd, SnapshotHeader, SnapshotRow,
    SnapshotRows, apply_snapshot_request::Part,
};
use tonic::Status;

use crate::harness::{movements::at, server::Server};

/// Who counts.
pub const ERP: &str = "erp";

/// A header as of a moment in words, for so many rows.
pub fn header(key: &str, location_id: &str, cutoff: &str, row_count: usize) -> SnapshotHeader {
    SnapshotHeader {
        source: ERP.to_owned(),
        key: key.to_owned(),
        location_id: location_id.to_owned(),
        cutoff: Some(at(cutoff)),
        row_count: u32::try_from(row_count).unwrap(),
        ..SnapshotHeader::default()
    }
}

pub fn rows<S: AsRef<str>>(rows: &[(S, i64)]) -> Vec<SnapshotRow> {
    let row = |(sku, quantity): &(S, i64)| SnapshotRow {
        sku: sku.as_ref().to_owned(),
        quantity: *quantity,
    };
    rows.iter().map(row).collect()
}

/// One message.
pub fn part(part: Part) -> ApplySnapshotRequest {
    ApplySnapshotRequest { part: Some(part) }
}

/// All messages of a snapshot, complete.
pub fn snapshot(header: SnapshotHeader, rows: &[SnapshotRow]) -> Vec<ApplySnapshotRequest> {
    let parts = rows.chunks(1_000).map(|rows| SnapshotRows { rows: rows.to_vec() });
    let parts = parts.map(|rows| part(Part::Rows(rows)));
    let end = part(Part::End(SnapshotEnd { complete: true }));
    [part(Part::Header(header))].into_iter().chain(parts).chain([end]).collect()
}

impl Server {
    /// Sends these messages.
    pub async fn apply(
        &self,
        messages: Vec<ApplySnapshotRequest>,
    ) -> Result<ApplySnapshotResponse, Status> {
        let mut client = self.movements();
        let answer = client.apply_snapshot(tokio_stream::iter(messages)).await;
        answer.map(tonic::Response::into_inner)
    }
}
