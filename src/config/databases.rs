//! Which databases, and what may be known of them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    ConfigError,
    secret::{self, Secret},
};
use crate::{
    availability::{self, PREFIX},
    embedded::{self, Connections},
    ledger::Options,
    stock::ids::is_identifier,
};

/// Where a private PostgreSQL and Redis are kept if nothing is said.
const DATA_DIR: &str = ".stockroom";
/// How long to wait for a database connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Which databases.
#[derive(Clone, Debug, clap::Args)]
pub struct DatabaseConfig {
    /// PostgreSQL, as postgres://user:password@host:port/database; over TLS with
    /// ?sslmode=verify-full&sslrootcert=FILE. Default: the one of --data-dir
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<Secret>,
    /// File that holds what --database-url would say
    #[arg(long, global = true, env = "DATABASE_URL_FILE", value_name = "FILE")]
    database_url_file: Option<PathBuf>,
    /// Redis, as redis://user:password@host:port, or rediss:// for TLS. Default: the one of --data-dir
    #[arg(long, global = true, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<Secret>,
    /// File that holds what --redis-url would say
    #[arg(long, global = true, env = "REDIS_URL_FILE", value_name = "FILE")]
    redis_url_file: Option<PathBuf>,
    /// Certificates (PEM) of the authorities that the Redis of a rediss:// URL may be certified by.
    /// Default: those that the system trusts
    #[arg(long, global = true, env = "STOCKROOM_REDIS_CA", value_name = "FILE")]
    redis_ca: Option<PathBuf>,
    /// What all keys in Redis begin with: several ledgers may share one
    #[arg(long, global = true, env = "STOCKROOM_REDIS_PREFIX", value_name = "TEXT")]
    #[arg(default_value = PREFIX, value_parser = redis_prefix)]
    redis_prefix: String,
    /// Folder of the private PostgreSQL and Redis. Commands that only read prefer it to the URLs
    /// [default: .stockroom]
    #[arg(long, global = true, env = "STOCKROOM_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Connections that batches are written over
    #[arg(long, env = "STOCKROOM_WRITER_CONNECTIONS", default_value_t = 8, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=64))]
    writer_connections: u32,
    /// Connections for reads and master data
    #[arg(long, env = "STOCKROOM_READER_CONNECTIONS", default_value_t = 8, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=64))]
    reader_connections: u32,
}

impl DatabaseConfig {
    /// The folder of private databases.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| DATA_DIR.into())
    }

    /// The PostgreSQL that is named, if one is.
    ///
    /// # Errors
    /// It is named twice, or by a file that names none.
    pub fn database_url(&self) -> Result<Option<String>, ConfigError> {
        let (url, file) = (self.database_url.as_ref(), self.database_url_file.as_deref());
        Ok(secret::resolve("--database-url", url, file)?.map(|url| url.reveal().to_owned()))
    }

    /// The Redis that is named, if one is.
    ///
    /// # Errors
    /// As [`DatabaseConfig::database_url`].
    pub fn redis_url(&self) -> Result<Option<String>, ConfigError> {
        let (url, file) = (self.redis_url.as_ref(), self.redis_url_file.as_deref());
        Ok(secret::resolve("--redis-url", url, file)?.map(|url| url.reveal().to_owned()))
    }

    /// Files with secrets in them, by what names them.
    pub fn secret_files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [
            ("--database-url-file", self.database_url_file.as_deref()),
            ("--redis-url-file", self.redis_url_file.as_deref()),
        ];
        files.into_iter().filter_map(|(name, path)| Some((name, path?)))
    }

    /// How to connect to this PostgreSQL.
    pub fn ledger(&self, url: String) -> Options {
        Options {
            url,
            writers_max: self.writer_connections,
            readers_max: self.reader_connections,
            acquire_timeout: ACQUIRE_TIMEOUT,
        }
    }

    /// How to connect to this Redis.
    ///
    /// # Errors
    /// The certificates cannot be read, or would not be used.
    pub fn availability(&self, url: String) -> Result<availability::Options, ConfigError> {
        let encrypted = url.starts_with("rediss://");
        let authorities = match &self.redis_ca {
            Some(_) if !encrypted => return Err(ConfigError::RedisCaUnused),
            Some(path) => Some(secret::certificates("--redis-ca", path)?),
            None => None,
        };
        Ok(availability::Options { url, authorities, prefix: self.redis_prefix.clone() })
    }

    /// The Redis that belongs to it, if one is known.
    ///
    /// # Errors
    /// As [`DatabaseConfig::running_database`].
    pub fn running_redis(&self) -> Result<Option<String>, ConfigError> {
        match (&self.data_dir, self.database_url()?, self.redis_url()?) {
            (None, _, Some(url)) => Ok(Some(url)),
            (None, Some(_), None) => Ok(None),
            _ => Ok(Some(self.connections()?.redis_url)),
        }
    }

    /// The PostgreSQL that a command reads which starts none itself: that of a data folder that was
    /// named, else the URL, else that of the default folder.
    ///
    /// # Errors
    /// No server has left its connections in the folder.
    pub fn running_database(&self) -> Result<String, ConfigError> {
        match (&self.data_dir, self.database_url()?) {
            (None, Some(url)) => Ok(url),
            _ => Ok(self.connections()?.database_url),
        }
    }

    fn connections(&self) -> Result<Connections, ConfigError> {
        embedded::read_connections(&self.data_dir()).map_err(ConfigError::NoDatabases)
    }
}

fn redis_prefix(text: &str) -> Result<String, &'static str> {
    // The hash tag of a key is what stands in its first braces.
    is_identifier(text).then(|| text.to_owned()).ok_or("1 to 64 of A-Z a-z 0-9 . _ : / -")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        databases: DatabaseConfig,
    }

    #[test]
    fn settings_do_not_show_passwords() {
        let urls =
            ["--database-url", "postgres://a:canary@b/c", "--redis-url", "redis://:canary@b"];
        let command = Command::parse_from([&["x"][..], &urls].concat());
        let shown = format!("{command:?}");
        assert!(shown.contains("database_url: Some([secret])"), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
        let options = command.databases.ledger(command.databases.database_url().unwrap().unwrap());
        let redis = command.databases.redis_url().unwrap().unwrap();
        let redis = command.databases.availability(redis).unwrap();
        let shown = format!("{options:?} {redis:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn certificates_for_what_is_not_encrypted_contradict_themselves() {
        let command = Command::parse_from(["x", "--redis-ca", "ca.pem"]);
        let refused = command.databases.availability("redis://localhost".to_owned()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "--redis-ca is given, but the address of Redis does not begin with rediss://"
        );
        assert!(refused.is_usage());
    }
}
