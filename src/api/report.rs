//! ReportService: figures of a period.

use std::{cmp::Reverse, collections::HashMap};

use prost::Message as _;
use rustc_hash::FxHashSet;
use tonic::{Code, Request, Response, Status};

use crate::{
    access::Caller,
    api::{
        Api, MESSAGE_BYTES_MAX,
        authorise::caller,
        error::{invalid, status, unknown},
        proto::{
            EndFigures, GetReportRequest, GetReportResponse, ReservationFigures, SourceFigures,
            StockFigures, TimeFigures, report_service_server::ReportService,
        },
        reach::check_channel,
        wire,
    },
    ledger::{
        figures::{Asked, Report, TooManyEntries},
        queries::Names,
    },
    stock::{
        figures::{self, Figures, Group, Grouping, Times},
        ids::{LocationNo, SourceNo, is_identifier},
        time::Timestamp,
    },
};

/// Entries of one report. Each costs up to a hundred bytes of memory.
const ENTRIES_MAX: i64 = 2_000_000;
/// Channels, and locations, of one request.
const IDS_MAX: usize = 1_000;
/// Sources of one answer.
const SOURCES_MAX: usize = 1_000;

#[tonic::async_trait]
impl ReportService for Api {
    async fn get_report(
        &self,
        request: Request<GetReportRequest>,
    ) -> Result<Response<GetReportResponse>, Status> {
        let caller = caller(&request);
        let asked = self.report_asked(&caller, request.into_inner()).await?;
        // One at a time: each remembers what its period touches.
        let _turn = self.reports.acquire().await;
        let report = self.ledger.report(asked).await?.map_err(too_many_entries)?;
        let names = self.report_names(&report.figures).await?;
        let response = report_out(report, &names);
        match response.encoded_len() {
            ..MESSAGE_BYTES_MAX => Ok(Response::new(response)),
            bytes => Err(too_many_bytes(bytes)),
        }
    }
}

/// A source and its figures.
type SourceRow = (SourceNo, figures::SourceFigures);

impl Api {
    async fn report_names(&self, figures: &Figures) -> Result<Names, Status> {
        let rows = figures.reservations.keys();
        let locations = rows.clone().filter_map(|group| group.location);
        let locations = locations.chain(figures.stock.keys().flatten().copied());
        let locations: Vec<_> = locations.map(|location| location.0).collect();
        let channels: Vec<_> = rows.filter_map(|row| row.channel).map(|no| no.0).collect();
        let sources: Vec<_> = figures.sources.keys().map(|source| source.0).collect();
        Ok(self.ledger.named(&locations, &[], &channels, &sources).await?)
    }

    async fn report_asked(
        &self,
        caller: &Caller,
        request: GetReportRequest,
    ) -> Result<Asked, Status> {
        let time = |time: Option<prost_types::Timestamp>, field| match time.map(wire::time_in) {
            Some(time) if time.is_storable() => Ok(Some(time)),
            None => Ok(None),
            Some(_) => Err(invalid("TIME_INVALID", field, "must lie from 2000 to 9999")),
        };
        let from = time(request.from, "from")?
            .ok_or_else(|| invalid("TIME_INVALID", "from", "is mandatory"))?;
        let until = time(request.until, "until")?.unwrap_or(Timestamp::Y10000);
        if until < from {
            return Err(invalid("TIME_INVALID", "until", "must not be before from"));
        }
        for (ids, field) in
            [(&request.channel_ids, "channel_ids"), (&request.location_ids, "location_ids")]
        {
            if ids.len() > IDS_MAX {
                return Err(invalid("FIELD_INVALID", field, "must be at most 1,000"));
            }
        }
        let grouping = grouping_in(request.grouping)?;
        let mut channels = FxHashSet::default();
        for channel_id in &request.channel_ids {
            if !is_identifier(channel_id) {
                return Err(invalid("IDENTIFIER_INVALID", "channel_ids", "must be identifiers"));
            }
            check_channel(caller, channel_id)?;
            let directory = self.ledger.directory();
            if directory.known().channel(channel_id).is_none() {
                directory.find_channels(&[channel_id]).await?;
            }
            let channel = directory.known().channel(channel_id);
            channels.insert(channel.ok_or_else(|| unknown("channel", "channel_id", channel_id))?);
        }
        let mut places = Vec::with_capacity(request.location_ids.len());
        for location_id in &request.location_ids {
            places.push(self.place(caller, location_id).await?);
        }
        // Without a filter it is about everything that exists for the caller.
        let channels = match channels.is_empty() {
            true => self.channels_of(caller).await?.map(|own| own.into_iter().collect()),
            false => Some(channels),
        };
        let places = match places.is_empty() {
            true => self.places_of(caller).await?,
            false => Some(places),
        };
        let entries_max = ENTRIES_MAX;
        Ok(Asked { from, until, grouping, channels, places, entries_max })
    }
}

fn report_out(report: Report, names: &Names) -> GetReportResponse {
    let Report { period, entries, figures } = report;
    let (sources, sources_left_out) = slowest(figures.sources);
    let reservations = figures.reservations.into_iter();
    let stock = figures.stock.into_iter();
    GetReportResponse {
        from: Some(wire::time_out(period.from)),
        until: Some(wire::time_out(period.until)),
        entries,
        reservations: reservations.map(|row| reservations_out(row, names)).collect(),
        stock: stock.map(|row| stock_out(row, names)).collect(),
        sources: sources.into_iter().map(|row| source_out(row, names)).collect(),
        sources_left_out,
    }
}

fn grouping_in(grouping: i32) -> Result<Grouping, Status> {
    let (channel, location) = match grouping {
        0 | 1 => (true, true),
        2 => (true, false),
        3 => (false, true),
        4 => (false, false),
        _ => return Err(invalid("FIELD_INVALID", "grouping", "is unknown")),
    };
    Ok(Grouping { channel, location })
}

/// Those whose slowest movement took longest, slowest first, and how many others there are.
fn slowest(sources: impl IntoIterator<Item = SourceRow>) -> (Vec<SourceRow>, i64) {
    let mut sources: Vec<_> = sources
        .into_iter()
        .map(|(source, mut figures)| (figures.lags.quantile(100), (source, figures)))
        .collect();
    sources.sort_by_key(|(slowest, (source, _))| (Reverse(*slowest), *source));
    let left_out = sources.len().saturating_sub(SOURCES_MAX);
    let told = sources.into_iter().take(SOURCES_MAX).map(|(_, row)| row);
    (told.collect(), left_out as i64)
}

fn reservations_out(
    (group, mut row): (Group, figures::ReservationFigures),
    names: &Names,
) -> ReservationFigures {
    let Group { channel, location } = group;
    let ends = row.causes.iter().map(|(cause, reservations)| EndFigures {
        state: cause.state.told(),
        cancelled_by: cause.by.map_or(0, |by| by as i32),
        reason: cause.reason.clone(),
        reservations: count_out(reservations),
    });
    ReservationFigures {
        ends: ends.collect(),
        channel_id: name_of(channel.map(|channel| channel.0), &names.channels),
        location_id: name_of(location.map(|location| location.0), &names.locations),
        made: count_out(row.made),
        moved_in: count_out(row.moved_in),
        ready: count_out(row.ready),
        collected: count_out(row.collected),
        collected_in_part: count_out(row.collected_in_part),
        cancelled: count_out(row.cancelled),
        rejected: count_out(row.rejected),
        expired: count_out(row.expired),
        moved: count_out(row.moved),
        short_picked_lines: count_out(row.short_picked_lines),
        short_picked_units: row.short_picked_units,
        broken_promises: count_out(row.broken),
        refusals: count_out(row.refusals),
        refused_lines: count_out(row.refused_lines),
        time_to_ready: Some(times_out(&mut row.time_to_ready)),
        time_to_collect: Some(times_out(&mut row.time_to_collect)),
    }
}

fn stock_out(
    (location, row): (Option<LocationNo>, figures::StockFigures),
    names: &Names,
) -> StockFigures {
    StockFigures {
        location_id: name_of(location.map(|location| location.0), &names.locations),
        counts: count_out(row.counts),
        counts_that_differed: count_out(row.counts_that_differed),
        units_lost: row.units_lost,
        units_found: row.units_found,
        shrinkage_units: row.shrinkage(),
        out_of_stock_minutes: row.out_of_stock as f64 / 60e6,
    }
}

fn source_out((source, mut row): SourceRow, names: &Names) -> SourceFigures {
    SourceFigures {
        source: name_of(Some(source.0), &names.sources),
        newest_at: row.newest.map(|(at, _)| wire::time_out(at)),
        newest_lag: row.newest.map(|(_, lag)| wire::duration_out(lag)),
        lag: Some(times_out(&mut row.lags)),
    }
}

fn times_out(times: &mut Times) -> TimeFigures {
    let mut quantile = |percent| times.quantile(percent).map(wire::duration_out);
    let (p50, p90, max) = (quantile(50), quantile(90), quantile(100));
    let mean = times.mean().map(wire::duration_out);
    TimeFigures { count: times.count() as i64, p50, p90, max, mean }
}

fn count_out(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn name_of(number: Option<i32>, names: &HashMap<i32, String>) -> String {
    number.and_then(|number| names.get(&number)).cloned().unwrap_or_default()
}

fn too_many_entries(TooManyEntries(entries): TooManyEntries) -> Status {
    let message = format!(
        "the period has {entries} entries, and a report at most {ENTRIES_MAX}; ask for a \
         shorter one, or for fewer locations"
    );
    let (entries, most) = (entries.to_string(), ENTRIES_MAX.to_string());
    let metadata = [("entries", &*entries), ("entries_max", &most)];
    status(Code::FailedPrecondition, "REPORT_TOO_LARGE", message, &metadata)
}

fn too_many_bytes(bytes: usize) -> Status {
    let message = format!(
        "the rows take {bytes} bytes, and a message at most {MESSAGE_BYTES_MAX}; group them by less, \
         or ask for fewer locations"
    );
    let (bytes, most) = (bytes.to_string(), MESSAGE_BYTES_MAX.to_string());
    let metadata = [("bytes", &*bytes), ("bytes_max", &most)];
    status(Code::FailedPrecondition, "REPORT_TOO_LARGE", message, &metadata)
}
