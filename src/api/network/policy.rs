//! Channel policies of the contract as those of the ledger, and back.

use std::collections::HashSet;

use prost_types::Duration;
use tonic::{Code, Status};

use crate::{
    access::Caller,
    api::{
        Api,
        error::{invalid, status, unknown},
        network::{IDENTIFIER, check_policy, identifier},
        page,
        proto::{
            self, ChannelPolicyVersion, ListChannelPolicyVersionsRequest,
            ListChannelPolicyVersionsResponse, PolicyRule, UnansweredAction, Visibility,
            channel_policy::Buffer as WireBuffer, policy_rule::Buffer as RuleBuffer,
        },
        wire,
    },
    ledger::network::{ChannelPolicy, NamedRule, PolicyVersion, PutBy, Scope},
    stock::{
        channel_policy::{
            self, ELIGIBLE_MAX, HOLD_TTL_DEFAULT, Policy, RULES_MAX, Rule, Unanswered,
        },
        draft::NOTE_CHARS_MAX,
        ids::{is_identifier, is_sku, is_text},
        policy::Buffer,
        time::Micros,
    },
};

/// Marks tokens of the list of versions.
const VERSIONS: &str = "policy versions of";

/// A policy that was sent.
pub(super) fn policy_in(sent: proto::ChannelPolicy) -> Result<ChannelPolicy, Status> {
    let channel_id = identifier(sent.channel_id, "policy.channel_id")?;
    let default = Policy::default();
    let hold_ttl_max = duration(sent.hold_ttl_max, default.hold_ttl_max);
    let unanswered = match UnansweredAction::try_from(sent.unanswered) {
        Ok(UnansweredAction::Unspecified | UnansweredAction::Reject) => Unanswered::Reject,
        Ok(UnansweredAction::Move) => Unanswered::Move,
        Err(_) => return Err(out_of_bounds("unanswered")),
    };
    let visibility = match Visibility::try_from(sent.visibility) {
        Ok(Visibility::Unspecified | Visibility::Exact) => channel_policy::Visibility::Exact,
        Ok(Visibility::Band) => channel_policy::Visibility::Band,
        Err(_) => return Err(out_of_bounds("visibility")),
    };
    let scope =
        Scope { rules: rules_in(sent.rules)?, eligible: eligible_in(sent.eligible_location_ids)? };
    let policy = Policy {
        buffer: sent.buffer.map_or_else(Buffer::default, |buffer| match buffer {
            WireBuffer::BufferUnits(units) => Buffer { units, percent: 0 },
            WireBuffer::BufferPercent(percent) => Buffer { units: 0, percent: percent.into() },
        }),
        units_per_order_max: sent.units_per_order_max,
        hold_ttl_default: duration(sent.hold_ttl_default, HOLD_TTL_DEFAULT.min(hold_ttl_max)),
        hold_ttl_max,
        reservation_ttl_max: duration(sent.reservation_ttl_max, default.reservation_ttl_max),
        collect_days_paid_online: sent
            .collect_days_paid_online
            .unwrap_or(default.collect_days_paid_online),
        collect_days_pay_in_store: sent
            .collect_days_pay_in_store
            .unwrap_or(default.collect_days_pay_in_store),
        answer_timeout: Some(duration(sent.answer_timeout, 0)).filter(|&timeout| timeout != 0),
        unanswered,
        visibility,
        few_left_max: sent.few_left_max,
        ..default
    };
    match policy.flaw() {
        None => Ok(ChannelPolicy { channel_id, policy, scope }),
        Some(field) => Err(out_of_bounds(field)),
    }
}

/// Rules that were sent, each for another pair of names.
fn rules_in(sent: Vec<PolicyRule>) -> Result<Vec<NamedRule>, Status> {
    if sent.len() > RULES_MAX {
        return Err(invalid("FIELD_INVALID", "policy.rules", "must be at most 1,000"));
    }
    let mut seen = HashSet::with_capacity(sent.len());
    let mut rules = Vec::with_capacity(sent.len());
    for (index, PolicyRule { sku, location_id, buffer, units_per_order_max }) in
        sent.into_iter().enumerate()
    {
        let field = |field: &str| format!("policy.rules[{index}].{field}");
        let wrong = |name: &str, rule: &str| invalid("FIELD_INVALID", &field(name), rule);
        if !sku.is_empty() && !is_sku(&sku) {
            return Err(wrong("sku", "is malformed"));
        }
        if !location_id.is_empty() && !is_identifier(&location_id) {
            return Err(wrong("location_id", IDENTIFIER));
        }
        if sku.is_empty() && location_id.is_empty() {
            return Err(wrong("sku", "must be set where location_id is not"));
        }
        if !seen.insert((sku.clone(), location_id.clone())) {
            return Err(wrong("sku", "has another rule for the same location"));
        }
        if buffer.is_none() && units_per_order_max.is_none() {
            return Err(wrong("buffer", "must be set where units_per_order_max is not"));
        }
        let buffer = buffer.map(|buffer| match buffer {
            RuleBuffer::BufferUnits(units) => Buffer { units, percent: 0 },
            RuleBuffer::BufferPercent(percent) => Buffer { units: 0, percent: percent.into() },
        });
        let rule = Rule { buffer, units_per_order_max, ..Rule::default() };
        if let Some(name) = rule.flaw() {
            return Err(wrong(name, "is out of its bounds"));
        }
        rules.push(NamedRule { sku, location_id, rule });
    }
    Ok(rules)
}

/// Locations that were sent, each once.
fn eligible_in(sent: Vec<String>) -> Result<Vec<String>, Status> {
    let wrong = |rule| Err(invalid("FIELD_INVALID", "policy.eligible_location_ids", rule));
    if sent.len() > ELIGIBLE_MAX {
        return wrong("must be at most 10,000");
    }
    if !sent.iter().all(|id| is_identifier(id)) {
        return wrong("must each match [A-Za-z0-9._:/-]{1,64}");
    }
    if sent.iter().collect::<HashSet<_>>().len() < sent.len() {
        return wrong("must name each location once");
    }
    Ok(sent)
}

/// A policy names something that there is not.
pub(super) fn name_unknown(field: &str) -> Status {
    invalid("FIELD_INVALID", &format!("policy.{field}"), "is unknown; put it first")
}

impl Api {
    pub(super) async fn policy_versions(
        &self,
        caller: &Caller,
        sent: ListChannelPolicyVersionsRequest,
    ) -> Result<ListChannelPolicyVersionsResponse, Status> {
        let id = identifier(sent.channel_id, "channel_id")?;
        check_policy(caller, &id)?;
        let rows_max = page::rows_max(sent.page_size)?;
        // A token is of one channel's list.
        let list = format!("{VERSIONS} {id}");
        let before = match page::decode(&list, &sent.page_token)? {
            None => i64::MAX,
            Some(version) => version.parse().map_err(|_| page::malformed())?,
        };
        let (versions, more) = self.ledger.policy_versions(&id, before, rows_max).await?;
        if versions.is_empty() && self.ledger.channel(&id).await?.is_none() {
            return Err(unknown("channel", "channel_id", &id));
        }
        let last = versions.last().filter(|_| more).map(|last| last.policy.policy.version);
        Ok(ListChannelPolicyVersionsResponse {
            versions: versions.into_iter().map(version_out).collect(),
            next_page_token: last
                .map_or_else(String::new, |version| page::encode(&list, &version.to_string())),
        })
    }
}

fn version_out(version: PolicyVersion) -> ChannelPolicyVersion {
    let PolicyVersion { policy, actor, note, changed_at } = version;
    let changed_at = Some(wire::time_out(changed_at));
    ChannelPolicyVersion { policy: Some(policy.into()), actor, note, changed_at }
}

/// Who puts it, and why.
pub(super) fn put_by<'p>(actor: &'p str, note: &'p str) -> Result<PutBy<'p>, Status> {
    if !actor.is_empty() && !is_identifier(actor) {
        return Err(invalid("IDENTIFIER_INVALID", "actor", IDENTIFIER));
    }
    if !is_text(note, NOTE_CHARS_MAX) {
        let rule = "must be at most 500 characters without control characters";
        return Err(invalid("FIELD_INVALID", "note", rule));
    }
    Ok(PutBy { actor, note })
}

/// The policy that is stored is another one than the caller knows.
pub(super) fn version_mismatch(channel_id: &str, version: i64) -> Status {
    let (reason, version) = ("VERSION_MISMATCH", version.to_string());
    let message = format!("the policy of {channel_id:?} has version {version}; read it again");
    let metadata = [("channel_id", channel_id), ("version", &*version)];
    status(Code::Aborted, reason, message, &metadata)
}

fn rule_out(NamedRule { sku, location_id, rule }: NamedRule) -> PolicyRule {
    PolicyRule {
        sku,
        location_id,
        buffer: rule.buffer.map(|Buffer { units, percent }| match percent {
            0 => RuleBuffer::BufferUnits(units),
            _ => RuleBuffer::BufferPercent(percent_out(percent)),
        }),
        units_per_order_max: rule.units_per_order_max,
    }
}

fn percent_out(percent: i64) -> u32 {
    u32::try_from(percent).unwrap_or_default()
}

impl From<ChannelPolicy> for proto::ChannelPolicy {
    fn from(ChannelPolicy { channel_id, policy, scope }: ChannelPolicy) -> proto::ChannelPolicy {
        let time = |time| Some(wire::duration_out(time));
        proto::ChannelPolicy {
            channel_id,
            buffer: match policy.buffer {
                Buffer { units: 0, percent: 0 } => None,
                Buffer { units, percent: 0 } => Some(WireBuffer::BufferUnits(units)),
                Buffer { percent, .. } => Some(WireBuffer::BufferPercent(percent_out(percent))),
            },
            units_per_order_max: policy.units_per_order_max,
            hold_ttl_default: time(policy.hold_ttl_default),
            hold_ttl_max: time(policy.hold_ttl_max),
            reservation_ttl_max: time(policy.reservation_ttl_max),
            collect_days_paid_online: Some(policy.collect_days_paid_online),
            collect_days_pay_in_store: Some(policy.collect_days_pay_in_store),
            answer_timeout: policy.answer_timeout.and_then(time),
            unanswered: match policy.unanswered {
                Unanswered::Reject => UnansweredAction::Reject,
                Unanswered::Move => UnansweredAction::Move,
            }
            .into(),
            rules: scope.rules.into_iter().map(rule_out).collect(),
            eligible_location_ids: scope.eligible,
            visibility: match policy.visibility {
                channel_policy::Visibility::Exact => Visibility::Exact,
                channel_policy::Visibility::Band => Visibility::Band,
            }
            .into(),
            few_left_max: policy.few_left_max,
            version: policy.version.unsigned_abs(),
        }
    }
}

/// A time that was sent; one that no clock has is out of every bounds.
fn duration(sent: Option<Duration>, default: Micros) -> Micros {
    sent.map_or(default, |sent| wire::duration_in(sent).unwrap_or(Micros::MIN))
}

fn out_of_bounds(field: &str) -> Status {
    invalid("FIELD_INVALID", &format!("policy.{field}"), "is out of its bounds")
}
