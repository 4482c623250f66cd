//! Where each source can go on.

use std::collections::HashMap;

use crate::ledger::{
    Ledger,
    fault::{Answered as _, Fault},
};

impl Ledger {
    /// The key that a source is settled up to; empty: none is known.
    ///
    /// # Errors
    /// The database is away.
    pub async fn resume_key(&self, source: &str) -> Result<String, Fault> {
        let key = sqlx::query_scalar!("select resume_key from source where source = $1", source)
            .fetch_optional(&self.readers)
            .answered("read a resume point")
            .await?;
        Ok(key.flatten().unwrap_or_default())
    }

    /// Writes resume points.
    ///
    /// # Errors
    /// The database is away.
    pub async fn put_resume_keys(&self, points: &HashMap<String, String>) -> Result<(), Fault> {
        let (sources, keys): (Vec<_>, Vec<_>) =
            points.iter().map(|(source, key)| (source.clone(), key.clone())).unzip();
        sqlx::query!(
            "update source set resume_key = point.key
             from unnest($1::text[], $2::text[]) as point (source, key)
             where source.source = point.source",
            &sources,
            &keys,
        )
        .execute(&self.readers)
        .answered("write resume points")
        .await?;
        Ok(())
    }
}
