//! Policies as rows of the table of channels.

use std::sync::Arc;

use sqlx::{PgPool, types::Json};

use crate::{
    ledger::{
        directory::KnownChannel,
        fault::{Answered as _, Fault},
    },
    stock::{
        channel_policy::{Policy, Rule, Unanswered, Visibility},
        ids::{ChannelNo, LocationNo},
        policy::Buffer,
    },
};

/// The policy columns of a row of the table.
pub(in crate::ledger) struct PolicyRow {
    channel_no: i32,
    pub(super) channel_id: String,
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
    pub(super) policy_rules: Json<Vec<Rule>>,
    pub(super) eligible_locations: Vec<i32>,
    visibility: i16,
    few_left_max: i64,
    policy_version: i64,
    revision: i64,
}

/// Reads policies; the statement goes on as the caller says.
macro_rules! select_policies {
    ($where:literal, $($value:expr),+) => {
        sqlx::query_as!(
            PolicyRow,
            r#"select channel_no, channel_id, buffer_units, buffer_percent, units_per_order_max,
                   hold_ttl_default_us, hold_ttl_max_us, reservation_ttl_max_us,
                   collect_days_paid_online, collect_days_pay_in_store, answer_timeout_us,
                   unanswered, policy_rules as "policy_rules: _", eligible_locations, visibility,
                   few_left_max, policy_version, revision
               from channel "# + $where,
            $($value),+
        )
    };
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

    /// Those that were put, of channels with an id above `after`, by id.
    pub(super) async fn after(
        pool: &PgPool,
        among: Option<&[String]>,
        after: &str,
        rows_max: i64,
    ) -> Result<Vec<PolicyRow>, Fault> {
        select_policies!(
            "where channel_id > $1 and policy_version > 0
                 and ($3::text[] is null or channel_id = any($3))
             order by channel_id limit $2",
            after,
            rows_max,
            among as _
        )
        .fetch_all(pool)
        .answered("list policies")
        .await
    }

    /// Those that were put for a channel, with a version below `before`, newest first, as they were kept.
    pub(super) async fn before(
        pool: &PgPool,
        channel_id: &str,
        before: i64,
        rows_max: i64,
    ) -> Result<Vec<PolicyRow>, Fault> {
        sqlx::query_as!(
            PolicyRow,
            r#"select channel.channel_no, channel.channel_id, kept.buffer_units as "buffer_units!",
                   kept.buffer_percent as "buffer_percent!",
                   kept.units_per_order_max as "units_per_order_max!",
                   kept.hold_ttl_default_us as "hold_ttl_default_us!",
                   kept.hold_ttl_max_us as "hold_ttl_max_us!",
                   kept.reservation_ttl_max_us as "reservation_ttl_max_us!",
                   kept.collect_days_paid_online as "collect_days_paid_online!",
                   kept.collect_days_pay_in_store as "collect_days_pay_in_store!",
                   kept.answer_timeout_us, kept.unanswered as "unanswered!",
                   kept.policy_rules as "policy_rules!: _",
                   kept.eligible_locations as "eligible_locations!",
                   kept.visibility as "visibility!", kept.few_left_max as "few_left_max!",
                   version.version as "policy_version", channel.revision
               from channel
               join channel_policy_version version on version.channel_no = channel.channel_no
               cross join lateral jsonb_populate_record(null::channel, version.policy) kept
               where channel.channel_id = $1 and version.version < $2
               order by version.version desc limit $3"#,
            channel_id,
            before,
            rows_max,
        )
        .fetch_all(pool)
        .answered("list the versions of a policy")
        .await
    }

    pub(super) fn version(&self) -> i64 {
        self.policy_version
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

    pub(super) fn policy(&self) -> Policy {
        Policy {
            channel: Some(ChannelNo(self.channel_no)),
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
            rules: self.policy_rules.iter().copied().collect(),
            eligible: self.eligible_locations.iter().copied().map(LocationNo).collect(),
            visibility: match self.visibility {
                2 => Visibility::Band,
                _ => Visibility::Exact,
            },
            few_left_max: self.few_left_max,
            version: self.policy_version,
        }
    }
}
