//! Who changed the network, and when.

use sqlx::{Postgres, Transaction};

use crate::{
    ledger::{
        Ledger,
        fault::{Answered as _, Fault},
        sql_time::At,
    },
    stock::time::Timestamp,
};

/// A change that is about to be made. What it is called, and of what, are kept as they stand here.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::ledger) struct Change<'c> {
    pub what: &'static str,
    pub subject: &'c str,
    /// `None`: whoever the ledger acts for.
    pub actor: Option<&'c str>,
    pub detail: &'c str,
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkChange {
    /// Its place among all changes.
    pub revision: i64,
    /// When, by the clock of the database.
    pub changed_at: Timestamp,
    /// What was changed, such as `location_status`.
    pub what: String,
    /// The id of what was changed.
    pub subject: String,
    /// Who did it; empty: nobody said.
    pub actor: String,
    /// The database role that was connected.
    pub role: String,
    /// What is worth knowing of it; mostly empty.
    pub detail: String,
}

impl Ledger {
    /// The same ledger, which notes that whatever is changed of the network through it was changed by
    /// `actor`.
    #[must_use]
    pub fn acting_for(&self, actor: &str) -> Ledger {
        Ledger { actor: actor.into(), ..self.clone() }
    }

    /// Takes the next revision, whose row lock orders puts by commit.
    pub(in crate::ledger) async fn begin_put_unnoted(
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

    /// The same, and notes who changes what.
    pub(in crate::ledger) async fn begin_put(
        &self,
        change: Change<'_>,
    ) -> Result<(Transaction<'static, Postgres>, i64), Fault> {
        let begin = Fault::doing("begin to change the network");
        let mut transaction = self.readers.begin().await.map_err(begin)?;
        let revision = sqlx::query_scalar!(
            "with taken as (
                 update network_revision set revision = revision + 1 returning revision
             )
             insert into network_change (revision, what, subject, actor, detail)
             select revision, $1, $2, $3, $4 from taken returning revision",
            change.what,
            change.subject,
            change.actor.unwrap_or(&self.actor),
            change.detail,
        )
        .fetch_one(&mut *transaction)
        .await
        .map_err(Fault::doing("take a revision"))?;
        Ok((transaction, revision))
    }

    /// Changes of the network before `before`, newest first; of everything, or of what has this id.
    ///
    /// # Errors
    /// The database is away.
    pub async fn network_changes(
        &self,
        subject: Option<&str>,
        before: i64,
        rows_max: i64,
    ) -> Result<Vec<NetworkChange>, Fault> {
        let rows = sqlx::query!(
            r#"select revision, changed_at as "changed_at: At", what, subject, actor, role,
                   detail
               from network_change
               where revision < $1 and ($2::text is null or subject = $2)
               order by revision desc limit $3"#,
            before,
            subject,
            rows_max,
        )
        .fetch_all(&mut *self.reader().await?)
        .answered("list changes of the network")
        .await?;
        let changes = rows.into_iter().map(|row| NetworkChange {
            revision: row.revision,
            changed_at: row.changed_at.0,
            what: row.what,
            subject: row.subject,
            actor: row.actor,
            role: row.role,
            detail: row.detail,
        });
        Ok(changes.collect())
    }
}
