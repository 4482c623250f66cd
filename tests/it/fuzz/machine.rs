//! Sequences of batches on the pure machine, against the oracle and the invariants: every twelve
//! bytes are a line, as in the properties of the machine.

use crate::{
    fuzz::{
        behaviours::Behaviours,
        runner::{Target, fuzz},
    },
    stock::{
        promises,
        properties::{self, Tally, World},
        strategy::{Genes, batches},
    },
};

/// Lines of one sequence.
const LINES_MAX: usize = 40;

fn lines(input: &[u8]) -> Vec<Genes> {
    input.as_chunks().0.iter().take(LINES_MAX).copied().collect()
}

fn look(world: &World, tally: &Tally, seen: &mut Behaviours) {
    tally.keys().for_each(|name| seen.saw(name));
    seen.paths(&world.memory);
}

/// Bytes to begin with.
fn ramps() -> Vec<Vec<u8>> {
    let ramp = |step: usize| (0..480).map(|at| (at * step % 251) as u8).collect();
    [1, 7, 31, 97].into_iter().map(ramp).collect()
}

#[test]
fn movements() {
    let target =
        Target { name: "movements", seeds: ramps(), words: &[], message: false, floor: 190 };
    fuzz(target, |input, seen| {
        let lines = lines(input);
        if lines.is_empty() {
            return;
        }
        let mut tally = Tally::new();
        let world = properties::drive(&batches(&lines), &mut tally);
        crate::stock::invariants::check(&world.memory, &world.oracle);
        look(&world, &tally, seen);
    });
}

#[test]
fn steps() {
    let target = Target { name: "steps", seeds: ramps(), words: &[], message: false, floor: 800 };
    fuzz(target, |input, seen| {
        let lines = lines(input);
        let (steps, movements) = lines.split_at(lines.len() / 2);
        if steps.is_empty() {
            return;
        }
        let mut tally = Tally::new();
        let world = promises::drive(steps, movements, &mut tally);
        look(&world, &tally, seen);
    });
}
