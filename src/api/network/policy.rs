//! Channel policies of the contract as those of the ledger, and back.

use prost_types::Duration;
use tonic::{Code, Status};

use crate::{
    api::{
        error::{invalid, status},
        network::identifier,
        proto::{self, UnansweredAction, channel_policy::Buffer as WireBuffer},
        wire,
    },
    ledger::network::ChannelPolicy,
    stock::{
        channel_policy::{HOLD_TTL_DEFAULT, Policy, Unanswered},
        policy::Buffer,
        time::Micros,
    },
};

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
    let policy = Policy {
        buffer: match sent.buffer {
            None => Buffer::default(),
            Some(WireBuffer::BufferUnits(units)) => Buffer { units, percent: 0 },
            Some(WireBuffer::BufferPercent(percent)) => {
                Buffer { units: 0, percent: percent.into() }
            }
        },
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
        version: 0,
    };
    match policy.flaw() {
        None => Ok(ChannelPolicy { channel_id, policy }),
        Some(field) => Err(out_of_bounds(field)),
    }
}

/// The policy that is stored is another one than the caller knows.
pub(super) fn version_mismatch(channel_id: &str, version: i64) -> Status {
    let (reason, version) = ("VERSION_MISMATCH", version.to_string());
    let message = format!("the policy of {channel_id:?} has version {version}; read it again");
    let metadata = [("channel_id", channel_id), ("version", &*version)];
    status(Code::Aborted, reason, message, &metadata)
}

impl From<ChannelPolicy> for proto::ChannelPolicy {
    fn from(ChannelPolicy { channel_id, policy }: ChannelPolicy) -> proto::ChannelPolicy {
        let time = |time| Some(wire::duration_out(time));
        proto::ChannelPolicy {
            channel_id,
            buffer: match policy.buffer {
                Buffer { units: 0, percent: 0 } => None,
                Buffer { units, percent: 0 } => Some(WireBuffer::BufferUnits(units)),
                Buffer { percent, .. } => {
                    Some(WireBuffer::BufferPercent(u32::try_from(percent).unwrap_or_default()))
                }
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
