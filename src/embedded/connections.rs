//! `connections.env`: how a second process finds the databases of a data folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{error::EmbeddedError, files};

/// Characters that mean themselves in a shell's assignment, in a URL, and to every reader of
/// such files. Anything else in a URL means the same when it is percent-encoded.
const PLAIN: &str = "-._:/?=@%+,[]";

/// Addresses of both databases, as `connections.env` names them.
#[derive(Clone, PartialEq, Eq)]
pub struct Connections {
    /// Address of PostgreSQL; contains a password.
    pub database_url: String,
    /// Address of Redis.
    pub redis_url: String,
}

/// Writes `data_dir/connections.env` for `psql "$DATABASE_URL"`, `redis-cli -u "$REDIS_URL"` and a
/// second Stockroom: unquoted lines that a shell can source, readable by the owner only, and whole
/// at every moment.
///
/// # Errors
/// The folder cannot be written to.
pub fn write_connections(
    data_dir: &Path,
    database_url: &str,
    redis_url: &str,
) -> Result<(), EmbeddedError> {
    let content =
        format!("DATABASE_URL={}\nREDIS_URL={}\n", sourced(database_url), sourced(redis_url));
    files::replace(&path_in(data_dir), &content, 0o600, None)
}

/// Reads what [`write_connections`] wrote.
///
/// # Errors
/// There is no such file (no server runs with this data folder), or it lacks a line.
pub fn read_connections(data_dir: &Path) -> Result<Connections, EmbeddedError> {
    let path = path_in(data_dir);
    let content = fs::read_to_string(&path)
        .map_err(|source| EmbeddedError::NoConnections { path: path.clone(), source })?;
    let value = |name: &'static str| {
        content
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.replace("\\&", "&"))
            .ok_or_else(|| EmbeddedError::IncompleteConnections { path: path.clone(), name })
    };
    Ok(Connections { database_url: value("DATABASE_URL")?, redis_url: value("REDIS_URL")? })
}

/// The file of connections of a data folder.
pub(super) fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("connections.env")
}

/// A URL as an unquoted word of a shell's assignment.
fn sourced(url: &str) -> String {
    let mut word = String::with_capacity(url.len());
    for byte in url.bytes() {
        match char::from(byte) {
            plain if plain.is_ascii_alphanumeric() || PLAIN.contains(plain) => word.push(plain),
            // Separates parameters, so it would not mean the same when percent-encoded.
            '&' => word.push_str("\\&"),
            _ => word.push_str(&format!("%{byte:02X}")),
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::sourced;

    #[test]
    fn a_url_is_one_word_of_a_shell() {
        let plain = "postgres://stockroom:00ff@127.0.0.1:20000/stockroom?sslmode=disable";
        assert_eq!(sourced(plain), plain);
        assert_eq!(
            sourced("redis://:a b$'\n#~@h/?x=1&y=2"),
            "redis://:a%20b%24%27%0A%23%7E@h/?x=1\\&y=2"
        );
    }
}
