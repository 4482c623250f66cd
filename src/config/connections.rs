//! What connections may cost.

use std::time::Duration;

use crate::api::transport::ConnectionLimits;

/// How many connections there may be, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub struct ConnectionConfig {
    /// Connections at most; one more is closed as soon as it is made
    #[arg(long, env = "STOCKROOM_CONNECTIONS_MAX", default_value_t = 10_000, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections_max: u32,
    /// Connections at most from one address (of IPv6: from one network of 64 bits)
    #[arg(long, env = "STOCKROOM_CONNECTIONS_PER_ADDRESS_MAX", default_value_t = 1_000)]
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections_per_address_max: u32,
    /// Seconds after which a connection is closed in good order, a tenth more or less by chance
    #[arg(long, env = "STOCKROOM_CONNECTION_AGE_SECONDS", default_value_t = 1_800)]
    #[arg(value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=604_800))]
    pub connection_age_seconds: u32,
    /// Seconds that the calls of a connection may go on when it is closed for its age
    #[arg(long, env = "STOCKROOM_CONNECTION_GRACE_SECONDS", default_value_t = 60)]
    #[arg(value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub connection_grace_seconds: u32,
    /// Seconds in which a request message has to arrive
    #[arg(long, env = "STOCKROOM_MESSAGE_SECONDS", default_value_t = 20, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=600))]
    pub message_seconds: u32,
    /// Seconds after which a connection is closed on which an answer lies that nobody takes
    #[arg(long, env = "STOCKROOM_UNREAD_SECONDS", default_value_t = 60, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub unread_seconds: u32,
}

impl ConnectionConfig {
    /// As the server takes them.
    pub fn limits(&self) -> ConnectionLimits {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        ConnectionLimits {
            connections_max: count(self.connections_max),
            per_address_max: count(self.connections_per_address_max),
            age_max: seconds(self.connection_age_seconds),
            age_grace: seconds(self.connection_grace_seconds),
            arrival_max: seconds(self.message_seconds),
            unread_max: seconds(self.unread_seconds),
        }
    }
}
