//! Through which goods are sold.

use sqlx::PgConnection;

use crate::ledger::{
    Ledger,
    fault::{Answered as _, Fault},
    network::Change,
};

/// Through which goods are sold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the contract's Channel")]
pub struct Channel {
    pub channel_id: String,
    pub name: String,
}

impl Ledger {
    /// Creates or replaces a channel. Its policy stays as it is.
    ///
    /// # Errors
    /// The database is away.
    pub async fn put_channel(&self, channel: &Channel) -> Result<(), Fault> {
        let change = Change { what: "channel", subject: &channel.channel_id, ..Change::default() };
        let (mut transaction, revision) = self.begin_put(change).await?;
        put_channel(&mut transaction, channel, revision).await?;
        transaction.commit().await.map_err(Fault::doing("commit a channel"))
    }

    /// One channel.
    ///
    /// # Errors
    /// The database is away.
    pub async fn channel(&self, channel_id: &str) -> Result<Option<Channel>, Fault> {
        sqlx::query_as!(
            Channel,
            "select channel_id, name from channel where channel_id = $1",
            channel_id,
        )
        .fetch_optional(&self.readers)
        .answered("read a channel")
        .await
    }

    /// Channels with an id above `after`, by id; among these ids, or all (`None`).
    ///
    /// # Errors
    /// The database is away.
    pub async fn channels(
        &self,
        among: Option<&[String]>,
        after: &str,
        rows_max: i64,
    ) -> Result<Vec<Channel>, Fault> {
        sqlx::query_as!(
            Channel,
            "select channel_id, name from channel
             where channel_id > $1 and ($3::text[] is null or channel_id = any($3))
             order by channel_id limit $2",
            after,
            rows_max,
            among as _,
        )
        .fetch_all(&self.readers)
        .answered("list channels")
        .await
    }
}

async fn put_channel(
    connection: &mut PgConnection,
    channel: &Channel,
    revision: i64,
) -> Result<(), Fault> {
    sqlx::query!(
        "insert into channel (channel_id, name, revision) values ($1, $2, $3)
         on conflict (channel_id) do update set
             name = excluded.name, revision = excluded.revision",
        channel.channel_id,
        channel.name,
        revision,
    )
    .execute(connection)
    .answered("put a channel")
    .await?;
    Ok(())
}
