//! Patterns that need Redis: a lock around SQL, and stock in Redis with a drainer behind it. And
//! what a script costs that does as little as any of them must.
#![expect(clippy::disallowed_types, reason = "a baseline speaks to both databases itself")]

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use redis::{Script, aio::MultiplexedConnection};
use sqlx::PgConnection;
use tokio::sync::Notify;

use super::{Goods, SCARCE, SCARCE_UNITS, sql};
use crate::{
    baseline,
    load::Client,
    sales::{ITEMS, LOCATIONS, OPENING_UNITS},
};

const STOCK: &str = "patterns:stock";
const STREAM: &str = "patterns:stream";
/// How long a lock is held at most, should its owner die.
const LOCK_MS: u64 = 5_000;
/// Longer than anybody waits for a lock: with 64 clients, some are never in luck for seconds.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two tries for a lock. Libraries wait 50 to 200 ms, which suits nobody here.
const RETRY_MS: std::ops::Range<u64> = 1..10;
/// Entries of one transaction of the drainer.
const DRAIN_ENTRIES: usize = 1_000;
/// How long the drainer may lag behind at the end.
const DRAIN_MAX: Duration = Duration::from_secs(120);

/// Takes one unit off the stock if there is one.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') < 1 then return 0 end
         redis.call('HINCRBY', KEYS[1], ARGV[1], -1)
         return 1",
    )
});
/// The same, and leaves a note for the drainer.
static TAKE_AND_TELL: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') < 1 then return 0 end
         redis.call('HINCRBY', KEYS[1], ARGV[1], -1)
         redis.call('XADD', KEYS[2], '*', 'item', ARGV[1], 'order', ARGV[2])
         return 1",
    )
});
static UNLOCK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
         return 0",
    )
});

/// Puts the opening stock into Redis.
///
/// # Errors
/// Redis is away.
pub async fn prepare(connection: &mut MultiplexedConnection) -> anyhow::Result<()> {
    let items: Vec<_> = (0..=(LOCATIONS * ITEMS) as i32).collect();
    for items in items.chunks(1_000) {
        let mut command = redis::cmd("HSET");
        command.arg(STOCK);
        for &item in items {
            command.arg(item).arg(if item == SCARCE { SCARCE_UNITS } else { OPENING_UNITS });
        }
        command.query_async::<()>(connection).await?;
    }
    Ok(())
}

/// Removes what it was given.
///
/// # Errors
/// Redis is away.
pub async fn clear(connection: &mut MultiplexedConnection) -> anyhow::Result<()> {
    Ok(redis::cmd("DEL").arg(STOCK).arg(STREAM).query_async(connection).await?)
}

/// What a client does.
#[derive(Debug)]
pub enum Way {
    /// A lock in Redis for each item, and a row in PostgreSQL under it.
    LockAroundSql(PgConnection),
    /// The stock is in Redis; a drainer writes what was granted into PostgreSQL later.
    First,
    /// Nothing but one small script: what no service on Redis can be faster than.
    Script,
}

/// A client; all share one connection to Redis.
#[derive(Debug)]
pub struct RedisClient {
    redis: MultiplexedConnection,
    way: Way,
    goods: Goods,
    rng: ChaCha8Rng,
    number: usize,
    calls: u64,
    /// Units that it was granted of what is scarce.
    pub granted_scarce: i64,
}

impl RedisClient {
    /// Client `number`, which wants one unit of `goods` again and again.
    pub fn new(redis: MultiplexedConnection, way: Way, goods: Goods, number: usize) -> RedisClient {
        let rng = goods.choices(number);
        let (calls, granted_scarce) = (0, 0);
        RedisClient { redis, way, goods, rng, number, calls, granted_scarce }
    }

    async fn take(&mut self, item: i32, order: &str) -> anyhow::Result<bool> {
        let redis = &mut self.redis;
        match &mut self.way {
            Way::LockAroundSql(postgres) => {
                let lock = format!("patterns:lock:{item}");
                let token = acquire(redis, &lock, &mut self.rng).await?;
                let reserved = sql::reserve_counted(postgres, item, order).await?;
                UNLOCK.key(lock).arg(token).invoke_async::<i64>(redis).await?;
                Ok(reserved)
            }
            Way::First => {
                let mut call = TAKE_AND_TELL.key(STOCK);
                let taken: i64 = call.key(STREAM).arg(item).arg(order).invoke_async(redis).await?;
                Ok(taken == 1)
            }
            Way::Script => {
                let taken: i64 = TAKE.key(STOCK).arg(item).invoke_async(redis).await?;
                Ok(taken == 1)
            }
        }
    }
}

impl Client for RedisClient {
    async fn call(&mut self) -> anyhow::Result<()> {
        self.calls += 1;
        let item = self.goods.choose(&mut self.rng);
        let order = format!("O{:03}-{:08}", self.number, self.calls);
        let granted = self.take(item, &order).await?;
        ensure!(granted || self.goods == Goods::Scarce, "item {item} is not there");
        self.granted_scarce += i64::from(granted && self.goods == Goods::Scarce);
        Ok(())
    }
}

/// Tries until the lock is ours. Returns the token that releases it.
async fn acquire(
    redis: &mut MultiplexedConnection,
    lock: &str,
    rng: &mut ChaCha8Rng,
) -> anyhow::Result<u64> {
    let begun = Instant::now();
    let token: u64 = rng.random();
    loop {
        let mut command = redis::cmd("SET");
        command.arg(lock).arg(token).arg("NX").arg("PX").arg(LOCK_MS);
        let taken: Option<String> = command.query_async(redis).await?;
        if taken.is_some() {
            return Ok(token);
        }
        if begun.elapsed() > LOCK_WAIT_MAX {
            bail!("no lock within {} s", LOCK_WAIT_MAX.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(RETRY_MS))).await;
    }
}

/// Writes what was granted in Redis into PostgreSQL, in the order of the stream.
#[derive(Debug)]
pub struct Drainer {
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
    empty: Arc<Notify>,
}

impl Drainer {
    /// Starts one with connections of its own.
    ///
    /// # Errors
    /// A database is away.
    pub async fn start(redis: MultiplexedConnection, url: &str) -> anyhow::Result<Drainer> {
        let postgres = baseline::connect(url).await?;
        let empty = Arc::new(Notify::new());
        let task = tokio::spawn(drain(redis, postgres, Arc::clone(&empty)));
        Ok(Drainer { task, empty })
    }

    /// Waits until nothing is left to be written, and says how long that took.
    ///
    /// # Errors
    /// It takes too long, or the drainer has failed.
    pub async fn wait(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let emptied = async {
            // A look that had begun before may not have seen the last entry; the next one has.
            self.empty.notified().await;
            self.empty.notified().await;
        };
        tokio::select! {
            emptied = tokio::time::timeout(DRAIN_MAX, emptied) => {
                emptied.context("the drainer is too slow")?;
                Ok(begun.elapsed())
            }
            ended = &mut self.task => {
                ended??;
                bail!("the drainer has ended")
            }
        }
    }
}

impl Drop for Drainer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A stream's entry: its name, and its fields by turns with their names.
type Entry = (String, Vec<String>);

async fn drain(
    mut redis: MultiplexedConnection,
    mut postgres: PgConnection,
    empty: Arc<Notify>,
) -> anyhow::Result<()> {
    loop {
        let mut command = redis::cmd("XRANGE");
        command.arg(STREAM).arg("-").arg("+").arg("COUNT").arg(DRAIN_ENTRIES);
        let found: Vec<Entry> = command.query_async(&mut redis).await?;
        if found.is_empty() {
            empty.notify_one();
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        let (mut entries, mut items, mut orders) = (Vec::new(), Vec::new(), Vec::new());
        for (entry, fields) in found {
            let [_, item, _, order] = <[String; 4]>::try_from(fields)
                .map_err(|fields| anyhow::anyhow!("a strange entry: {fields:?}"))?;
            entries.push(entry);
            items.push(item.parse::<i32>()?);
            orders.push(order);
        }
        sql::write_drained(&mut postgres, &entries, &items, &orders).await?;
        let mut command = redis::cmd("XDEL");
        command.arg(STREAM).arg(&entries);
        command.query_async::<()>(&mut redis).await?;
    }
}
