//! Through which goods are sold, and what may be promised there.

use std::sync::Arc;

use sqlx::{PgConnection, PgPool};

use crate::{
    ledger::{
        Ledger,
        directory::KnownChannel,
        fault::{Answered as _, Fault},
    },
    stock::{
        channel_policy::{Policy, Unanswered},
        ids::ChannelNo,
        policy::Buffer,
    },
};

/// Through which goods are sold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the contract's Channel")]
pub struct Channel {
    pub channel_id: String,
    pub name: String,
}

/// A channel and what may be promised through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelPolicy {
    /// The channel.
    pub channel_id: String,
    /// Its policy; the default where none was put.
    pub policy: Policy,
}

/// What became of a policy that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutPolicy {
    /// It is stored, under its new version.
    Put(Policy),
    /// There is no such channel.
    ChannelUnknown,
    /// The channel's policy has another version than the caller expected: this one.
    VersionMismatch(i64),
}

/// The policy columns of a row of the table.
pub(in crate::ledger) struct PolicyRow {
    channel_no: i32,
    channel_id: String,
    buffer_units: i64,
    buffer_percent: i32,
    units_per_order_max: i64,
    hold_ttl_default_us: i64,
    hold_ttl_max_us: i64,
    reservation_ttl_max_us: i64,
    collect_days_paid_online: i32,
    collect_days_pay_in_store: i32,
    answer_timeout_us: Option<i64>,
    unanswered: i16,
    policy_version: i64,
    revision: i64,
}

/// Reads policies; the statement goes on as the caller says.
macro_rules! select_policies {
    ($where:literal, $($value:expr),+) => {
        sqlx::query_as!(
            PolicyRow,
            "select channel_no, channel_id, buffer_units, buffer_percent, units_per_order_max,
                 hold_ttl_default_us, hold_ttl_max_us, reservation_ttl_max_us,
                 collect_days_paid_online, collect_days_pay_in_store, answer_timeout_us, unanswered,
                 policy_version, revision
             from channel " + $where,
            $($value),+
        )
    };
}

impl Ledger {
    /// Creates or replaces a channel. Its policy stays as it is.
    ///
    /// # Errors
    /// The database is away.
    pub async fn put_channel(&self, channel: &Channel) -> Result<(), Fault> {
        let (mut transaction, revision) = self.begin_put().await?;
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

    /// Channels with an id above `after`, by id.
    ///
    /// # Errors
    /// The database is away.
    pub async fn channels(&self, after: &str, rows_max: i64) -> Result<Vec<Channel>, Fault> {
        sqlx::query_as!(
            Channel,
            "select channel_id, name from channel
             where channel_id > $1 order by channel_id limit $2",
            after,
            rows_max,
        )
        .fetch_all(&self.readers)
        .answered("list channels")
        .await
    }

    /// Creates or replaces the policy of a channel, under the version after the one that it has,
    /// whatever `policy` says of it. With `expected_version` only if that is the one that it has.
    ///
    /// # Errors
    /// The database is away, or the policy is out of bounds ([`Policy::flaw`]).
    pub async fn put_policy(
        &self,
        channel_id: &str,
        policy: &Policy,
        expected_version: Option<i64>,
    ) -> Result<PutPolicy, Fault> {
        let (mut transaction, revision) = self.begin_put().await?;
        // The lock on the revision keeps every other put away until the end.
        let refused = match policy_version(&mut transaction, channel_id).await? {
            None => Some(PutPolicy::ChannelUnknown),
            Some(version) if expected_version.is_some_and(|expected| expected != version) => {
                Some(PutPolicy::VersionMismatch(version))
            }
            Some(_) => None,
        };
        if let Some(refused) = refused {
            transaction.rollback().await.map_err(Fault::doing("leave a policy as it is"))?;
            return Ok(refused);
        }
        let known = put_policy(&mut transaction, channel_id, policy, revision).await?;
        transaction.commit().await.map_err(Fault::doing("commit a policy"))?;
        let put = PutPolicy::Put(*known.policy);
        self.directory().learn_channel(known);
        Ok(put)
    }

    /// The policy that applies to a channel; none where there is no such channel.
    ///
    /// # Errors
    /// The database is away.
    pub async fn policy(&self, channel_id: &str) -> Result<Option<ChannelPolicy>, Fault> {
        let mut rows = PolicyRow::named(&self.readers, &[channel_id]).await?;
        Ok(rows.pop().map(PolicyRow::channel_policy))
    }

    /// Policies that were put, of channels with an id above `after`, by id.
    ///
    /// # Errors
    /// The database is away.
    pub async fn policies(&self, after: &str, rows_max: i64) -> Result<Vec<ChannelPolicy>, Fault> {
        let rows = PolicyRow::after(&self.readers, after, rows_max).await?;
        Ok(rows.into_iter().map(PolicyRow::channel_policy).collect())
    }
}

impl PolicyRow {
    /// Those of channels with these ids.
    pub async fn named(pool: &PgPool, channel_ids: &[&str]) -> Result<Vec<PolicyRow>, Fault> {
        select_policies!("where channel_id = any($1)", channel_ids as _)
            .fetch_all(pool)
            .answered("look channels up")
            .await
    }

    /// Those of channels with these numbers.
    pub async fn numbered(pool: &PgPool, numbers: &[i32]) -> Result<Vec<PolicyRow>, Fault> {
        select_policies!("where channel_no = any($1)", numbers)
            .fetch_all(pool)
            .answered("look channels up by number")
            .await
    }

    /// Those of channels that changed after a revision.
    pub async fn since(pool: &PgPool, revision: i64) -> Result<Vec<PolicyRow>, Fault> {
        select_policies!("where revision > $1", revision)
            .fetch_all(pool)
            .answered("read changed channels")
            .await
    }

    async fn after(pool: &PgPool, after: &str, rows_max: i64) -> Result<Vec<PolicyRow>, Fault> {
        select_policies!(
            "where channel_id > $1 and policy_version > 0 order by channel_id limit $2",
            after,
            rows_max
        )
        .fetch_all(pool)
        .answered("list policies")
        .await
    }

    /// As the hot path needs it.
    pub fn known(self) -> KnownChannel {
        KnownChannel {
            channel: ChannelNo(self.channel_no),
            policy: Arc::new(self.policy()),
            revision: self.revision,
            channel_id: self.channel_id.into(),
        }
    }

    fn channel_policy(self) -> ChannelPolicy {
        ChannelPolicy { policy: self.policy(), channel_id: self.channel_id }
    }

    fn policy(&self) -> Policy {
        Policy {
            buffer: Buffer { units: self.buffer_units, percent: self.buffer_percent.into() },
            units_per_order_max: self.units_per_order_max,
            hold_ttl_default: self.hold_ttl_default_us,
            hold_ttl_max: self.hold_ttl_max_us,
            reservation_ttl_max: self.reservation_ttl_max_us,
            collect_days_paid_online: self.collect_days_paid_online.unsigned_abs(),
            collect_days_pay_in_store: self.collect_days_pay_in_store.unsigned_abs(),
            answer_timeout: self.answer_timeout_us,
            unanswered: match self.unanswered {
                2 => Unanswered::Move,
                _ => Unanswered::Reject,
            },
            version: self.policy_version,
        }
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

async fn policy_version(
    connection: &mut PgConnection,
    channel_id: &str,
) -> Result<Option<i64>, Fault> {
    sqlx::query_scalar!("select policy_version from channel where channel_id = $1", channel_id)
        .fetch_optional(connection)
        .answered("read the version of a policy")
        .await
}

async fn put_policy(
    connection: &mut PgConnection,
    channel_id: &str,
    policy: &Policy,
    revision: i64,
) -> Result<KnownChannel, Fault> {
    let put = sqlx::query!(
        "update channel set
             buffer_units = $2, buffer_percent = $3, units_per_order_max = $4,
             hold_ttl_default_us = $5, hold_ttl_max_us = $6, reservation_ttl_max_us = $7,
             collect_days_paid_online = $8, collect_days_pay_in_store = $9,
             answer_timeout_us = $10, unanswered = $11, policy_version = policy_version + 1,
             revision = $12
         where channel_id = $1
         returning channel_no, policy_version",
        channel_id,
        policy.buffer.units,
        int(policy.buffer.percent),
        policy.units_per_order_max,
        policy.hold_ttl_default,
        policy.hold_ttl_max,
        policy.reservation_ttl_max,
        int(policy.collect_days_paid_online),
        int(policy.collect_days_pay_in_store),
        policy.answer_timeout,
        policy.unanswered as i16,
        revision,
    )
    .fetch_one(connection)
    .answered("put a policy")
    .await?;
    Ok(KnownChannel {
        channel: ChannelNo(put.channel_no),
        channel_id: channel_id.into(),
        policy: Arc::new(Policy { version: put.policy_version, ..*policy }),
        revision,
    })
}

/// As a column holds it; what does not fit breaks the column's constraint.
fn int(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}
