//! What may be promised through a channel, and what it was before.

mod names;
mod row;

use std::sync::Arc;

use sqlx::{PgConnection, types::Json};

use self::names::Names;
pub(super) use self::names::Numbers;
pub(in crate::ledger) use self::row::PolicyRow;
use crate::{
    ledger::{
        Ledger,
        directory::KnownChannel,
        fault::{Answered as _, Fault},
        network::Change,
        sql_time::At,
    },
    stock::{
        channel_policy::{Policy, Rule},
        ids::ChannelNo,
        time::Timestamp,
    },
};

/// A channel and what may be promised through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelPolicy {
    /// The channel.
    pub channel_id: String,
    /// Its policy; the default where none was put.
    pub policy: Policy,
    /// The policy's rules and locations by name; they count when it is put.
    pub scope: Scope,
}

/// Rules and locations of a policy, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Each for another pair of names; read by item, then by location.
    pub rules: Vec<NamedRule>,
    /// Locations whose stock may be promised; none: all. Each once; read in order.
    pub eligible: Vec<String>,
}

/// A rule by name. Of the rule itself the numbers do not count when it is put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedRule {
    /// The item; empty: any.
    pub sku: String,
    /// The location; empty: any.
    pub location_id: String,
    /// What it says.
    pub rule: Rule,
}

/// Who puts a policy, and why.
#[derive(Clone, Copy, Debug, Default)]
pub struct PutBy<'p> {
    /// Who; empty: nobody said.
    pub actor: &'p str,
    /// Why; empty: nobody said.
    pub note: &'p str,
}

/// A policy as it was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVersion {
    /// The policy.
    pub policy: ChannelPolicy,
    /// Who put it; empty: nobody said.
    pub actor: String,
    /// Why; empty: nobody said.
    pub note: String,
    /// When, by the clock of the database.
    pub changed_at: Timestamp,
}

/// What became of a policy that was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutPolicy {
    /// It is stored, under its new version.
    Put(Box<ChannelPolicy>),
    /// There is no such channel.
    ChannelUnknown,
    /// The channel's policy has another version than the caller expected: this one.
    VersionMismatch(i64),
    /// It names something that there is not: the field, such as `rules[3].sku`.
    NameUnknown(String),
}

impl Ledger {
    /// Creates or replaces the policy of a channel, under the version after the one that it has,
    /// whatever `put` says of it, and keeps it as that version. With `expected_version` only if that is
    /// the one that it has.
    ///
    /// # Errors
    /// The database is away, or the policy is out of bounds ([`Policy::flaw`]).
    pub async fn put_policy(
        &self,
        mut put: ChannelPolicy,
        expected_version: Option<i64>,
        by: PutBy<'_>,
    ) -> Result<PutPolicy, Fault> {
        let (subject, actor) = (put.channel_id.clone(), Some(by.actor));
        let change = Change { what: "channel_policy", subject: &subject, actor, detail: by.note };
        let (mut transaction, revision) = self.begin_put(change).await?;
        // The lock on the revision keeps every other put away until the end.
        let refused = match policy_version(&mut transaction, &put.channel_id).await? {
            None => Some(PutPolicy::ChannelUnknown),
            Some(version) if expected_version.is_some_and(|expected| expected != version) => {
                Some(PutPolicy::VersionMismatch(version))
            }
            Some(_) => {
                let numbers = Numbers::read(&mut transaction, &put.scope).await?;
                numbers.resolve(&mut put).err().map(PutPolicy::NameUnknown)
            }
        };
        if let Some(refused) = refused {
            transaction.rollback().await.map_err(Fault::doing("leave a policy as it is"))?;
            return Ok(refused);
        }
        let known = put_policy(&mut transaction, &put, revision).await?;
        keep_version(&mut transaction, &known, by).await?;
        transaction.commit().await.map_err(Fault::doing("commit a policy"))?;
        put.policy = (*known.policy).clone();
        self.directory().learn_channel(known);
        Ok(PutPolicy::Put(Box::new(put)))
    }

    /// A policy as it would be put, with the numbers of what it names.
    ///
    /// # Errors
    /// The database is away; or, inside, the field that names something that there is not.
    pub async fn resolve_policy(
        &self,
        mut put: ChannelPolicy,
    ) -> Result<Result<ChannelPolicy, String>, Fault> {
        let connect = Fault::doing("connect to look up what a policy names");
        let mut connection = self.readers.acquire().await.map_err(connect)?;
        let numbers = Numbers::read(&mut connection, &put.scope).await?;
        Ok(numbers.resolve(&mut put).map(|()| put))
    }

    /// The policy that applies to a channel; none where there is no such channel.
    ///
    /// # Errors
    /// The database is away.
    pub async fn policy(&self, channel_id: &str) -> Result<Option<ChannelPolicy>, Fault> {
        let rows = PolicyRow::named(&self.readers, &[channel_id]).await?;
        Ok(self.told(rows).await?.pop())
    }

    /// Policies that were put, of channels with an id above `after`, by id, among these ids or all
    /// (`None`), and whether there may be
    /// more: their rules and locations may be many, and an answer must fit into a message.
    ///
    /// # Errors
    /// The database is away.
    pub async fn policies(
        &self,
        among: Option<&[String]>,
        after: &str,
        rows_max: i64,
    ) -> Result<(Vec<ChannelPolicy>, bool), Fault> {
        let mut page = Page::new(rows_max);
        while let Some(rows_max) = page.wanted() {
            let after = page.rows.last().map_or(after, |row| &row.channel_id).to_owned();
            page.add(PolicyRow::after(&self.readers, among, &after, rows_max).await?);
        }
        Ok((self.told(page.rows).await?, page.more))
    }

    /// Policies that were put for a channel, with a version below `before`, newest first, and whether
    /// there may be more.
    ///
    /// # Errors
    /// The database is away.
    pub async fn policy_versions(
        &self,
        channel_id: &str,
        before: i64,
        rows_max: i64,
    ) -> Result<(Vec<PolicyVersion>, bool), Fault> {
        let mut page = Page::new(rows_max);
        while let Some(rows_max) = page.wanted() {
            let before = page.rows.last().map_or(before, PolicyRow::version);
            page.add(PolicyRow::before(&self.readers, channel_id, before, rows_max).await?);
        }
        let versions: Vec<_> = page.rows.iter().map(PolicyRow::version).collect();
        let by = sqlx::query!(
            r#"select actor, note, changed_at as "changed_at: At" from channel_policy_version
               where channel_no = (select channel_no from channel where channel_id = $1)
                   and version = any($2)
               order by version desc"#,
            channel_id,
            &versions,
        )
        .fetch_all(&self.readers)
        .answered("read who put policies")
        .await?;
        let policies = self.told(page.rows).await?.into_iter().zip(by);
        let versions = policies.map(|(policy, by)| PolicyVersion {
            policy,
            actor: by.actor,
            note: by.note,
            changed_at: by.changed_at.0,
        });
        Ok((versions.collect(), page.more))
    }

    /// With the names of what rules and locations are numbers of.
    async fn told(&self, rows: Vec<PolicyRow>) -> Result<Vec<ChannelPolicy>, Fault> {
        let names = Names::read(&self.readers, &rows).await?;
        Ok(rows.into_iter().map(|row| names.channel_policy(row)).collect())
    }
}

impl Scope {
    fn sort(&mut self) {
        self.rules.sort_by(|a, b| (&a.sku, &a.location_id).cmp(&(&b.sku, &b.location_id)));
        self.eligible.sort();
    }
}

/// Rows of a page.
struct Page {
    rows: Vec<PolicyRow>,
    rows_max: i64,
    weight: usize,
    more: bool,
    full: bool,
}

impl Page {
    /// Rows that are read together.
    const PART: i64 = 20;
    /// Rules and locations of one page, unless its first policy has more.
    const WEIGHT_MAX: usize = 12_000;

    fn new(rows_max: i64) -> Page {
        Page { rows: Vec::new(), rows_max, weight: 0, more: false, full: false }
    }

    /// How many more to read; none: it is done.
    fn wanted(&self) -> Option<i64> {
        let left = self.rows_max - self.rows.len() as i64;
        (!self.full && left > 0).then_some(left.min(Page::PART))
    }

    fn add(&mut self, rows: Vec<PolicyRow>) {
        let wanted = self.wanted().unwrap_or_default();
        self.full = (rows.len() as i64) < wanted;
        self.more = !self.full;
        for row in rows {
            self.weight += row.policy_rules.len() + row.eligible_locations.len();
            if self.weight > Page::WEIGHT_MAX && !self.rows.is_empty() {
                (self.full, self.more) = (true, true);
                return;
            }
            self.rows.push(row);
        }
    }
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
    put: &ChannelPolicy,
    revision: i64,
) -> Result<KnownChannel, Fault> {
    let ChannelPolicy { channel_id, policy, .. } = put;
    let rules: Vec<_> = policy.rules.iter().copied().collect();
    let eligible: Vec<_> = policy.eligible.iter().map(|location| location.0).collect();
    let row = sqlx::query!(
        "update channel set
             buffer_units = $2, buffer_percent = $3, units_per_order_max = $4,
             hold_ttl_default_us = $5, hold_ttl_max_us = $6, reservation_ttl_max_us = $7,
             collect_days_paid_online = $8, collect_days_pay_in_store = $9,
             answer_timeout_us = $10, unanswered = $11, policy_rules = $12,
             eligible_locations = $13, visibility = $14, few_left_max = $15,
             policy_version = policy_version + 1, revision = $16
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
        Json(&rules) as _,
        &eligible,
        policy.visibility as i16,
        policy.few_left_max,
        revision,
    )
    .fetch_one(connection)
    .answered("put a policy")
    .await?;
    Ok(KnownChannel {
        channel: ChannelNo(row.channel_no),
        channel_id: channel_id.as_str().into(),
        policy: Arc::new(Policy {
            channel: Some(ChannelNo(row.channel_no)),
            version: row.policy_version,
            ..policy.clone()
        }),
        revision,
    })
}

async fn keep_version(
    connection: &mut PgConnection,
    known: &KnownChannel,
    by: PutBy<'_>,
) -> Result<(), Fault> {
    sqlx::query!(
        "insert into channel_policy_version (channel_no, version, policy, actor, note)
         select channel_no, policy_version, to_jsonb(channel), $2, $3
         from channel where channel_no = $1",
        known.channel.0,
        by.actor,
        by.note,
    )
    .execute(connection)
    .answered("keep a version of a policy")
    .await?;
    Ok(())
}

/// As a column holds it; what does not fit breaks the column's constraint.
fn int(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}
