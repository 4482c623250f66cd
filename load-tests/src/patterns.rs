//! `patterns`: reservations of one unit, against re-creations of how others keep from overselling,
//! each on the same PostgreSQL and the same Redis, with as many clients.
//!
//! The others are spoken to without a service in front, so what a request costs a service is
//! missing from their figures: they look better here than they are.

mod redis;
mod sql;

use std::{collections::BTreeMap, time::Duration};

use anyhow::ensure;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use self::{
    redis::{Drainer, RedisClient, Way as RedisWay},
    sql::{Rows, SqlClient, Way as SqlWay},
};
use crate::{
    baseline,
    load::Client,
    raw_redis,
    reserve::{
        CONNECTIONS, Goods as OurGoods,
        shopper::{self, Shopper, Wish},
    },
    sales::{self, ITEMS, LOCATIONS},
    server::{self, Server},
    stats::{median, rounded},
    stretch::{Caller, Cpu, cpu_us, p99_ms, per_s},
    usage::Processes,
};

/// Clients of each pattern.
const CLIENTS: usize = 64;
/// More than everything but the measured stretches takes.
const SPARE: Duration = Duration::from_secs(420);
/// The item of which there is little.
const SCARCE: i32 = (LOCATIONS * ITEMS) as i32;
/// How little.
const SCARCE_UNITS: i64 = 100;
const SELL_OUT_STRETCH: Duration = Duration::from_millis(500);
const SELL_OUT_STRETCHES_MAX: usize = 40;

/// How long to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct PatternsArgs {
    /// Seconds of every stretch; there are seven in a round, hot and spread each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    seconds: u32,
    /// Rounds; the medians count.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=30))]
    rounds: u32,
}

/// What clients of a pattern want one unit of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goods {
    /// One item of which there is plenty.
    Hot,
    /// 10,000 positions, with plenty of each.
    Spread,
    /// One item of which there is too little.
    Scarce,
}

impl Goods {
    fn choices(self, number: usize) -> ChaCha8Rng {
        OurGoods::Hot.choices(number)
    }

    fn choose(self, rng: &mut ChaCha8Rng) -> i32 {
        match self {
            Goods::Hot => 0,
            Goods::Spread => rng.random_range(0..SCARCE),
            Goods::Scarce => SCARCE,
        }
    }
}

/// What a pattern came to.
#[derive(Clone, Copy, Debug, Serialize)]
struct Figures {
    per_s: f64,
    p99_ms: f64,
    /// Of everything that answers: databases, and the server where there is one.
    cpu_us: f64,
}

impl Figures {
    fn of<C: Client>(caller: &Caller<C>) -> Figures {
        Figures {
            per_s: caller.median(per_s).round(),
            p99_ms: rounded(caller.median(p99_ms), 2),
            cpu_us: rounded(caller.median(cpu_us), 1),
        }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    stockroom: Figures,
    stockroom_hold: Figures,
    lock_and_sum: Figures,
    append_and_sum: Figures,
    redis_lock: Figures,
    redis_first: Figures,
    /// What of it had reached PostgreSQL, each second until all of it had.
    redis_first_written_per_s: f64,
    script: Figures,
    /// Holds over gRPC, of what the bare script does.
    hold_to_script: f64,
}

/// Measures and prints.
///
/// # Errors
/// Something failed, or a pattern that must not oversell did.
pub fn run(args: &PatternsArgs) -> anyhow::Result<()> {
    let stretch = Duration::from_secs(args.seconds.into());
    let most = SPARE + stretch * (args.rounds + 1) * 2 * 7 * 2;
    let work = async |server: &Server| {
        sales::open_different_shops(&server.connect().await?).await?;
        shopper::wait_until_held_in_memory(server).await?;
        let bench = Bench::open(server, stretch, args.rounds).await?;
        let mut reports = serde_json::Map::new();
        for (name, goods, theirs) in
            [("hot", OurGoods::Hot, Goods::Hot), ("spread", OurGoods::Spread, Goods::Spread)]
        {
            eprintln!("{name}");
            let report = bench.measure(name, goods, theirs).await?;
            reports.insert(name.to_owned(), serde_json::to_value(report)?);
        }
        let oversold = bench.oversold().await?;
        reports.insert("oversold".to_owned(), serde_json::to_value(oversold)?);
        redis::clear(&mut raw_redis::connect(&server.redis_url).await?).await?;
        Ok(reports)
    };
    let reports = server::block_on(server::with_connections(Some(CONNECTIONS), most, work))?;
    println!("{}", serde_json::to_string(&reports)?);
    Ok(())
}

/// What both kinds of goods share.
struct Bench<'s> {
    server: &'s Server,
    url: String,
    processes: Processes,
    stretch: Duration,
    rounds: u32,
}

impl Bench<'_> {
    async fn open(server: &Server, stretch: Duration, rounds: u32) -> anyhow::Result<Bench<'_>> {
        let url = sql::prepare(&server.database_url).await?;
        redis::prepare(&mut raw_redis::connect(&server.redis_url).await?).await?;
        Ok(Bench { server, url, processes: Processes::of(server).await?, stretch, rounds })
    }

    async fn ours(
        &self,
        name: &'static str,
        goods: OurGoods,
        wish: Wish,
    ) -> anyhow::Result<Caller<Shopper>> {
        let mut shoppers = Vec::with_capacity(CLIENTS);
        let scenario = if wish == Wish::Hold { "hold" } else { name };
        for number in 0..CLIENTS {
            // Keys of one kind of goods differ from those of the other by the number of the client.
            let number = number + if goods == OurGoods::Hot { 0 } else { CLIENTS };
            let channel = self.server.connect().await?;
            shoppers.push(Shopper::new(channel, scenario, goods, wish, number));
        }
        let title = if wish == Wish::Hold { "ours, holds" } else { "ours" };
        Ok(Caller::new(title, shoppers, Cpu::Service(self.processes)))
    }

    async fn by_sql(
        &self,
        name: &'static str,
        way: SqlWay,
        goods: Goods,
    ) -> anyhow::Result<Caller<SqlClient>> {
        let mut clients = Vec::with_capacity(CLIENTS);
        for number in 0..CLIENTS {
            clients.push(SqlClient::connect(&self.url, way, goods, number).await?);
        }
        Ok(Caller::new(name, clients, Cpu::Databases(self.processes)))
    }

    async fn by_redis(
        &self,
        name: &'static str,
        way: impl AsyncFn() -> anyhow::Result<RedisWay>,
        goods: Goods,
    ) -> anyhow::Result<Caller<RedisClient>> {
        let redis = raw_redis::connect(&self.server.redis_url).await?;
        let mut clients = Vec::with_capacity(CLIENTS);
        for number in 0..CLIENTS {
            clients.push(RedisClient::new(redis.clone(), way().await?, goods, number));
        }
        Ok(Caller::new(name, clients, Cpu::Databases(self.processes)))
    }

    async fn locked(&self, goods: Goods) -> anyhow::Result<Caller<RedisClient>> {
        let way = async || Ok(RedisWay::LockAroundSql(baseline::connect(&self.url).await?));
        self.by_redis("lock in Redis", way, goods).await
    }

    async fn drainer(&self) -> anyhow::Result<Drainer> {
        Drainer::start(raw_redis::connect(&self.server.redis_url).await?, &self.url).await
    }

    async fn measure(
        &self,
        name: &'static str,
        goods: OurGoods,
        theirs: Goods,
    ) -> anyhow::Result<Report> {
        let before = Rows::read(&self.url).await?;
        let granted_before = baseline::granted(&self.server.database_url).await?;
        let mut ours = self.ours(name, goods, Wish::Reservation).await?;
        let mut holds = self.ours(name, goods, Wish::Hold).await?;
        let mut lock_and_sum = self.by_sql("lock and sum", SqlWay::LockAndSum, theirs).await?;
        let mut append = self.by_sql("append and sum", SqlWay::AppendAndSum, theirs).await?;
        let mut locked = self.locked(theirs).await?;
        let first = async || Ok(RedisWay::First);
        let mut first = self.by_redis("Redis first", first, theirs).await?;
        let script = async || Ok(RedisWay::Script);
        let mut script = self.by_redis("bare script", script, theirs).await?;
        let mut written = Vec::new();
        for round in 0..=self.rounds {
            ours.stretch(round, self.stretch).await?;
            lock_and_sum.stretch(round, self.stretch).await?;
            append.stretch(round, self.stretch).await?;
            locked.stretch(round, self.stretch).await?;
            let mut drainer = self.drainer().await?;
            let calls = first.calls;
            first.stretch(round, self.stretch).await?;
            let lag = drainer.wait().await?;
            if round > 0 {
                let took = (self.stretch + lag).as_secs_f64();
                written.push((first.calls - calls) as f64 / took);
            }
            drop(drainer);
            holds.stretch(round, self.stretch).await?;
            script.stretch(round, self.stretch).await?;
        }
        let rows = Rows {
            lock_and_sum: before.lock_and_sum + i64::try_from(lock_and_sum.calls)?,
            append_and_sum: before.append_and_sum + i64::try_from(append.calls)?,
            redis_lock: before.redis_lock + i64::try_from(locked.calls)?,
            redis_first: before.redis_first + i64::try_from(first.calls)?,
        };
        let found = Rows::read(&self.url).await?;
        ensure!(found == rows, "the patterns left {found:?} instead of {rows:?}");
        let calls = i64::try_from(ours.calls)?;
        let granted = baseline::granted(&self.server.database_url).await?;
        let expected = (granted_before.0 + calls, granted_before.1 + calls);
        ensure!(granted == expected, "{granted:?} was granted instead of {expected:?}");
        Ok(Report {
            stockroom: Figures::of(&ours),
            stockroom_hold: Figures::of(&holds),
            lock_and_sum: Figures::of(&lock_and_sum),
            append_and_sum: Figures::of(&append),
            redis_lock: Figures::of(&locked),
            redis_first: Figures::of(&first),
            redis_first_written_per_s: median(&written).round(),
            script: Figures::of(&script),
            hold_to_script: rounded(holds.median(per_s) / script.median(per_s), 3),
        })
    }

    /// Units that each pattern promises of what is not there, when all want the last hundred.
    async fn oversold(&self) -> anyhow::Result<BTreeMap<&'static str, i64>> {
        let mut oversold = BTreeMap::new();
        for (name, way) in
            [("lock_and_sum", SqlWay::LockAndSum), ("append_and_sum", SqlWay::AppendAndSum)]
        {
            let caller = self.by_sql(name, way, Goods::Scarce).await?;
            oversold.insert(name, sell_out(caller, |client| client.granted_scarce).await?);
        }
        let first = async || Ok(RedisWay::First);
        let first = self.by_redis("redis_first", first, Goods::Scarce).await?;
        for (name, caller) in
            [("redis_lock", self.locked(Goods::Scarce).await?), ("redis_first", first)]
        {
            oversold.insert(name, sell_out(caller, |client| client.granted_scarce).await?);
        }
        let kept = oversold.iter().all(|(name, units)| *name == "append_and_sum" || *units == 0);
        ensure!(kept, "a pattern with a lock promised another number of units: {oversold:?}");
        Ok(oversold)
    }
}

/// Lets clients call until what is scarce is gone. Returns how many units more were granted.
async fn sell_out<C: Client>(mut caller: Caller<C>, granted: fn(&C) -> i64) -> anyhow::Result<i64> {
    for _ in 0..SELL_OUT_STRETCHES_MAX {
        caller.stretch(0, SELL_OUT_STRETCH).await?;
        let granted: i64 = caller.clients().iter().map(granted).sum();
        if granted >= SCARCE_UNITS {
            return Ok(granted - SCARCE_UNITS);
        }
    }
    anyhow::bail!("{SCARCE_UNITS} units were not sold in {SELL_OUT_STRETCHES_MAX} stretches")
}
