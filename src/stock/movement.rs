//! A movement as the machine takes it.

use crate::stock::{
    draft::Draft,
    hash::Digest,
    ids::{ChannelNo, ItemNo, Place, SourceNo},
    kind::Kind,
    step::{Action, Step},
    time::Micros,
};

/// A movement that kept the static rules and whose names are resolved: what the machine takes.
#[derive(Clone, Debug)]
pub struct Movement {
    /// As it was sent.
    pub draft: Draft,
    /// Who decided, where it was not the source itself; empty: nobody else.
    pub actor: String,
    /// Digest of source and key.
    pub digest: Digest,
    /// [`Draft::fingerprint`].
    pub fingerprint: i64,
    /// Who sent it.
    pub source: SourceNo,
    /// What happened.
    pub kind: Kind,
    /// Where.
    pub place: Place,
    /// Where a transfer goes.
    pub to_place: Option<Place>,
    /// Which item.
    pub item: ItemNo,
    /// Whether stock is kept of the item.
    pub stock_item: bool,
    /// Whether it is about what is sellable, if that is less than its quantity.
    pub up_to: bool,
    /// Through which channel.
    pub channel: Option<ChannelNo>,
    /// What to add to `occurred_at`: how far the source's clock is behind the ledger's.
    pub clock_offset: Micros,
    /// What it refers to.
    pub original: Option<Original>,
    /// Whether the reservation layer is sure that it never had the hold that this names, or has
    /// finished it.
    pub hold_unknown: bool,
    /// Whether the hold or reservation that this names does not exist for its sender: then it is as if
    /// there were none.
    pub promise_unseen: bool,
}

/// Where to look for what a movement refers to.
#[derive(Clone, Copy, Debug)]
pub struct Original {
    /// Digest of its source and key.
    pub digest: Digest,
    /// Where it was found before the machine ran; `None`: look at the movement's own location.
    pub place: Option<Place>,
    /// Where its other half is, if it is a transfer or a linked return.
    pub counter_place: Option<Place>,
}

/// What is decided as one: movements that are posted together or not at all, or steps.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every command is one movement, by value")]
pub enum Command {
    /// On its own.
    One(Movement),
    /// A group, such as an exchange.
    Group(Vec<Movement>),
    /// What is left of a group of which a line was refused already: judged, and not posted.
    Spoiled(Vec<Movement>),
    /// A step of a reservation.
    Step(Box<Step>),
    /// Steps at several locations that are all taken or none.
    Basket(Vec<Step>),
}

impl Command {
    /// Whether it asks for a new promise.
    pub fn asks_for_stock(&self) -> bool {
        self.steps().iter().any(|step| matches!(step.action, Action::Create(_)))
    }

    /// Its movements, in order.
    pub fn movements(&self) -> &[Movement] {
        match self {
            Command::One(movement) => std::slice::from_ref(movement),
            Command::Group(movements) | Command::Spoiled(movements) => movements,
            Command::Step(_) | Command::Basket(_) => &[],
        }
    }

    /// Its steps, in order.
    pub fn steps(&self) -> &[Step] {
        match self {
            Command::Step(step) => std::slice::from_ref(step),
            Command::Basket(steps) => steps,
            _ => &[],
        }
    }

    /// Its steps, in order.
    pub fn steps_mut(&mut self) -> &mut [Step] {
        match self {
            Command::Step(step) => std::slice::from_mut(step),
            Command::Basket(steps) => steps,
            _ => &mut [],
        }
    }

    /// How many outcomes it has.
    pub fn outcomes(&self) -> usize {
        self.movements().len() + self.steps().len()
    }

    /// How many movements and lines it has, each of which costs about as much as any other.
    pub fn rows(&self) -> usize {
        let lines = self.steps().iter().map(|step| step.wanted().1.len().max(1));
        self.movements().len() + lines.sum::<usize>()
    }

    /// Every place whose ledger it may write to or must read under lock.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let movements = self.movements().iter().flat_map(Movement::places);
        movements.chain(self.steps().iter().flat_map(Step::places))
    }

    /// Its movements, in order.
    pub fn movements_mut(&mut self) -> &mut [Movement] {
        match self {
            Command::One(movement) => std::slice::from_mut(movement),
            Command::Group(movements) | Command::Spoiled(movements) => movements,
            Command::Step(_) | Command::Basket(_) => &mut [],
        }
    }

    /// Its movements, in order.
    pub fn into_movements(self) -> Vec<Movement> {
        match self {
            Command::One(movement) => vec![movement],
            Command::Group(movements) | Command::Spoiled(movements) => movements,
            Command::Step(_) | Command::Basket(_) => Vec::new(),
        }
    }
}

impl Movement {
    /// Every place whose ledger this movement may write to or must read under lock.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let original = self.original.as_ref();
        [
            Some(self.place),
            self.to_place,
            original.and_then(|original| original.place),
            original.and_then(|original| original.counter_place),
        ]
        .into_iter()
        .flatten()
    }
}
