//! The lines of a hold that there is, or was.

use crate::{
    availability::hold::{HoldStatus, KnownHold},
    stock::{hold::HoldId, reservation::State, step},
    writer::{Writer, request::Denial},
};

impl Writer {
    /// What a hold promises, or promised, as far as anybody knows, and whether it still does; empty: nobody
    /// knows.
    ///
    /// # Errors
    /// As [`Writer::hold`].
    pub async fn lines_of(&self, id: HoldId) -> Result<(Vec<step::Wanted>, bool), Denial> {
        let (lines, is_live): (Vec<_>, _) = match self.stores.availability.get(id).await {
            Ok(KnownHold::Here(hold, status)) => {
                let lines = hold.lines.iter().map(|line| (line.item, line.quantity));
                (lines.collect(), status == HoldStatus::Live)
            }
            _ => {
                let hold = self.stores.ledger.ledger_hold(&id).await?;
                let is_live = hold.as_ref().is_some_and(|hold| hold.state == State::Held);
                let lines = hold.into_iter().flat_map(|hold| hold.lines);
                (lines.map(|line| (line.item, line.quantity)).collect(), is_live)
            }
        };
        Ok((self.named(&lines).await?, is_live))
    }
}
