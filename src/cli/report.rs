//! `stockroom report`: figures of a period, from a server.
#![expect(clippy::disallowed_types, reason = "a client of the interface, in gRPC like any other")]

mod rows;

use std::{io, time::Duration};

use anyhow::Context as _;
use serde_json::{Value, json};
use tonic::Request;

use self::rows::{ENDS, RESERVATIONS, Rows, SOURCES, STOCK};
use crate::{
    api::proto::{
        GetReportRequest, GetReportResponse, ReportGrouping,
        report_service_client::ReportServiceClient,
    },
    cli::{
        client::{ClientConfig, Connection},
        show::{parse_time, table},
    },
    stock::time::{SECOND, Timestamp},
};

/// A report reads what it tells, and may take its time.
const TIMEOUT: Duration = Duration::from_secs(600);
/// Without `--from`: so long ago.
const PERIOD_DEFAULT: i64 = 86_400 * SECOND;
/// Largest answer that is taken: as large as a server gives.
const ANSWER_BYTES_MAX: usize = crate::api::MESSAGE_BYTES_MAX;

/// Which figures, and how they are shown.
#[derive(Clone, Debug, clap::Args)]
pub struct ReportArgs {
    #[command(flatten)]
    client: ClientConfig,
    /// What was recorded at this time (RFC 3339) or later; default: a day before the end
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    from: Option<Timestamp>,
    /// And before this time; default: now
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Only reservations of this channel; may be given more than once
    #[arg(long, value_name = "ID")]
    channel: Vec<String>,
    /// Only this location; may be given more than once
    #[arg(long, value_name = "ID")]
    location: Vec<String>,
    /// By what rows are kept apart
    #[arg(long, value_enum, default_value = "both")]
    by: By,
    /// Tables to look at, one line a figure, or one object
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// By what rows are kept apart.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum By {
    Both,
    Channel,
    Location,
    None,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

/// Shows a report.
///
/// # Errors
/// The server is away, or refuses.
pub async fn run(args: ReportArgs) -> anyhow::Result<()> {
    let until = args.until.unwrap_or_else(crate::ambient::now);
    let from = args.from.unwrap_or(until.saturating_add(-PERIOD_DEFAULT));
    let time = |time: Timestamp| prost_types::Timestamp {
        seconds: time.0.div_euclid(SECOND),
        nanos: (time.0.rem_euclid(SECOND) * 1_000) as i32,
    };
    let mut request = Request::new(GetReportRequest {
        from: Some(time(from)),
        until: args.until.map(time),
        channel_ids: args.channel,
        location_ids: args.location,
        grouping: ReportGrouping::from(args.by) as i32,
    });
    request.set_timeout(TIMEOUT);
    let (endpoint, credential) = (args.client.endpoint()?, args.client.credential()?);
    let channel = endpoint.connect().await;
    let channel = channel.with_context(|| format!("cannot connect to {}", args.client.addr))?;
    let connection = Connection::new(channel, credential);
    let mut client =
        ReportServiceClient::new(connection).max_decoding_message_size(ANSWER_BYTES_MAX);
    let answer = client.get_report(request).await.context("the server gave no report")?;
    let rows = Rows::of(answer.get_ref());
    match args.format {
        Format::Table => println!("{}", tables(answer.get_ref(), &rows)),
        Format::Csv => write_csv(&rows, io::stdout().lock())?,
        Format::Json => println!("{}", as_json(answer.get_ref(), rows)),
    }
    Ok(())
}

impl From<By> for ReportGrouping {
    fn from(by: By) -> ReportGrouping {
        match by {
            By::Both => ReportGrouping::ChannelAndLocation,
            By::Channel => ReportGrouping::Channel,
            By::Location => ReportGrouping::Location,
            By::None => ReportGrouping::Total,
        }
    }
}

/// One table a kind of rows; kinds without rows are left out.
fn tables(report: &GetReportResponse, rows: &Rows) -> String {
    let kinds: [(&[&str], &[Value]); 4] = [
        (&RESERVATIONS, &rows.reservations),
        (&ENDS, &rows.ends),
        (&STOCK, &rows.stock),
        (&SOURCES, &rows.sources),
    ];
    let mut shown = format!("{} entries", report.entries);
    for (columns, rows) in kinds {
        if rows.is_empty() {
            continue;
        }
        let header: Vec<_> = columns.iter().map(|column| column.replace('_', " ")).collect();
        let header: Vec<_> = header.iter().map(String::as_str).collect();
        let mut table = table(&header);
        for row in rows {
            table.add_row(columns.iter().map(|column| text_of(&row[*column])));
        }
        shown.push_str(&format!("\n{table}"));
    }
    shown
}

/// One line a figure, whatever it is of: what is not named is of all.
fn write_csv(rows: &Rows, out: impl io::Write) -> anyhow::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(["channel_id", "location_id", "source", "figure", "value"])?;
    let mut write = |row: &Value, figure: &str, value: &Value| {
        let [channel, location, source] =
            ["channel_id", "location_id", "source"].map(|name| text_of(&row[name]));
        csv.write_record([&*channel, &*location, &*source, figure, &*text_of(value)])
    };
    let kinds: [(&[&str], &[Value]); 3] = [
        (&RESERVATIONS[2..], &rows.reservations),
        (&STOCK[1..], &rows.stock),
        (&SOURCES[1..], &rows.sources),
    ];
    for (figures, rows) in kinds {
        for row in rows {
            for figure in figures.iter().filter(|figure| !row[**figure].is_null()) {
                write(row, figure, &row[*figure])?;
            }
        }
    }
    for row in &rows.ends {
        let parts = ["state", "cancelled_by", "reason"].map(|name| text_of(&row[name]));
        let parts: Vec<_> =
            parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        write(row, &parts.join(":"), &row["reservations"])?;
    }
    csv.flush()?;
    Ok(())
}

fn as_json(report: &GetReportResponse, rows: Rows) -> Value {
    let time = |time: Option<prost_types::Timestamp>| {
        let time = time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok());
        time.map(|time| time.to_string())
    };
    json!({
        "from": time(report.from),
        "until": time(report.until),
        "entries": report.entries,
        "reservations": rows.reservations,
        "ends": rows.ends,
        "stock": rows.stock,
        "sources": rows.sources,
        "sources_left_out": report.sources_left_out,
    })
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map_or_else(String::new, |number| format!("{number:.1}"))
        }
        other => other.to_string(),
    }
}
