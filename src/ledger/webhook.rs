//! Webhooks: who is told of events, and with which secret that is signed.

use std::fmt;

use sqlx::PgConnection;

use crate::{
    ledger::{
        Ledger,
        fault::{Answered as _, Fault},
        network::Change,
        outbox::{begin_cursor, drop_cursor},
        sql_time::At,
    },
    stock::{
        event::EventType,
        time::{Micros, Timestamp},
    },
};

/// Webhooks that there may be: each has a cursor in every partition.
pub const WEBHOOKS_MAX: i64 = 100;

/// What signs events. It never reaches a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

/// Who is told of events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of webhook, where each is explained")]
pub struct Webhook {
    pub no: i32,
    pub webhook_id: String,
    pub url: String,
    pub secret: Secret,
    pub retired: Option<(Secret, Timestamp)>,
    pub event_types: Vec<EventType>,
    pub channel_id: Option<String>,
    pub low_stock_units: i64,
    pub location_ids: Vec<String>,
    pub skus: Vec<String>,
    pub enabled: bool,
    pub disabled_reason: Option<String>,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
    pub created_by: Option<String>,
    pub changed_by: Option<String>,
    pub revision: i64,
}

/// A webhook to be created or replaced.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as of a webhook")]
pub struct PutWebhook {
    pub webhook_id: String,
    pub url: String,
    /// Another secret than it has; `None`: it keeps its own.
    pub secret: Option<Secret>,
    /// Its secret if it is new and has none.
    pub first_secret: Secret,
    /// How long the secret that it had goes on to sign.
    pub retired_secret_ttl: Micros,
    pub event_types: Vec<EventType>,
    pub channel_id: Option<String>,
    pub low_stock_units: i64,
    pub location_ids: Vec<String>,
    pub skus: Vec<String>,
    pub enabled: bool,
    pub actor: Option<String>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub enum Put {
    /// It is stored, and was new.
    Created(Webhook),
    /// It is stored.
    Replaced(Webhook),
    /// There are [`WEBHOOKS_MAX`] already.
    TooMany,
}

struct Row {
    webhook_no: i32,
    webhook_id: String,
    url: String,
    secret: Vec<u8>,
    retired_secret: Option<Vec<u8>>,
    retired_until: Option<At>,
    event_types: Vec<i16>,
    channel_id: Option<String>,
    low_stock_units: i64,
    location_ids: Vec<String>,
    skus: Vec<String>,
    enabled: bool,
    disabled_reason: Option<String>,
    created_at: At,
    changed_at: At,
    created_by: Option<String>,
    changed_by: Option<String>,
    revision: i64,
}

/// Reads webhooks; the statement goes on as the caller says.
macro_rules! select_webhooks {
    ($where:literal, $($value:expr),+) => {
        sqlx::query_as!(
            Row,
            r#"select webhook_no, webhook_id, url, secret, retired_secret,
                   retired_until as "retired_until: At", event_types, channel_id,
                   low_stock_units, location_ids, skus, enabled, disabled_reason,
                   created_at as "created_at: At", changed_at as "changed_at: At", created_by,
                   changed_by, revision
               from webhook "# + $where,
            $($value),+
        )
    };
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Ledger {
    /// Creates a webhook, which is told what is recorded from then on, or replaces it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn put_webhook(&self, put: &PutWebhook) -> Result<Put, Fault> {
        let partitions = self.partitions().await?.to_vec();
        let change = Change {
            what: "webhook",
            subject: &put.webhook_id,
            actor: put.actor.as_deref(),
            ..Change::default()
        };
        let (mut transaction, revision) = self.begin_put(change).await?;
        // The lock on the revision keeps every other put away until the end.
        let known = named(&mut transaction, &put.webhook_id).await?.is_some();
        if !known && number(&mut transaction).await? >= WEBHOOKS_MAX {
            transaction.rollback().await.map_err(Fault::doing("leave the webhooks as they are"))?;
            return Ok(Put::TooMany);
        }
        match known {
            true => replace(&mut transaction, put, revision).await?,
            false => insert(&mut transaction, put, revision).await?,
        }
        let Some(webhook) = named(&mut transaction, &put.webhook_id).await? else {
            return Err(Fault::silence("read a webhook that was put"));
        };
        if !known {
            for partition in partitions {
                begin_cursor(&mut transaction, partition, webhook.no).await?;
            }
        }
        transaction.commit().await.map_err(Fault::doing("commit a webhook"))?;
        Ok(if known { Put::Replaced(webhook) } else { Put::Created(webhook) })
    }

    /// Removes a webhook with everything that it was not told; false: there is none.
    ///
    /// # Errors
    /// The database is away.
    pub async fn delete_webhook(&self, webhook_id: &str) -> Result<bool, Fault> {
        let partitions = self.partitions().await?.to_vec();
        let change = Change { what: "webhook_deleted", subject: webhook_id, ..Change::default() };
        let (mut transaction, _) = self.begin_put(change).await?;
        let Some(webhook) = named(&mut transaction, webhook_id).await? else {
            transaction.rollback().await.map_err(Fault::doing("leave the webhooks as they are"))?;
            return Ok(false);
        };
        for partition in partitions {
            drop_cursor(&mut transaction, partition, webhook.no).await?;
        }
        sqlx::query!("delete from webhook where webhook_no = $1", webhook.no)
            .execute(&mut *transaction)
            .answered("delete a webhook")
            .await?;
        transaction.commit().await.map_err(Fault::doing("commit that a webhook is gone"))?;
        Ok(true)
    }

    /// One webhook.
    ///
    /// # Errors
    /// The database is away.
    pub async fn webhook(&self, webhook_id: &str) -> Result<Option<Webhook>, Fault> {
        named(&mut *self.reader().await?, webhook_id).await
    }

    /// Webhooks with an id above `after`, by id; those whose id is a prefix and a name without a slash, or
    /// all.
    ///
    /// # Errors
    /// The database is away.
    pub async fn webhooks(
        &self,
        prefix: Option<&str>,
        after: &str,
        rows_max: i64,
    ) -> Result<Vec<Webhook>, Fault> {
        let rows = select_webhooks!(
            "where webhook_id > $1 and ($3::text is null or starts_with(webhook_id, $3)
                 and strpos(substr(webhook_id, length($3) + 1), '/') = 0)
             order by webhook_id limit $2",
            after,
            rows_max,
            prefix
        )
        .fetch_all(&mut *self.courier().await?)
        .answered("list webhooks")
        .await?;
        Ok(rows.into_iter().map(Row::webhook).collect())
    }

    /// What tells whether any webhook was put, changed or deleted: how many there are, and their newest
    /// revision.
    ///
    /// # Errors
    /// The database is away.
    pub async fn webhooks_state(&self) -> Result<(i64, i64), Fault> {
        let row = sqlx::query!(
            r#"select count(*) as "count!", coalesce(max(revision), 0) as "revision!" from webhook"#
        )
        .fetch_one(&mut *self.courier().await?)
        .answered("look for webhooks that changed")
        .await?;
        Ok((row.count, row.revision))
    }

    /// Sends nothing more to a webhook, as long as it is the one that was read.
    ///
    /// # Errors
    /// The database is away.
    pub async fn disable_webhook(&self, webhook: &Webhook, reason: &str) -> Result<(), Fault> {
        let change = Change {
            what: "webhook_disabled",
            subject: &webhook.webhook_id,
            actor: Some("stockroom"),
            detail: reason,
        };
        let (mut transaction, revision) = self.begin_put(change).await?;
        sqlx::query!(
            "update webhook set enabled = false, disabled_reason = $3, changed_at = now(),
                 changed_by = null, revision = $4
             where webhook_no = $1 and revision = $2",
            webhook.no,
            webhook.revision,
            reason,
            revision,
        )
        .execute(&mut *transaction)
        .answered("disable a webhook")
        .await?;
        transaction.commit().await.map_err(Fault::doing("commit that a webhook is disabled"))
    }
}

impl Row {
    fn webhook(self) -> Webhook {
        let types = self.event_types.into_iter();
        Webhook {
            no: self.webhook_no,
            webhook_id: self.webhook_id,
            url: self.url,
            secret: Secret(self.secret),
            retired: self
                .retired_secret
                .zip(self.retired_until)
                .map(|(secret, until)| (Secret(secret), until.0)),
            // A type that only a newer server knows is that server's to tell.
            event_types: types.filter_map(|number| EventType::of(i32::from(number))).collect(),
            channel_id: self.channel_id,
            low_stock_units: self.low_stock_units,
            location_ids: self.location_ids,
            skus: self.skus,
            enabled: self.enabled,
            disabled_reason: self.disabled_reason,
            created_at: self.created_at.0,
            changed_at: self.changed_at.0,
            created_by: self.created_by,
            changed_by: self.changed_by,
            revision: self.revision,
        }
    }
}

async fn named(connection: &mut PgConnection, id: &str) -> Result<Option<Webhook>, Fault> {
    let row = select_webhooks!("where webhook_id = $1", id)
        .fetch_optional(connection)
        .answered("read a webhook")
        .await?;
    Ok(row.map(Row::webhook))
}

async fn number(connection: &mut PgConnection) -> Result<i64, Fault> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from webhook"#)
        .fetch_one(connection)
        .answered("count the webhooks")
        .await
}

async fn insert(
    connection: &mut PgConnection,
    put: &PutWebhook,
    revision: i64,
) -> Result<(), Fault> {
    let secret = put.secret.as_ref().unwrap_or(&put.first_secret);
    sqlx::query!(
        "insert into webhook (webhook_id, url, secret, event_types, channel_id, low_stock_units,
             location_ids, skus, enabled, created_at, changed_at, created_by, changed_by, revision)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, now(), now(), $10, $10, $11)",
        put.webhook_id,
        put.url,
        secret.0,
        &types(put),
        put.channel_id,
        put.low_stock_units,
        &put.location_ids,
        &put.skus,
        put.enabled,
        put.actor,
        revision,
    )
    .execute(connection)
    .answered("create a webhook")
    .await?;
    Ok(())
}

async fn replace(
    connection: &mut PgConnection,
    put: &PutWebhook,
    revision: i64,
) -> Result<(), Fault> {
    sqlx::query!(
        "update webhook set
             url = $2, secret = coalesce($3, secret),
             retired_secret = case when $3 is null then retired_secret else secret end,
             retired_until = case when $3 is null then retired_until
                 else now() + $4::bigint * interval '1 microsecond' end,
             event_types = $5, channel_id = $6, low_stock_units = $7, location_ids = $8,
             skus = $9, enabled = $10, disabled_reason = null, changed_at = now(),
             changed_by = $11, revision = $12
         where webhook_id = $1",
        put.webhook_id,
        put.url,
        put.secret.as_ref().map(|secret| &*secret.0),
        put.retired_secret_ttl,
        &types(put),
        put.channel_id,
        put.low_stock_units,
        &put.location_ids,
        &put.skus,
        put.enabled,
        put.actor,
        revision,
    )
    .execute(connection)
    .answered("replace a webhook")
    .await?;
    Ok(())
}

fn types(put: &PutWebhook) -> Vec<i16> {
    put.event_types.iter().map(|event_type| *event_type as i16).collect()
}
