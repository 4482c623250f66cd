//! ApplySnapshot: a full count of a location, taken off a stream and applied as a whole.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::Instant};
use tonic::{Status, Streaming};

use crate::{
    access::Caller,
    ambient,
    api::{
        Api,
        arriving::too_slow,
        error::{deadline_exceeded, invalid, invalid_with, overloaded, refused},
        guard::Who,
        layer::explained,
        movements::permit::{check_place, check_source},
        proto::{
            ApplySnapshotRequest, ApplySnapshotResponse, Durability, MovementStatus, SnapshotEnd,
            SnapshotHeader, SnapshotRows, SnapshotVariance, apply_snapshot_request::Part,
        },
        wire,
    },
    stock::{
        machine::AHEAD_MAX,
        snapshot::{Comparison, DropLimits, Flaw, ROWS_MAX, Snapshot, Variance},
        time::Timestamp,
    },
    writer::{
        Barred, Report,
        snapshot::{Compared, Manner},
    },
};

/// Rows of one message, and counts that are recorded at once.
const PART_MAX: usize = 1_000;
/// Snapshots that are taken at once: each keeps all of its rows in memory.
const SNAPSHOTS_MAX: usize = 4;

/// Each message must have come so long after the one before it.
const MESSAGE_MAX: Duration = Duration::from_secs(20);
/// And all of them so long after the header, whatever time the caller states.
const ARRIVAL_MAX: Duration = Duration::from_secs(600);

/// What snapshots are taken with. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots {
    room: Arc<Semaphore>,
    limits: DropLimits,
}

/// A header that was sent.
struct Header {
    snapshot: Snapshot,
    row_count: u32,
    manner: Manner,
}

impl Snapshots {
    pub(crate) fn new(limits: DropLimits) -> Snapshots {
        Snapshots { room: Arc::new(Semaphore::new(SNAPSHOTS_MAX)), limits }
    }
}

impl Api {
    pub(super) async fn take_snapshot(
        &self,
        (caller, who): (&Caller, &Who),
        mut stream: Streaming<ApplySnapshotRequest>,
        deadline: Instant,
    ) -> Result<ApplySnapshotResponse, Status> {
        let header = header(&mut stream, caller, self.snapshots.limits).await?;
        let _room = self.snapshots.room.try_acquire().map_err(|_| overloaded())?;
        let received = tokio::time::timeout(ARRIVAL_MAX, received(&mut stream, header)).await;
        let (snapshot, manner) = received.map_err(|_| deadline_exceeded())??;
        let Compared { comparison, mut counts } = self.writer.compare(&snapshot, manner).await?;
        let mut response = told(comparison);
        while !counts.is_empty() {
            let rest = counts.split_off(counts.len().min(PART_MAX));
            let report = Report {
                source: snapshot.source.clone(),
                sent_at: None,
                actor: caller.actor_for(&snapshot.source),
                drafts: std::mem::replace(&mut counts, rest),
                up_to: false,
                barred: Barred::default(),
                deadline,
            };
            let pending = self.writer.submit(report).await?;
            let settled = self.settle((caller, who), &snapshot.source, pending).await?;
            for result in &settled.results {
                match result.status() {
                    MovementStatus::Recorded => response.recorded += 1,
                    MovementStatus::Duplicate => response.duplicates += 1,
                    _ => response.rejected += 1,
                }
            }
            if !settled.token.is_empty() {
                response.token = settled.token;
            }
            response.durability = weaker(response.durability, settled.durability);
        }
        Ok(response)
    }
}

/// The header, of somebody who may send this snapshot.
async fn header(
    stream: &mut Streaming<ApplySnapshotRequest>,
    caller: &Caller,
    limits: DropLimits,
) -> Result<Header, Status> {
    let Some(Part::Header(header)) = next(stream).await? else {
        return Err(invalid("SNAPSHOT_MALFORMED", "header", "must come first"));
    };
    let header = header_in(header, limits)?;
    check_source(caller, &header.snapshot.source)?;
    check_place(caller, &header.snapshot.location_id).map_err(|refusal| refused(&refusal))?;
    Ok(header)
}

/// All of a snapshot, if it came to its end and is well formed.
async fn received(
    stream: &mut Streaming<ApplySnapshotRequest>,
    Header { mut snapshot, row_count, manner }: Header,
) -> Result<(Snapshot, Manner), Status> {
    loop {
        match next(stream).await? {
            Some(Part::Rows(SnapshotRows { rows })) => {
                let all = snapshot.rows.len() + rows.len();
                if rows.len() > PART_MAX || all > ROWS_MAX {
                    let rule = "must be at most 1,000 a message and 200,000 in all";
                    return Err(invalid("TOO_MANY_ROWS", "rows", rule));
                }
                let mut rows = rows.into_iter();
                let taken = rows.try_for_each(|row| snapshot.take(row.sku, row.quantity));
                taken.map_err(|flaw| flawed(&flaw))?;
            }
            Some(Part::End(SnapshotEnd { complete: true })) => break,
            Some(Part::Header(_)) => {
                return Err(invalid("SNAPSHOT_MALFORMED", "header", "must come once"));
            }
            Some(Part::End(_)) | None => {
                let rule = "must come last and say that all of it was sent";
                return Err(invalid("SNAPSHOT_INCOMPLETE", "end.complete", rule));
            }
        }
    }
    if next(stream).await?.is_some() {
        return Err(invalid("SNAPSHOT_MALFORMED", "end", "must come last"));
    }
    let rows = snapshot.rows.len();
    if u32::try_from(rows) != Ok(row_count) {
        let numbers = [("row_count", &*row_count.to_string()), ("rows", &*rows.to_string())];
        let rule = "must be the number of rows that were sent";
        return Err(invalid_with("SNAPSHOT_INCOMPLETE", "header.row_count", rule, &numbers));
    }
    snapshot.put_in_order().map_err(|flaw| flawed(&flaw))?;
    Ok((snapshot, manner))
}

/// The next part; `None` at the end. A message without any is one that this server does not know.
async fn next(stream: &mut Streaming<ApplySnapshotRequest>) -> Result<Option<Part>, Status> {
    let message = tokio::time::timeout(MESSAGE_MAX, stream.message()).await;
    match message.map_err(|_| too_slow(MESSAGE_MAX))? {
        Ok(None) => Ok(None),
        Ok(Some(ApplySnapshotRequest { part: Some(part) })) => Ok(Some(part)),
        Ok(Some(_)) => Err(invalid("SNAPSHOT_MALFORMED", "part", "must be set")),
        Err(status) => Err(explained(&status)),
    }
}

fn header_in(sent: SnapshotHeader, limits: DropLimits) -> Result<Header, Status> {
    let SnapshotHeader { row_count, dry_run, confirm_zeros, .. } = sent;
    let snapshot = Snapshot {
        source: sent.source,
        key: sent.key,
        location_id: sent.location_id,
        cutoff: sent.cutoff.map_or(Timestamp::MIN, wire::time_in),
        utc_offset_minutes: sent.utc_offset_minutes,
        rows: Vec::new(),
    };
    if let Some(field) = snapshot.misfit() {
        return Err(invalid("FIELD_INVALID", field, "is missing or malformed: see the contract"));
    }
    if snapshot.cutoff > ambient::now().saturating_add(AHEAD_MAX) {
        let rule = "must be at most 5 minutes ahead";
        return Err(invalid("FIELD_INVALID", "header.cutoff", rule));
    }
    if usize::try_from(row_count).is_ok_and(|rows| rows > ROWS_MAX) {
        return Err(invalid("TOO_MANY_ROWS", "header.row_count", "must be at most 200,000"));
    }
    let limits = Some(limits).filter(|_| !confirm_zeros);
    Ok(Header { snapshot, row_count, manner: Manner { limits, dry_run } })
}

fn flawed(flaw: &Flaw) -> Status {
    match flaw {
        Flaw::SkuMalformed => {
            let rule = "must match [A-Za-z0-9._:/-]{1,64} with single inner spaces at most";
            invalid("SKU_INVALID", "rows.sku", rule)
        }
        Flaw::QuantityOutOfRange { sku, quantity } => {
            let values = [("sku", &**sku), ("quantity", &*quantity.to_string())];
            let rule = "must be 0 to 1,000,000,000";
            invalid_with("QUANTITY_OUT_OF_RANGE", "rows.quantity", rule, &values)
        }
        Flaw::Repeated { sku } => {
            invalid_with("SKU_REPEATED", "rows.sku", "must each be listed once", &[("sku", sku)])
        }
    }
}

fn told(comparison: Comparison) -> ApplySnapshotResponse {
    let items_different = comparison.different();
    let Comparison { compared, equal, with_stock, to_zero, variances } = comparison;
    let variances = variances.into_iter().map(|Variance { sku, ledger, counted }| {
        SnapshotVariance { sku, ledger_quantity: ledger, counted_quantity: counted }
    });
    ApplySnapshotResponse {
        items_compared: compared,
        items_equal: equal,
        items_different,
        items_with_stock: with_stock,
        items_to_zero: to_zero,
        variances: variances.collect(),
        ..ApplySnapshotResponse::default()
    }
}

/// Of two classes the weaker one; none is no class.
fn weaker(one: i32, other: i32) -> i32 {
    let none = Durability::Unspecified as i32;
    match (one, other) {
        (one, other) if one == none => other,
        (one, other) if other == none => one,
        (one, other) => one.min(other),
    }
}
