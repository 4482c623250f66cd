//! Admission: what a batch is about to claim is taken in Redis for the time of its transaction, so
//! that it does not take what others hold, and demand that cannot be met costs no transaction. Where
//! Redis cannot say anything PostgreSQL decides alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    ambient,
    availability::{
        ShortLine, Trust,
        admit::{Admission, Claim, ClaimLine, Judged, Token, Verdict},
    },
    ledger::{Ledger, directory::Known},
    mutants::{Mutant, on},
    stock::{
        channel_policy::Policy,
        hash::Digest,
        hold::HoldId,
        ids::{Partition, Place, PositionKey},
        movement::Command,
        recall::Recalled,
        refusal::{Refusal, Short},
        step::{Action, Change, Create, Elsewhere, Step, Wanted},
        time::{Micros, SECOND, Timestamp},
    },
    telemetry,
    writer::{patience::LATE_PAUSE, stores::Stores},
};

/// A checkpoint that stood at the head longer ago than this is too late to refuse anything.
pub(super) const AGE_US_MAX: Micros = SECOND;
/// How long a command waits that only other batches under way stand against, before it asks again.
pub(super) const CONTENDED_PAUSE: Duration = Duration::from_millis(5);

/// What a batch holds in Redis while it is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted {
    pub token: Token,
    /// Redis' clock before the batch began.
    pub at: Timestamp,
}

/// What Redis says of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// PostgreSQL decides.
    Go,
    /// Only batches under way stand against it.
    Contended,
    /// It cannot be granted, unless it was before.
    Short(Refusal),
}

/// What a step is about to claim at one place.
struct Wish<'s> {
    place: Place,
    lines: &'s [Wanted],
    policy: &'s Policy,
    own: Option<HoldId>,
    per_line: bool,
}

/// Asks Redis about the commands of a batch over one partition. Lines that do not fit are left out of
/// steps that allow it.
pub(super) async fn admit(
    stores: &Stores,
    partition: Partition,
    commands: &mut [&mut Command],
) -> (Vec<Judgement>, Option<Admitted>) {
    let mut judgements: Vec<_> = commands.iter().map(|_| Judgement::Go).collect();
    let recalled = Arc::clone(stores.ledger.directory().known().recalled());
    let mut owners = Vec::new();
    let mut wishes = Vec::new();
    let mut lines: Vec<Vec<ClaimLine>> = Vec::new();
    for (index, command) in commands.iter().enumerate() {
        for (number, step) in command.steps().iter().enumerate() {
            let wish = wish(step, &recalled).filter(|wish| wish.place.partition == partition);
            let Some(wish) = wish else { continue };
            let claimed = wish.lines(&stores.ledger.directory().known());
            if !claimed.is_empty() {
                owners.push((index, number));
                lines.push(claimed);
                wishes.push(wish);
            }
        }
    }
    if wishes.is_empty() {
        return (judgements, None);
    }
    let claims = wishes.iter().zip(&lines).map(|(wish, lines)| Claim {
        lines,
        own: wish.own,
        per_line: wish.per_line,
    });
    let claims: Vec<_> = claims.collect();
    let token = Token(ambient::random());
    let Some(judged) = judge(stores, partition, token, &claims).await else {
        telemetry::admission_skipped();
        return (judgements, None);
    };
    let Judged { checkpoint, at, verdicts } = judged;
    let took = verdicts.iter().any(|verdict| matches!(verdict, Verdict::Fits { .. }));
    for (&(index, number), verdict) in owners.iter().zip(verdicts) {
        let step = commands.get_mut(index).and_then(|command| command.steps_mut().get_mut(number));
        let (Some(step), Some(judgement)) = (step, judgements.get_mut(index)) else { continue };
        judgement.meet(match verdict {
            Verdict::Fits { short } => {
                leave_out(step, &short);
                Judgement::Go
            }
            Verdict::Unknown => Judgement::Go,
            Verdict::Contended if on(Mutant::ContendedRefused) => {
                Judgement::Short(Refusal::InsufficientStock { short: Vec::new() })
            }
            Verdict::Contended => Judgement::Contended,
            Verdict::Short { lines } => {
                let short = shorts(step, &lines, checkpoint.seq, &recalled);
                Judgement::Short(Refusal::InsufficientStock { short })
            }
        });
    }
    // A token that took nothing need not be given back.
    (judgements, took.then_some(Admitted { token, at }))
}

/// What Redis says, if it can.
async fn judge(
    stores: &Stores,
    partition: Partition,
    token: Token,
    claims: &[Claim<'_>],
) -> Option<Judged> {
    loop {
        let trust = Trust { epoch: stores.epoch(), age_us_max: AGE_US_MAX };
        let why = match stores.availability.admit(partition, token, claims, trust).await.ok()? {
            Admission::Judged(judged) => {
                stores.patience.is_worth_waiting(partition, None);
                return Some(judged);
            }
            Admission::Unusable(why) => why,
        };
        if !stores.patience.is_worth_waiting(partition, Some(why)) {
            return None;
        }
        tokio::time::sleep(LATE_PAUSE).await;
    }
}

/// Keys that are in the ledger already.
#[derive(Debug, Default)]
pub(super) struct KnownKeys(BTreeSet<(Place, Digest)>);

impl KnownKeys {
    /// Whether a command was carried out before: then it is answered as it was then.
    pub(super) fn covers(&self, command: &Command) -> bool {
        command.steps().iter().any(|step| self.0.contains(&(step.place, step.digest)))
    }
}

/// Which of the commands that are short were carried out before, by one read without a lock. One that
/// cannot be looked up goes to the ledger, which knows.
pub(super) async fn known(
    ledger: &Ledger,
    partition: Partition,
    commands: &[&mut Command],
    judgements: &[Judgement],
) -> KnownKeys {
    let judged = commands.iter().zip(judgements);
    let short = judged.filter(|(_, judgement)| matches!(judgement, Judgement::Short(_)));
    let steps: Vec<_> = short.flat_map(|(command, _)| command.steps()).collect();
    if steps.is_empty() || on(Mutant::ShortWithoutLookUp) {
        return KnownKeys::default();
    }
    let digests: Vec<_> = steps.iter().map(|step| step.digest).collect();
    match ledger.known_requests(partition, &digests).await {
        Ok(found) => {
            let posted = found.iter().filter(|request| request.posted);
            KnownKeys(posted.map(|request| (request.place, request.digest)).collect())
        }
        Err(_) => KnownKeys(steps.iter().map(|step| (step.place, step.digest)).collect()),
    }
}

impl Judgement {
    /// A command goes where all its steps go. A line that is short anywhere is told, however long
    /// another would have to wait.
    pub(super) fn meet(&mut self, other: Judgement) {
        match (&mut *self, other) {
            (_, Judgement::Go) => {}
            (
                Judgement::Short(Refusal::InsufficientStock { short }),
                Judgement::Short(Refusal::InsufficientStock { short: more }),
            ) => short.extend(more),
            (Judgement::Short(_), _) => {}
            (mine, other) => *mine = other,
        }
    }
}

impl Wish<'_> {
    /// What Redis is asked for: of positions with quotas it knows too little.
    fn lines(&self, known: &Known) -> Vec<ClaimLine> {
        let line = |line: &Wanted| {
            let key = PositionKey { place: self.place, item: line.item };
            ClaimLine { key, quantity: line.quantity, buffer: self.policy.buffer_at(key) }
        };
        self.lines.iter().map(line).filter(|line| !known.has_quotas(line.key)).collect()
    }
}

/// What a step is about to claim, if anything that the reservation layer could know of.
fn wish<'s>(step: &'s Step, recalled: &Recalled) -> Option<Wish<'s>> {
    let wish = match &step.action {
        Action::Create(create) if is_up_to_stock(step.place, create) => Wish {
            place: step.place,
            lines: &create.lines,
            policy: &create.terms.policy,
            own: create.hold,
            per_line: create.per_line,
        },
        Action::Change(_, Change::Amend { more, terms, .. }) => Wish {
            place: step.place,
            lines: more,
            policy: &terms.policy,
            own: None,
            per_line: false,
        },
        Action::Change(_, Change::Move(Elsewhere { to, more, terms })) => {
            Wish { place: *to, lines: more, policy: &terms.policy, own: None, per_line: false }
        }
        _ => return None,
    };
    // What nobody has heard of has no row: PostgreSQL says so at no cost.
    let known = wish.lines.iter().all(|line| !line.item.is_provisional() && line.stock_item);
    let up_to_stock = known && recalled.check(wish.lines).is_ok();
    (up_to_stock && !wish.lines.is_empty()).then_some(wish)
}

/// Whether nothing but the stock can stand against a new promise, as far as it can be seen without the
/// lock: what PostgreSQL would refuse for an earlier reason must not be told that stock is short.
fn is_up_to_stock(place: Place, create: &Create) -> bool {
    create.held_as.is_none()
        && create.hold.is_none_or(|hold| hold.place == place)
        && create.terms.check_place(place, ambient::now()).is_ok()
        && create.terms.check_ttl(create.ttl, false).is_ok()
        && create.terms.check_cap(place, &create.lines).is_ok()
}

fn leave_out(step: &mut Step, short: &[ShortLine]) {
    if let Action::Create(create) = &mut step.action
        && create.per_line
    {
        create.lines.retain(|line| !short.iter().any(|short| short.key.item == line.item));
    }
}

fn shorts(step: &Step, lines: &[ShortLine], version: i64, recalled: &Recalled) -> Vec<Short> {
    let Some(wish) = wish(step, recalled) else { return Vec::new() };
    let short = |line: &Wanted| {
        let short = lines.iter().find(|short| short.key.item == line.item)?;
        Some(Short::new(line, short.available, version, wish.policy))
    };
    wish.lines.iter().filter_map(short).collect()
}

/// Whatever was taken for several partitions.
pub(super) type Tokens = BTreeMap<Partition, Admitted>;
