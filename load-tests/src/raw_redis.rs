//! The Redis of a server, spoken to directly: what it says of itself, and what it is compared with.
#![expect(clippy::disallowed_types, reason = "Redis is measured itself")]

use anyhow::Context as _;
use redis::{IntoConnectionInfo as _, aio::MultiplexedConnection, io::tcp::TcpSettings};

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
    fn a_field_of_info_is_found_by_its_whole_name() {
        let info = "# Memory\r\nused_memory_rss:9\r\nused_memory:1024\r\n";
        assert_eq!(field(info, "used_memory").unwrap(), 1_024);
        assert!(field(info, "used").is_err());
    }
}
