//! `size`: what a position takes in Redis, and what an entry takes in PostgreSQL.
#![expect(clippy::disallowed_types, reason = "asks PostgreSQL for the size of its tables")]

use std::{collections::BTreeMap, time::Duration};

use anyhow::ensure;
use serde::Serialize;
use sqlx::{Connection as _, PgConnection};

use crate::{
    fill, raw_redis,
    reserve::{
        Goods,
        shopper::{self, Shopper, Wish},
    },
    sales,
    server::{self, Server},
    stats::rounded,
    stretch::{Caller, Cpu},
};

/// More than everything takes but writing the rows.
const SPARE: Duration = Duration::from_secs(300);
/// What a slow machine writes in a second.
const LINES_PER_S_MIN: u64 = 1_000;
/// Clients that reserve.
const CLIENTS: usize = 64;
/// How long they do.
const RESERVE_FOR: Duration = Duration::from_secs(3);
/// What entries, keys and reservations are kept in.
const TABLES: [&str; 5] =
    ["ledger_entry", "request", "position", "reservation", "reservation_line"];

/// How many rows to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct SizeArgs {
    /// Positions.
    #[arg(long, default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u64).range(16_000..=20_000_000))]
    positions: u64,
    /// Sales.
    #[arg(long, default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u64).range(16_000..=100_000_000))]
    entries: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    positions: u64,
    entries: u64,
    /// Everything that Redis has more than when it was empty.
    redis_bytes_per_position: f64,
    /// The rows alone, without what finds them.
    redis_row_bytes_per_position: f64,
    redis_bytes_max: f64,
    /// Of the first receipts and the sales: entry, key, and all their indexes.
    postgres_bytes_per_entry: f64,
    postgres_bytes_max: f64,
    /// Of each table and index of these.
    postgres_parts: BTreeMap<String, f64>,
    /// Besides, the balances of a position, which sales write anew.
    postgres_bytes_per_position: f64,
    /// Of a reservation of one line: entry, key, reservation and line.
    postgres_bytes_per_reservation: f64,
}

/// Measures and prints.
///
/// # Errors
/// Something failed, or Redis does not have what it must have.
pub fn run(args: &SizeArgs) -> anyhow::Result<()> {
    let lines = args.positions + args.entries;
    let most = SPARE + Duration::from_secs(lines / LINES_PER_S_MIN);
    let work = async |server: &Server| measure(server, args).await;
    let report = server::block_on(server::with(most, work))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn measure(server: &Server, args: &SizeArgs) -> anyhow::Result<Report> {
    let SizeArgs { positions, entries } = *args;
    sales::open_empty_shops(&server.connect().await?).await?;
    let redis_empty = raw_redis::data_bytes(&server.redis_url).await?;
    let took = fill::receive(server, 0..positions).await?;
    eprintln!("{positions} positions in {:.1} s", took.as_secs_f64());
    fill::wait_until_in_redis(server, positions).await?;
    let rows = raw_redis::rows(&server.redis_url).await?;
    ensure!(rows == positions, "Redis has {rows} rows of {positions} positions");
    let row_bytes = raw_redis::row_bytes(&server.redis_url).await?;
    let redis_full = raw_redis::data_bytes(&server.redis_url).await?;
    let received = sizes(server).await?;
    let took = fill::sell(server, positions, 0..entries).await?;
    eprintln!("{entries} sales in {:.1} s", took.as_secs_f64());
    let sold = sizes(server).await?;
    let (reservations, unreserved) = reserve(server).await?;
    let reserved = sizes(server).await?;
    let ledger = ["ledger_entry", "request"];
    let promise = ["ledger_entry", "request", "reservation", "reservation_line"];
    let lines = positions + entries;
    let parts = sold.parts.iter().map(|(name, bytes)| (name.clone(), per(*bytes, lines)));
    let parts = parts.filter(|(name, _)| ledger.iter().any(|table| name.starts_with(table)));
    Ok(Report {
        positions,
        entries,
        redis_bytes_per_position: per(redis_full as i64 - redis_empty as i64, positions),
        redis_row_bytes_per_position: per(row_bytes as i64, positions),
        redis_bytes_max: 40.0,
        postgres_bytes_per_entry: per(sold.of(&ledger), lines),
        postgres_bytes_max: 250.0,
        postgres_parts: parts.collect(),
        postgres_bytes_per_position: per(received.of(&["position"]), positions),
        postgres_bytes_per_reservation: per(
            reserved.of(&promise) - unreserved.of(&promise),
            reservations,
        ),
    })
}

fn per(bytes: i64, rows: u64) -> f64 {
    rounded(bytes as f64 / rows.max(1) as f64, 1)
}

/// Reserves units for a while. Returns how many, and what the tables had been before.
async fn reserve(server: &Server) -> anyhow::Result<(u64, Sizes)> {
    // Shoppers want what one shop alone sells, of which there is nothing yet.
    sales::open_different_shops(&server.connect().await?).await?;
    let mut shoppers = Vec::with_capacity(CLIENTS);
    for number in 0..CLIENTS {
        let channel = server.connect().await?;
        shoppers.push(Shopper::new(channel, "size", Goods::Spread, Wish::Reservation, number));
    }
    shopper::wait_until_held_in_memory(server).await?;
    let before = sizes(server).await?;
    let mut caller = Caller::new("reservations", shoppers, Cpu::Process(server.pid));
    caller.stretch(0, RESERVE_FOR).await?;
    ensure!(caller.calls > 0, "nothing was reserved");
    Ok((caller.calls, before))
}

/// Bytes of tables and indexes.
#[derive(Clone, Debug)]
struct Sizes {
    /// By name; a table without its indexes.
    parts: BTreeMap<String, i64>,
}

impl Sizes {
    fn of(&self, tables: &[&str]) -> i64 {
        let mine = |name: &String| {
            let table = TABLES.iter().filter(|table| name.starts_with(**table));
            table.max_by_key(|table| table.len()).is_some_and(|table| tables.contains(table))
        };
        self.parts.iter().filter(|(name, _)| mine(name)).map(|(_, bytes)| bytes).sum()
    }
}

async fn sizes(server: &Server) -> anyhow::Result<Sizes> {
    let mut connection = PgConnection::connect(&server.database_url).await?;
    let tables = TABLES.map(str::to_owned).to_vec();
    // The whole of a table without its indexes has its maps, too.
    let parts: Vec<(String, i64)> = sqlx::query_as(
        "select relname::text, pg_table_size(oid) from pg_class
         where relname = any ($1) and relkind = 'r'
         union all
         select i.relname::text, pg_relation_size(i.oid)
         from pg_index x join pg_class i on i.oid = x.indexrelid
             join pg_class t on t.oid = x.indrelid
         where t.relname = any ($1)",
    )
    .bind(tables)
    .fetch_all(&mut connection)
    .await?;
    Ok(Sizes { parts: parts.into_iter().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_counts_for_the_table_whose_name_it_begins_with() {
        let sizes = [
            ("ledger_entry", 1_000),
            ("ledger_entry_pk", 100),
            ("reservation", 10),
            ("reservation_due", 5),
            ("reservation_line", 3),
            ("reservation_line_pk", 2),
        ];
        let parts = sizes.map(|(name, bytes)| (name.to_owned(), bytes));
        let sizes = Sizes { parts: parts.into_iter().collect() };
        assert_eq!(sizes.of(&["ledger_entry"]), 1_100);
        assert_eq!(sizes.of(&["reservation"]), 15);
        assert_eq!(sizes.of(&["reservation_line"]), 5);
    }
}
