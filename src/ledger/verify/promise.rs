//! The fold of reservations, and of holds that the ledger keeps: how far each has come, worked out
//! from the entries that its steps left.

pub(super) mod compare;
mod rows;

use std::collections::BTreeMap;

use crate::{
    ledger::verify::{Stop, entry_name},
    stock::{
        entry::{Entry, Flags},
        hash::{Digest, StableHash},
        hold::HoldId,
        ids::{Partition, Seq},
        kind::{Kind, StockState},
        reservation::{ReservationId, State},
        time::Timestamp,
    },
};

/// The promises of one partition, by number.
#[derive(Default)]
pub(super) struct Promises {
    pub by_no: BTreeMap<Seq, Promise>,
    /// Those that were moved, and those that continue them, each with what their entries share.
    pub moved: Vec<(u128, ReservationId)>,
    pub continuing: Vec<(u128, ReservationId)>,
}

/// What one of them must look like.
pub(super) struct Promise {
    pub id: ReservationId,
    pub state: State,
    pub version: Seq,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
    pub channel: Option<i32>,
    /// The hold that it consumed, or is.
    pub hold: Option<Digest>,
    pub held: bool,
    pub lines: Vec<Line>,
    /// Versions before this one, each with the [`image`] of what it was.
    pub superseded: Vec<(Seq, i64)>,
    /// Whether its last step was its own, and not the making of a reservation from it.
    own_step: bool,
}

/// What one line must look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub item: i32,
    pub quantity: i64,
    pub picked: i64,
    pub collected: i64,
    pub shelved: i64,
}

impl Promises {
    /// Takes the next entry, if a step of a reservation left it.
    pub(super) fn take(&mut self, entry: &Entry<'_>) -> Result<(), Stop> {
        let Some(state) = entry.reservation_state else { return Ok(()) };
        let wrong = |problem: String| {
            Err(Stop::Differs(format!("{}: {problem}", entry_name(entry.partition, entry.seq))))
        };
        let Ok(id) = entry.reservation_id.parse::<ReservationId>() else {
            return wrong(format!("{:?} is no reservation", entry.reservation_id));
        };
        let first = !self.by_no.contains_key(&id.no);
        if first && (id.no != entry.seq || entry.kind != Kind::Reserve) {
            return wrong(format!("no entry made {id}"));
        }
        let secondary = entry.flags.has(Flags::SECONDARY);
        if first && secondary {
            self.continuing.push((request_of(entry), id));
        }
        let promise = self.by_no.entry(id.no).or_insert_with(|| Promise::new(id, entry, state));
        if promise.id != id || id.place != entry.position().place {
            return wrong(format!("{id} is another reservation"));
        }
        // Other entries of a step say what its first one said.
        if !first && (!secondary || promise.state != state) {
            promise.begin(entry, state);
            if state == State::Moved && entry.kind != Kind::Unpick {
                self.moved.push((request_of(entry), id));
            }
        }
        if promise.apply(entry) { Ok(()) } else { wrong(format!("{id} does not have that many")) }
    }

    /// What is promised of each position, by location and item.
    pub(super) fn reserved(&self) -> BTreeMap<(i32, i32), i64> {
        let mut reserved = BTreeMap::new();
        for promise in self.by_no.values().filter(|promise| is_open(promise.state)) {
            for line in &promise.lines {
                let position = (promise.id.place.location.0, line.item);
                *reserved.entry(position).or_default() += line.quantity - line.picked;
            }
        }
        reserved
    }
}

impl Promise {
    fn new(id: ReservationId, entry: &Entry<'_>, state: State) -> Promise {
        Promise {
            id,
            state,
            version: entry.seq,
            created_at: entry.recorded_at,
            changed_at: entry.recorded_at,
            channel: entry.channel.map(|channel| channel.0),
            hold: entry.hold_id.parse().ok().map(|hold: HoldId| hold.digest),
            held: state == State::Held,
            lines: Vec::with_capacity(1),
            superseded: Vec::new(),
            own_step: true,
        }
    }

    fn begin(&mut self, entry: &Entry<'_>, state: State) {
        let before = image(self.version, self.state, self.changed_at, self.lines.iter().copied());
        self.superseded.push((self.version, before));
        (self.version, self.state, self.changed_at) = (entry.seq, state, entry.recorded_at);
        self.own_step = !entry.flags.has(Flags::SECONDARY);
    }

    /// Whether the line has what the entry takes from it.
    fn apply(&mut self, entry: &Entry<'_>) -> bool {
        let (item, quantity) = (entry.item.0, entry.quantity);
        let known = self.lines.iter().position(|line| line.item == item);
        let (amended, doubtful) = (self.is_amended(), entry.flags.has(Flags::DOUBTFUL));
        if known.is_none() && entry.kind == Kind::Reserve {
            self.lines.push(Line { item, quantity, ..Line::default() });
            return true;
        }
        let Some(line) = known.and_then(|index| self.lines.get_mut(index)) else {
            return entry.kind == Kind::Step;
        };
        let requested = entry.flags.has(Flags::REQUEST);
        let aside = line.picked - line.collected - line.shelved;
        let from = entry.states.map(|(from, _)| from);
        match entry.kind {
            Kind::Reserve => line.quantity += quantity,
            Kind::Release if doubtful || amended => line.quantity -= quantity,
            Kind::Pick => line.picked += quantity,
            Kind::Unpick if requested => line.shelved += quantity,
            // What a sale of more than was aside took from there.
            Kind::Unpick => line.collected += quantity,
            Kind::Sale | Kind::ShipOut if from == Some(StockState::Staged) => {
                line.collected += if requested { quantity } else { quantity.min(aside) };
            }
            Kind::Sale | Kind::ShipOut => {
                line.picked -= entry.reserved_change;
                line.collected -= entry.reserved_change;
            }
            _ => {}
        }
        let Line { quantity, picked, collected, shelved, .. } = *line;
        // Of what was not found the line stays and says so.
        if entry.kind == Kind::Release && amended && !doubtful && quantity == 0 {
            self.lines.retain(|line| line.item != item);
        }
        collected >= 0 && shelved >= 0 && collected + shelved <= picked && picked <= quantity
    }

    /// Whether what its step releases is no longer part of it; at the end of a promise it is.
    fn is_amended(&self) -> bool {
        let amended_to_the_end = match self.state {
            State::Collected => true,
            State::Consumed => self.own_step,
            _ => false,
        };
        is_open(self.state) || amended_to_the_end
    }
}

/// Everything of a version that the entries tell, as a hash: there may be many.
pub(super) fn image(
    version: Seq,
    state: State,
    changed_at: Timestamp,
    lines: impl Iterator<Item = Line>,
) -> i64 {
    let mut hash = StableHash::new("image");
    [version, state as i64, changed_at.0].into_iter().for_each(|number| hash.number(number));
    for line in lines {
        let Line { item, quantity, picked, collected, shelved } = line;
        hash.number(i64::from(item));
        [quantity, picked, collected, shelved].into_iter().for_each(|units| hash.number(units));
    }
    hash.finish_i64()
}

/// The same for the entries of one request, wherever they are.
fn request_of(entry: &Entry<'_>) -> u128 {
    let mut hash = StableHash::new("request_of");
    hash.number(i64::from(entry.source.0));
    hash.text(&entry.key);
    hash.number(entry.fingerprint);
    hash.number(entry.recorded_at.0);
    hash.finish_u128()
}

fn is_open(state: State) -> bool {
    [State::Reserved, State::Picking, State::Ready, State::Held].contains(&state)
}

fn reservation_name(Partition(partition): Partition, no: Seq) -> String {
    format!("reservation partition={partition} no={no}")
}
