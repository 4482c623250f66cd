//! I1 for holds in memory.

use super::*;

/// So many of ten units are held from this second on.
fn held(scene: &mut Scene, second: i64, units: i64, durability: Durability) {
    let (key, hold) = (format!("held-{second}"), format!("h{second}"));
    let at = SECOND * second;
    if durability != Durability::Memory {
        scene.promise(&key, at, A, &[(X, units)]);
    }
    let answered = Answered::Held { hold, expires_us: 9 * SECOND, durability };
    let promise = wish(A, &[(X, units)]);
    scene.call(at, Asked::Hold { key, promise, ttl_us: 8 * SECOND }, answered);
}

#[test]
fn i1_holding_what_others_hold_is_caught() {
    let second = |units, effect: Option<Effect>| {
        let mut scene = opened();
        held(&mut scene, 1, 5, Durability::Memory);
        held(&mut scene, 2, units, Durability::Memory);
        effect.into_iter().for_each(|effect| scene.fault(effect));
        violated(&scene.finish())
    };
    assert_eq!(second(5, None), []);
    assert_eq!(second(6, None), [I1]);
    assert_eq!(second(6, Some(Effect::RedisRolledBack)), [I1], "it had not lost any yet");
}

#[test]
fn i1_a_hold_that_the_ledger_keeps_counts_once_and_knows_of_none_in_memory() {
    let second = |first, units, then| {
        let mut scene = opened();
        held(&mut scene, 1, 4, first);
        // By then everybody knows what the ledger has.
        held(&mut scene, 7, units, then);
        violated(&scene.finish()).contains(&I1)
    };
    assert!(!second(Durability::Ledger, 6, Durability::Memory));
    assert!(second(Durability::Ledger, 7, Durability::Memory));
    // Who does not reach Redis voids what it holds.
    assert!(!second(Durability::Memory, 7, Durability::Ledger));
    assert!(second(Durability::Memory, 11, Durability::Ledger), "that it would oversell");
}
