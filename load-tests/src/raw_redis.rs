//! The Redis of a server, spoken to directly: what it says of itself, and what it is compared with.
#![expect(clippy::disallowed_types, reason = "Redis is measured itself")]

use std::collections::BTreeMap;

use anyhow::Context as _;
use redis::{IntoConnectionInfo as _, Pipeline, aio::MultiplexedConnection, io::tcp::TcpSettings};

/// Keys of one step of a scan.
const SCAN_KEYS: usize = 1_000;

/// One connection that any number of tasks share, without delay in the transport.
///
/// # Errors
/// Redis is away.
pub async fn connect(url: &str) -> anyhow::Result<MultiplexedConnection> {
    let settings = TcpSettings::default().set_nodelay(true);
    let info = url.into_connection_info()?.set_tcp_settings(settings);
    let client = redis::Client::open(info)?;
    Ok(client.get_multiplexed_async_connection().await?)
}

/// The id of its process.
///
/// # Errors
/// As [`connect`].
pub async fn pid(url: &str) -> anyhow::Result<u32> {
    let info = info(url, "server").await?;
    Ok(u32::try_from(field(&info, "process_id")?)?)
}

/// Its version.
///
/// # Errors
/// As [`connect`].
pub async fn version(url: &str) -> anyhow::Result<String> {
    Ok(text(&info(url, "server").await?, "redis_version")?.to_owned())
}

/// Bytes of what it keeps: without what connections and the append-only file have in their buffers.
///
/// # Errors
/// As [`connect`].
pub async fn data_bytes(url: &str) -> anyhow::Result<u64> {
    let info = info(url, "memory").await?;
    let buffers = ["mem_clients_normal", "mem_clients_slaves", "mem_aof_buffer"];
    let buffers = buffers.map(|name| field(&info, name));
    let buffers = buffers.into_iter().sum::<anyhow::Result<u64>>()?;
    Ok(field(&info, "used_memory")?.saturating_sub(buffers))
}

/// How many rows of positions there are.
///
/// # Errors
/// As [`connect`].
pub async fn rows(url: &str) -> anyhow::Result<u64> {
    sum_over_buckets(url, |pipeline, key| {
        pipeline.cmd("HLEN").arg(key);
    })
    .await
}

/// Bytes of the keys that hold the rows of positions.
///
/// # Errors
/// As [`connect`].
pub async fn row_bytes(url: &str) -> anyhow::Result<u64> {
    sum_over_buckets(url, |pipeline, key| {
        pipeline.cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(0);
    })
    .await
}

/// Keys of one kind in all partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// What is in them: fields of hashes, members of sets.
    pub fields: u64,
    /// Bytes, estimated from some of the fields.
    pub bytes: u64,
}

/// All keys of the service by their kind, the name that follows the partition.
///
/// # Errors
/// As [`connect`].
pub async fn kinds(url: &str) -> anyhow::Result<BTreeMap<String, Kind>> {
    let mut connection = connect(url).await?;
    let (mut kinds, mut cursor) = (BTreeMap::<String, Kind>::new(), 0_u64);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg("*}:*").arg("COUNT").arg(SCAN_KEYS);
        let (next, keys): (u64, Vec<String>) = scan.query_async(&mut connection).await?;
        for key in keys {
            let kind_of_value: String =
                redis::cmd("TYPE").arg(&key).query_async(&mut connection).await?;
            let count = match kind_of_value.as_str() {
                "hash" => "HLEN",
                "zset" => "ZCARD",
                "set" => "SCARD",
                // It is gone.
                _ => continue,
            };
            let fields: u64 = redis::cmd(count).arg(&key).query_async(&mut connection).await?;
            let mut usage = redis::cmd("MEMORY");
            usage.arg("USAGE").arg(&key).arg("SAMPLES").arg(64);
            let bytes: Option<u64> = usage.query_async(&mut connection).await?;
            let kind = kinds.entry(kind_of(&key).to_owned()).or_default();
            kind.fields += fields;
            kind.bytes += bytes.unwrap_or(0);
        }
        cursor = next;
        if cursor == 0 {
            return Ok(kinds);
        }
    }
}

fn kind_of(key: &str) -> &str {
    let (_, name) = key.split_once("}:").unwrap_or(("", key));
    name.split(':').next().unwrap_or(name)
}

/// Connections of clients; this one is not counted.
///
/// # Errors
/// As [`connect`].
pub async fn connections(url: &str) -> anyhow::Result<u64> {
    Ok(field(&info(url, "clients").await?, "connected_clients")?.saturating_sub(1))
}

async fn sum_over_buckets(url: &str, ask: impl Fn(&mut Pipeline, &str)) -> anyhow::Result<u64> {
    let mut connection = connect(url).await?;
    let (mut sum, mut cursor) = (0, 0_u64);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg("*}:r:*").arg("COUNT").arg(SCAN_KEYS);
        let (next, keys): (u64, Vec<String>) = scan.query_async(&mut connection).await?;
        if !keys.is_empty() {
            let mut pipeline = redis::pipe();
            keys.iter().for_each(|key| ask(&mut pipeline, key));
            let answers: Vec<u64> = pipeline.query_async(&mut connection).await?;
            sum += answers.iter().sum::<u64>();
        }
        cursor = next;
        if cursor == 0 {
            return Ok(sum);
        }
    }
}

/// Removes everything.
///
/// # Errors
/// As [`connect`].
pub async fn flush(url: &str) -> anyhow::Result<()> {
    Ok(redis::cmd("FLUSHALL").query_async(&mut connect(url).await?).await?)
}

async fn info(url: &str, section: &str) -> anyhow::Result<String> {
    let mut connection = connect(url).await?;
    Ok(redis::cmd("INFO").arg(section).query_async(&mut connection).await?)
}

fn field(info: &str, name: &str) -> anyhow::Result<u64> {
    text(info, name)?.parse().with_context(|| format!("Redis says no number for {name}"))
}

fn text<'i>(info: &'i str, name: &str) -> anyhow::Result<&'i str> {
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(str::trim).with_context(|| format!("Redis does not say {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_key_follows_its_partition() {
        assert_eq!(kind_of("stockroom:{p3}:graves"), "graves");
        assert_eq!(kind_of("stockroom:{p3}:r:17:0"), "r");
    }

    #[test]
    fn a_field_of_info_is_found_by_its_whole_name() {
        let info = "# Memory\r\nused_memory_rss:9\r\nused_memory:1024\r\n";
        assert_eq!(field(info, "used_memory").unwrap(), 1_024);
        assert!(field(info, "used").is_err());
    }
}
