//! What holds of every sequence of movements and steps.

mod tally;

use std::{collections::BTreeMap, sync::Mutex, thread};

use proptest::{collection::vec, prelude::*};
use stockroom::stock::{
    draft::Draft,
    hold::HoldId,
    kind::Kind,
    machine::Outcome,
    movement::Command,
    refusal::Refusal,
    reservation::{Reservation, State},
    time::Timestamp,
};

use self::tally::{REACHED, count, count_sales};
use super::{
    invariants,
    network::{ITEMS, LOCATIONS, Line, Sent, command, grouped, resolve},
    properties::{Tally, World, run},
    steps::{Known, command as step_command},
    strategy::{Genes, NOW, SLOT, batches},
};

const SEQUENCES: u32 = 5_000;
const REACHED_MIN: usize = 100;

/// What a sale was made to name, by its key.
type Names = BTreeMap<String, Option<Reservation>>;

#[test]
fn every_sequence_of_movements_and_steps_does_what_the_oracle_says() {
    let tally = Mutex::new(Tally::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                run(SEQUENCES / 2, (long(48), long(36)), |(steps, movements)| {
                    let mut counted = Tally::new();
                    drive(&steps, &movements, &mut counted);
                    for (name, count) in counted {
                        *tally.lock().unwrap().entry(name).or_default() += count;
                    }
                });
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    let rare = |name: &&str| tally.get(*name).is_none_or(|&count| count < REACHED_MIN);
    let again = ["repeated", "repeated after a later step"];
    let rare: Vec<_> = REACHED.into_iter().chain(again).filter(rare).collect();
    assert!(rare.is_empty(), "reached too rarely: {rare:?} of {tally:?}");
}

/// Runs batches of both, compares every answer with the oracle's, and every way to split a batch.
pub fn drive(steps: &[Genes], movements: &[Genes], tally: &mut Tally) -> World {
    let mut world = World::default();
    stock_up(&mut world);
    let (mut sent, mut names) = (Vec::new(), Names::new());
    // There must be something promised before anything can be sold of it.
    let movements = [vec![Vec::new(); 2], batches(movements)].concat();
    let steps = cut(steps);
    for n in 0..movements.len().max(steps.len()) {
        let now = Timestamp(NOW.0 + n as i64 * SLOT);
        let mut promises: Vec<_> = world.memory.reservations.values().cloned().collect();
        promises.sort_by_key(|promise| (promise.created_at, promise.id));
        let known = Known { now, promises: &promises, sent: &sent };
        let steps = steps.get(n).map_or(&[][..], |steps| steps);
        let steps = steps.iter().map(|(number, genes)| step_command(*number, genes, &known));
        let steps: Vec<_> = steps.collect();
        let lines = movements.get(n).map_or(&[][..], |lines| lines).iter().map(|line| {
            let line = naming(line, &promises, &mut names);
            let resolved = resolve(&line, &world.memory);
            (line, resolved)
        });
        let lines: Vec<Line> = lines.collect();
        let before = world.memory.clone();
        let (commands, outcomes) = record(&mut world, now, &steps, &lines, n % 2 == 0, tally);
        let mut split = before;
        let alone = commands.chunks(1 + n % 3).flat_map(|part| split.record(now, part));
        assert_eq!(alone.collect::<Vec<_>>(), outcomes, "answers do not depend on the batch");
        assert_eq!(split, world.memory, "nor does what is written");
        sent.extend(steps);
    }
    invariants::check(&world.memory, &world.oracle);
    let versions = world.memory.versions.values().chain(world.memory.reservations.values());
    for version in versions {
        *tally.entry(version.state.name().to_owned()).or_default() += 1;
    }
    world
}

fn cut(steps: &[Genes]) -> Vec<Vec<(usize, Genes)>> {
    let mut batches = vec![Vec::new()];
    for (n, genes) in steps.iter().enumerate() {
        if genes[10] % 3 == 0 {
            batches.push(Vec::new());
        }
        batches.last_mut().unwrap().push((n, *genes));
    }
    batches
}

fn long(lines: usize) -> impl Strategy<Value = Vec<Genes>> {
    vec(any::<Genes>(), lines / 2..=lines)
}

/// Something to promise.
fn stock_up(world: &mut World) {
    let places = LOCATIONS.iter().map(|(location_id, _)| *location_id);
    let lines = places.flat_map(|location_id| {
        [0, 1].map(|item| Sent {
            source: "t0",
            draft: Draft {
                key: format!("stock-{item}"),
                kind: Kind::Receipt as i32,
                location_id: location_id.to_owned(),
                sku: ITEMS[item].0.to_owned(),
                quantity: 9,
                occurred_at: Some(Timestamp(NOW.0 - 60 * SLOT)),
                ..Draft::default()
            },
            broken: None,
        })
    });
    let lines: Vec<Line> =
        lines.map(|sent| (sent.clone(), resolve(&sent, &world.memory))).collect();
    world.record(NOW, &lines, &mut Tally::new());
}

/// Most sales name one of the last promises, where it is, and counts are of its item; a line that
/// is sent again names the same.
fn naming(line: &Sent, promises: &[Reservation], names: &mut Names) -> Sent {
    let mut line = line.clone();
    let sells = [Kind::Sale as i32, Kind::ShipOut as i32].contains(&line.draft.kind);
    let counts = line.draft.kind == Kind::Count as i32;
    let number: usize = line.draft.key.trim_start_matches('k').parse().unwrap_or(0);
    if !sells && !counts || number % 4 == 3 || line.broken.is_some() {
        return line;
    }
    let named = || {
        let open = promises.iter().rev().filter(|promise| {
            let aside =
                promise.lines.iter().any(|line| line.picked > line.collected + line.shelved);
            match number % 5 {
                0 => true,
                1 => [State::Held, State::Reserved, State::Picking].contains(&promise.state),
                _ => aside,
            }
        });
        open.take(3).nth(number % 3).cloned()
    };
    let Some(promise) = names.entry(line.draft.key.clone()).or_insert_with(named) else {
        return line;
    };
    let place = LOCATIONS.iter().find(|(_, place)| *place == promise.id.place).unwrap();
    let item = promise.lines[0].item;
    line.draft.location_id = place.0.to_owned();
    line.draft.sku = ITEMS.iter().find(|(_, known)| *known == item).unwrap().0.to_owned();
    if counts {
        return line;
    }
    if number.is_multiple_of(2) && line.draft.occurred_at.is_some() {
        line.draft.occurred_at = Some(Timestamp(NOW.0 - 25 * SLOT));
    }
    let hold = promise.held_as.map(|digest| HoldId { place: promise.id.place, digest }.to_string());
    match hold {
        Some(hold) => line.draft.hold_id = hold,
        None => {
            line.draft.reservation_id = promise.id.to_string();
            line.draft.hold_id =
                if number.is_multiple_of(2) { "h1".to_owned() } else { String::new() };
        }
    }
    line
}

fn record(
    world: &mut World,
    now: Timestamp,
    steps: &[Command],
    lines: &[Line],
    steps_first: bool,
    tally: &mut Tally,
) -> (Vec<Command>, Vec<Outcome>) {
    let movements: Vec<_> = grouped(lines).into_iter().filter_map(command).collect();
    let commands: Vec<_> = match steps_first {
        true => steps.iter().cloned().chain(movements).collect(),
        false => movements.into_iter().chain(steps.iter().cloned()).collect(),
    };
    let before = world.memory.clone();
    let outcomes = world.memory.record(now, &commands);
    let stepped: usize = steps.iter().map(Command::outcomes).sum();
    if steps_first {
        let (of_steps, of_lines) = outcomes.split_at(stepped);
        judge(world, now, steps, of_steps, tally);
        world.judge(now, lines, of_lines, tally);
    } else {
        let (of_lines, of_steps) = outcomes.split_at(outcomes.len() - stepped);
        world.judge(now, lines, of_lines, tally);
        judge(world, now, steps, of_steps, tally);
    }
    count_sales(&before, world, tally);
    (commands, outcomes)
}

/// Compares the outcomes of steps with what the oracle says.
fn judge(
    world: &mut World,
    now: Timestamp,
    commands: &[Command],
    outcomes: &[Outcome],
    tally: &mut Tally,
) {
    let mut rest = outcomes;
    for command in commands {
        let (told, others) = rest.split_at(command.outcomes());
        rest = others;
        let promises: Vec<_> = world.oracle.promises().cloned().collect();
        let keys = world.oracle.keys();
        let expected = match command {
            Command::Basket(steps) => world.oracle.basket(now, steps, told),
            _ => vec![world.oracle.step(now, &command.steps()[0], &told[0])],
        };
        let told: Vec<_> = told.iter().map(without_versions).collect();
        assert_eq!(told, expected, "{:?}", command.steps());
        for (step, told) in command.steps().iter().zip(&told) {
            let new = world.oracle.keys() > keys;
            let name = |name: &str| *tally.entry(name.to_owned()).or_default() += 1;
            count(step, told, new, now, &promises, matches!(command, Command::Basket(_)), name);
        }
    }
}

/// A version that a refusal rests on is the machine's to say.
fn without_versions(outcome: &Outcome) -> Outcome {
    match outcome {
        Outcome::Refused(Refusal::InsufficientStock { short }) => {
            let mut short = short.clone();
            short.iter_mut().for_each(|line| line.version = 0);
            Outcome::Refused(Refusal::InsufficientStock { short })
        }
        other => other.clone(),
    }
}
