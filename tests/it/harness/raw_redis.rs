//! Redis behind the back of the layer that owns it.
#![expect(clippy::disallowed_types, reason = "looks at what the layer stores, and spoils it")]

use std::sync::atomic::{AtomicU32, Ordering};

use redis::{Client, Value};

static PREFIXES: AtomicU32 = AtomicU32::new(0);

/// A connection of its own for each command.
pub struct Raw(Client);

impl Raw {
    pub fn new(url: &str) -> Raw {
        Raw(Client::open(url).unwrap())
    }

    pub async fn command(&self, words: &[&str]) -> Value {
        self.try_command(words).await.expect("Redis answers")
    }

    pub async fn try_command(&self, words: &[&str]) -> Option<Value> {
        let mut connection = self.0.get_multiplexed_async_connection().await.ok()?;
        let (name, arguments) = words.split_first().unwrap();
        redis::cmd(name).arg(arguments).query_async(&mut connection).await.ok()
    }

    /// What a command answers with one number.
    pub async fn number(&self, words: &[&str]) -> i64 {
        redis::from_redis_value(self.command(words).await).unwrap()
    }

    /// What a command answers with several texts.
    pub async fn texts(&self, words: &[&str]) -> Vec<String> {
        redis::from_redis_value(self.command(words).await).unwrap()
    }
}

/// A prefix of keys that nobody else uses.
pub fn fresh_prefix() -> String {
    format!("test-{}-{}", std::process::id(), PREFIXES.fetch_add(1, Ordering::Relaxed))
}
