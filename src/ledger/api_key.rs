//! API keys: who holds one, what it allows, and the hash of its secret.

use sqlx::PgConnection;

use crate::{
    ledger::{
        Ledger,
        fault::{Answered as _, Fault},
        network::Change,
        sql_time::At,
    },
    stock::time::Timestamp,
};

/// Keys that there may be, with those that were revoked or have expired: every server knows them all.
pub const API_KEYS_MAX: i64 = 10_000;

/// A key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of api_key, where each is explained")]
pub struct ApiKey {
    pub prefix: String,
    pub secret_sha256: Vec<u8>,
    pub name: String,
    pub scopes: Vec<String>,
    pub location_ids: Option<Vec<String>>,
    pub channel_ids: Option<Vec<String>>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
}

/// A key to be made.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as of a key")]
pub struct NewApiKey {
    pub prefix: String,
    pub secret_sha256: [u8; 32],
    pub name: String,
    pub scopes: Vec<String>,
    pub location_ids: Option<Vec<String>>,
    pub channel_ids: Option<Vec<String>>,
    pub expires_at: Option<Timestamp>,
}

struct Row {
    prefix: String,
    secret_sha256: Vec<u8>,
    name: String,
    scopes: Vec<String>,
    location_ids: Option<Vec<String>>,
    channel_ids: Option<Vec<String>>,
    created_at: At,
    expires_at: Option<At>,
    revoked_at: Option<At>,
    last_used_at: Option<At>,
}

/// Reads keys; the statement goes on as the caller says.
macro_rules! select_keys {
    ($where:literal, $value:expr) => {
        sqlx::query_as!(
            Row,
            r#"select prefix, secret_sha256, name, scopes, location_ids, channel_ids,
                   created_at as "created_at: At", expires_at as "expires_at: At",
                   revoked_at as "revoked_at: At", last_used_at as "last_used_at: At"
               from api_key "#
                + $where,
            $value
        )
    };
}

impl Ledger {
    /// Makes a key; false: there are [`API_KEYS_MAX`] already. Forgets those that were revoked, or have
    /// expired, 90 days ago.
    ///
    /// # Errors
    /// The database is away.
    pub async fn create_api_key(&self, key: &NewApiKey) -> Result<bool, Fault> {
        let detail = key.name.as_str();
        let change = Change { what: "api_key", subject: &key.prefix, detail, ..Change::default() };
        // The lock on the revision keeps every other one away until the end.
        let (mut transaction, revision) = self.begin_put(change).await?;
        forget(&mut transaction).await?;
        if number(&mut transaction).await? >= API_KEYS_MAX {
            transaction.rollback().await.map_err(Fault::doing("leave the API keys as they are"))?;
            return Ok(false);
        }
        insert(&mut transaction, key, revision).await?;
        transaction.commit().await.map_err(Fault::doing("commit an API key"))?;
        Ok(true)
    }

    /// Revokes a key; false: there is none with this prefix. One that was revoked before stays so.
    ///
    /// # Errors
    /// The database is away.
    pub async fn revoke_api_key(&self, prefix: &str) -> Result<bool, Fault> {
        let change = Change { what: "api_key_revoked", subject: prefix, ..Change::default() };
        let (mut transaction, revision) = self.begin_put(change).await?;
        let revoked = sqlx::query!(
            "update api_key set revoked_at = coalesce(revoked_at, now()), revision = $2
             where prefix = $1",
            prefix,
            revision,
        )
        .execute(&mut *transaction)
        .answered("revoke an API key")
        .await?;
        if revoked.rows_affected() == 0 {
            transaction.rollback().await.map_err(Fault::doing("revoke no API key"))?;
            return Ok(false);
        }
        transaction.commit().await.map_err(Fault::doing("commit that an API key is revoked"))?;
        Ok(true)
    }

    /// All keys, the oldest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, Fault> {
        let rows = select_keys!("order by created_at, prefix limit $1", API_KEYS_MAX)
            .fetch_all(&mut *self.reader().await?)
            .answered("list API keys")
            .await?;
        Ok(rows.into_iter().map(Row::key).collect())
    }

    /// One key.
    ///
    /// # Errors
    /// The database is away.
    pub async fn api_key(&self, prefix: &str) -> Result<Option<ApiKey>, Fault> {
        let row = select_keys!("where prefix = $1", prefix)
            .fetch_optional(&mut *self.reader().await?)
            .answered("read an API key")
            .await?;
        Ok(row.map(Row::key))
    }

    /// What tells whether any key was made, revoked or forgotten: how many there are, and their newest
    /// revision.
    ///
    /// # Errors
    /// The database is away.
    pub async fn api_keys_state(&self) -> Result<(i64, i64), Fault> {
        let row = sqlx::query!(
            r#"select count(*) as "count!", coalesce(max(revision), 0) as "revision!" from api_key"#
        )
        .fetch_one(&mut *self.reader().await?)
        .answered("look for API keys that changed")
        .await?;
        Ok((row.count, row.revision))
    }

    /// Notes when keys were last used. Another server may have noted a later time.
    ///
    /// # Errors
    /// The database is away.
    pub async fn note_api_keys_used(&self, used: &[(String, Timestamp)]) -> Result<(), Fault> {
        let (prefixes, times): (Vec<_>, Vec<_>) =
            used.iter().map(|(prefix, at)| (prefix.as_str(), At(*at))).unzip();
        sqlx::query!(
            "update api_key set last_used_at = greatest(last_used_at, used.at)
             from unnest($1::text[], $2::timestamptz[]) as used (prefix, at)
             where api_key.prefix = used.prefix",
            prefixes as _,
            times as _,
        )
        .execute(&mut *self.reader().await?)
        .answered("note that API keys were used")
        .await?;
        Ok(())
    }
}

impl Row {
    fn key(self) -> ApiKey {
        ApiKey {
            prefix: self.prefix,
            secret_sha256: self.secret_sha256,
            name: self.name,
            scopes: self.scopes,
            location_ids: self.location_ids,
            channel_ids: self.channel_ids,
            created_at: self.created_at.0,
            expires_at: self.expires_at.map(|at| at.0),
            revoked_at: self.revoked_at.map(|at| at.0),
            last_used_at: self.last_used_at.map(|at| at.0),
        }
    }
}

async fn forget(connection: &mut PgConnection) -> Result<(), Fault> {
    sqlx::query!(
        "delete from api_key where least(revoked_at, expires_at) < now() - interval '90 days'"
    )
    .execute(connection)
    .answered("forget old API keys")
    .await?;
    Ok(())
}

async fn number(connection: &mut PgConnection) -> Result<i64, Fault> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from api_key"#)
        .fetch_one(connection)
        .answered("count the API keys")
        .await
}

async fn insert(
    connection: &mut PgConnection,
    key: &NewApiKey,
    revision: i64,
) -> Result<(), Fault> {
    sqlx::query!(
        "insert into api_key (prefix, secret_sha256, name, scopes, location_ids, channel_ids,
             created_at, expires_at, revision)
         values ($1, $2, $3, $4, $5, $6, now(), $7, $8)",
        key.prefix,
        &key.secret_sha256[..],
        key.name,
        &key.scopes,
        key.location_ids.as_deref(),
        key.channel_ids.as_deref(),
        key.expires_at.map(At) as _,
        revision,
    )
    .execute(connection)
    .answered("make an API key")
    .await?;
    Ok(())
}
