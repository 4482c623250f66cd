//! Master data as administrators see it: locations, channels and their policies, items.

mod channel;
mod close;
mod item;
mod location;
mod policy;
mod quota;
mod status;
mod stocked;

use sqlx::{Postgres, Transaction};

pub use crate::ledger::network::{
    channel::Channel,
    close::{Closed, Left},
    item::{Item, PutItem},
    location::Location,
    policy::{ChannelPolicy, NamedRule, PolicyVersion, PutBy, PutPolicy, Scope},
    quota::{NamedQuota, PutQuotas, StoredQuota},
    status::Pending,
};
pub(super) use crate::ledger::network::{location::LocationRow, policy::PolicyRow};
use crate::ledger::{Ledger, fault::Fault};

impl Ledger {
    /// Takes the next revision, whose row lock orders puts by commit.
    pub(in crate::ledger) async fn begin_put(
        &self,
    ) -> Result<(Transaction<'static, Postgres>, i64), Fault> {
        let begin = Fault::doing("begin to change the network");
        let mut transaction = self.readers.begin().await.map_err(begin)?;
        let revision = sqlx::query_scalar!(
            "update network_revision set revision = revision + 1 returning revision"
        )
        .fetch_one(&mut *transaction)
        .await
        .map_err(Fault::doing("take a revision"))?;
        Ok((transaction, revision))
    }
}
