//! Which facts a caller may report, line by line.

use tokio::time::Instant;
use tonic::{Code, Status};

use crate::{
    access::{Caller, SERVICE, Scope},
    api::{
        Api,
        error::{invalid, status},
        movements::MOVEMENTS_MAX,
        proto::Movement,
    },
    stock::{
        draft::Draft, hold::HoldId, ids::is_identifier, kind::Kind, refusal::Refusal,
        reservation::ReservationId,
    },
    writer::{Barred, Report},
};

impl Api {
    /// What a source reports, if it may be looked at line by line.
    pub(crate) async fn report(
        &self,
        caller: &Caller,
        source: String,
        movements: Vec<Movement>,
        deadline: Instant,
    ) -> Result<Report, Status> {
        check_source(caller, &source)?;
        if movements.len() > MOVEMENTS_MAX {
            return Err(invalid("TOO_MANY_MOVEMENTS", "movements", "must be at most 1,000"));
        }
        let drafts: Vec<Draft> = movements.into_iter().map(Into::into).collect();
        Ok(Report {
            sent_at: None,
            actor: caller.actor_for(&source),
            source,
            barred: self.barred(caller, &drafts).await?,
            drafts,
            up_to: false,
            deadline,
        })
    }

    async fn barred(&self, caller: &Caller, drafts: &[Draft]) -> Result<Barred, Status> {
        let mut barred = Barred::default();
        if caller.is_anonymous() {
            return Ok(barred);
        }
        for (line, draft) in drafts.iter().enumerate() {
            if let Err(refusal) = check(caller, draft) {
                barred.refused.push((line, refusal));
            } else if !self.sees_promise(caller, draft).await? {
                barred.unseen.push(line);
            }
        }
        Ok(barred)
    }

    /// Whether the promise that a sale names, if it names one, exists for the caller. It is at the
    /// location of the sale, or it does not count.
    async fn sees_promise(&self, caller: &Caller, draft: &Draft) -> Result<bool, Status> {
        let hold: Option<HoldId> = draft.hold_id.parse().ok();
        if hold.is_some_and(|hold| !hold.is_of(caller.owner())) {
            return Ok(false);
        }
        let reservation = draft.reservation_id.parse::<ReservationId>().ok();
        let Some(id) = reservation.filter(|_| !caller.channels.is_all()) else { return Ok(true) };
        match self.ledger.reservation(&id).await? {
            Some(made) => self.reaches_channel(caller, made.channel).await,
            None => Ok(true),
        }
    }
}

/// Whether facts may be reported in the name of this source.
pub(super) fn check_source(caller: &Caller, source: &str) -> Result<(), Status> {
    if !is_identifier(source) {
        let rule = "must match [A-Za-z0-9._:/-]{1,64}";
        return Err(invalid("SOURCE_INVALID", "source", rule));
    }
    let own = match &caller.terminal {
        Some(terminal) => source == terminal.device_id,
        None => caller.is_anonymous() || source != SERVICE,
    };
    let message = "the credential is that of another device";
    let forbidden = || status(Code::PermissionDenied, "SOURCE_FORBIDDEN", message, &[]);
    own.then_some(()).ok_or_else(forbidden)
}

/// Whether the caller may report this. Where goods are sent to is no business of its reach: whoever ships
/// them need not see what becomes of them.
fn check(caller: &Caller, draft: &Draft) -> Result<(), Refusal> {
    let Some(kind) = Kind::of_draft(draft.kind) else { return Ok(()) };
    let scope = match kind {
        Kind::Count => Scope::CountsWrite,
        Kind::Correct => Scope::CorrectionsWrite,
        _ => Scope::MovementsWrite,
    };
    if !caller.may(scope) {
        return Err(Refusal::ScopeMissing { scope: scope.as_str() });
    }
    check_place(caller, &draft.location_id)?;
    let channel_id = &draft.channel_id;
    match channel_id.is_empty() || caller.channels.includes(channel_id) {
        true => Ok(()),
        false => Err(Refusal::ChannelUnknown { channel_id: channel_id.clone() }),
    }
}

/// Whether the caller may report facts of this location.
pub(super) fn check_place(caller: &Caller, location_id: &str) -> Result<(), Refusal> {
    if !caller.locations.includes(location_id) {
        return Err(Refusal::LocationUnknown { location_id: location_id.to_owned() });
    }
    let elsewhere = |at: &&crate::access::Terminal| at.location_id != location_id;
    match caller.terminal.as_ref().filter(elsewhere) {
        None => Ok(()),
        Some(_) => Err(Refusal::LocationForbidden { location_id: location_id.to_owned() }),
    }
}
