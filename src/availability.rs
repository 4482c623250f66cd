//! Redis: what may still be promised. Nothing in it is needed for correctness, so a server starts,
//! and records movements, while it is away.
#![expect(clippy::disallowed_types, reason = "this is where Redis lives")]

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};

/// An answer that takes longer counts as none.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);

/// The reservation layer. Cheap to clone.
#[derive(Clone)]
pub struct Availability {
    connection: ConnectionManager,
}

/// Why Redis cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}")]
pub struct Fault {
    doing: &'static str,
    #[source]
    source: redis::RedisError,
}

impl Availability {
    /// Connects when a connection is needed first.
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn new(url: &str) -> Result<Availability, Fault> {
        let doing = |doing| move |source| Fault { doing, source };
        let client = redis::Client::open(url).map_err(doing("read REDIS_URL"))?;
        let config = ConnectionManagerConfig::new().set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connection = ConnectionManager::new_lazy_with_config(client, config)
            .map_err(doing("prepare the connection to Redis"))?;
        Ok(Availability { connection })
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), Fault> {
        let mut connection = self.connection.clone();
        let pinged = redis::cmd("PING").exec_async(&mut connection).await;
        pinged.map_err(|source| Fault { doing: "ping Redis", source })
    }
}
