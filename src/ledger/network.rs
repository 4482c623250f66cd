//! Master data as administrators see it: locations, channels and their policies, items.

mod change;
mod channel;
mod close;
mod item;
mod location;
mod policy;
mod quota;
mod status;
mod stocked;

pub(super) use crate::ledger::network::{change::Change, location::LocationRow, policy::PolicyRow};
pub use crate::ledger::network::{
    change::NetworkChange,
    channel::Channel,
    close::{Closed, Left},
    item::{Item, PutItem},
    location::Location,
    policy::{ChannelPolicy, NamedRule, PolicyVersion, PutBy, PutPolicy, Scope},
    quota::{NamedQuota, PutQuotas, StoredQuota},
    status::Pending,
};
