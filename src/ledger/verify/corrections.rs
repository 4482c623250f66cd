//! Corrections against what they correct.

use std::collections::HashMap;

use sqlx::PgConnection;

use crate::{
    ledger::{
        rows,
        verify::{Stop, entry_name},
    },
    stock::{
        entry::Entry,
        ids::{Partition, Seq},
        kind::Kind,
    },
};

/// A correction is the exact inverse of what it names, at the same moment.
pub(super) async fn corrections_fit(
    connection: &mut PgConnection,
    partition: Partition,
    corrections: &[(Entry<'_>, Seq)],
) -> Result<(), Stop> {
    if corrections.is_empty() {
        return Ok(());
    }
    let seqs: Vec<_> = corrections.iter().map(|(_, corrected)| *corrected).collect();
    let corrected = rows::entries(connection, partition, &seqs).await?;
    let corrected: HashMap<_, _> =
        corrected.into_iter().map(|stored| (stored.entry.seq, stored.entry)).collect();
    for (entry, seq) in corrections {
        let fits = corrected.get(seq).is_some_and(|corrected| {
            let legs = (corrected.legs as i16 & 1) << 1 | corrected.legs as i16 >> 1;
            corrected.seq < entry.seq
                && corrected.kind != Kind::Correct
                && entry.states == corrected.states.map(|(from, to)| (to, from))
                && entry.legs as i16 == legs
                && (entry.location, entry.item) == (corrected.location, corrected.item)
                && (entry.quantity, entry.effective_at)
                    == (corrected.quantity, corrected.effective_at)
        });
        if !fits {
            let name = entry_name(partition, entry.seq);
            return Err(Stop::Differs(format!("{name}: is not the inverse of entry {seq}")));
        }
    }
    Ok(())
}
