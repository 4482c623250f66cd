//! The figures of an answer by name, for every way to show them.

use serde_json::{Value, json};

use crate::api::proto::{
    CancelledBy, GetReportResponse, ReservationFigures, ReservationState, TimeFigures,
};

/// What is told of reservations, in the order in which it is shown. Times are in seconds.
pub(super) const RESERVATIONS: [&str; 20] = [
    "channel_id",
    "location_id",
    "made",
    "moved_in",
    "ready",
    "collected",
    "collected_in_part",
    "cancelled",
    "rejected",
    "expired",
    "moved",
    "short_picked_lines",
    "short_picked_units",
    "broken_promises",
    "refusals",
    "refused_lines",
    "ready_p50_s",
    "ready_p90_s",
    "collect_p50_s",
    "collect_p90_s",
];
/// How they ended.
pub(super) const ENDS: [&str; 6] =
    ["channel_id", "location_id", "state", "cancelled_by", "reason", "reservations"];
/// What is told of stock.
pub(super) const STOCK: [&str; 7] = [
    "location_id",
    "counts",
    "counts_that_differed",
    "units_lost",
    "units_found",
    "shrinkage_units",
    "out_of_stock_minutes",
];
/// What is told of who sends.
pub(super) const SOURCES: [&str; 6] =
    ["source", "movements", "newest_lag_s", "lag_p50_s", "lag_p90_s", "lag_max_s"];

/// Rows of each kind, with a field for each of its names.
#[derive(Debug)]
pub(super) struct Rows {
    pub reservations: Vec<Value>,
    pub ends: Vec<Value>,
    pub stock: Vec<Value>,
    pub sources: Vec<Value>,
}

impl Rows {
    pub(super) fn of(report: &GetReportResponse) -> Rows {
        let stock = report.stock.iter().map(|row| {
            json!({
                "location_id": row.location_id,
                "counts": row.counts,
                "counts_that_differed": row.counts_that_differed,
                "units_lost": row.units_lost,
                "units_found": row.units_found,
                "shrinkage_units": row.shrinkage_units,
                "out_of_stock_minutes": row.out_of_stock_minutes,
            })
        });
        let sources = report.sources.iter().map(|row| {
            let lag = row.lag.unwrap_or_default();
            json!({
                "source": row.source,
                "movements": lag.count,
                "newest_lag_s": seconds(row.newest_lag),
                "lag_p50_s": seconds(lag.p50),
                "lag_p90_s": seconds(lag.p90),
                "lag_max_s": seconds(lag.max),
                "lag_mean_s": seconds(lag.mean),
            })
        });
        Rows {
            reservations: report.reservations.iter().map(reservations).collect(),
            ends: report.reservations.iter().flat_map(ends).collect(),
            stock: stock.collect(),
            sources: sources.collect(),
        }
    }
}

fn reservations(row: &ReservationFigures) -> Value {
    let mut figures = json!({
        "channel_id": row.channel_id,
        "location_id": row.location_id,
        "made": row.made,
        "moved_in": row.moved_in,
        "ready": row.ready,
        "collected": row.collected,
        "collected_in_part": row.collected_in_part,
        "cancelled": row.cancelled,
        "rejected": row.rejected,
        "expired": row.expired,
        "moved": row.moved,
        "short_picked_lines": row.short_picked_lines,
        "short_picked_units": row.short_picked_units,
        "broken_promises": row.broken_promises,
        "refusals": row.refusals,
        "refused_lines": row.refused_lines,
    });
    let times = [("ready", row.time_to_ready), ("collect", row.time_to_collect)];
    for (name, TimeFigures { p50, p90, max, mean, .. }) in
        times.map(|(name, times)| (name, times.unwrap_or_default()))
    {
        for (figure, time) in [("p50", p50), ("p90", p90), ("max", max), ("mean", mean)] {
            figures[format!("{name}_{figure}_s")] = json!(seconds(time));
        }
    }
    figures
}

fn ends(row: &ReservationFigures) -> impl Iterator<Item = Value> {
    row.ends.iter().map(|end| {
        let state = ReservationState::try_from(end.state).unwrap_or_default();
        let by = CancelledBy::try_from(end.cancelled_by).unwrap_or_default();
        let by = match by {
            CancelledBy::Unspecified => "",
            CancelledBy::Customer => "customer",
            CancelledBy::Store => "store",
        };
        let state = state.as_str_name().trim_start_matches("RESERVATION_STATE_");
        json!({
            "channel_id": row.channel_id,
            "location_id": row.location_id,
            "state": state.to_lowercase(),
            "cancelled_by": by,
            "reason": end.reason,
            "reservations": end.reservations,
        })
    })
}

fn seconds(time: Option<prost_types::Duration>) -> Option<f64> {
    time.map(|time| time.seconds as f64 + f64::from(time.nanos) / 1e9)
}
