//! The scripts compute what is available as the domain does.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use stockroom::{
    availability::admit::{Claim, ClaimLine, Verdict},
    stock::{
        policy::{Buffer, available},
        position::BALANCE_MAX,
    },
};

use super::layer::{Layer, claim, key, row, token};

/// Sellable, reserved, kept back.
type Case = (i64, i64, Buffer);

fn cases() -> Vec<Case> {
    let stocks = [-BALANCE_MAX, -1, 0, 1, 99, 100, 101, 12_345, BALANCE_MAX - 1, BALANCE_MAX];
    let buffers = [(0, 0), (1, 0), (0, 1), (0, 33), (0, 100), (7, 10), (BALANCE_MAX, 0)];
    let mut cases = Vec::new();
    for sellable in stocks {
        for reserved in [0, 1, 50, BALANCE_MAX] {
            for (units, percent) in buffers {
                cases.push((sellable, reserved, Buffer { units, percent }));
            }
        }
    }
    let mut random = ChaCha8Rng::seed_from_u64(rand::random());
    println!("random cases from {:?}", random.get_seed());
    while cases.len() < 2_000 {
        let bits = random.random_range(1..=53);
        let sellable = random.random_range(-(1i64 << bits) / 8..=1i64 << bits);
        let reserved = random.random_range(0..=sellable.max(0) / 2);
        let units = random.random_range(0..=sellable.max(0) / 8);
        cases.push((sellable, reserved, Buffer { units, percent: random.random_range(0..=100) }));
    }
    cases
}

#[tokio::test]
async fn lua_and_rust_agree_on_what_is_available() {
    for cases in cases().chunks(1_000) {
        let layer = Layer::empty().await;
        let numbered: Vec<_> = (1..).zip(cases).collect();
        let rows: Vec<_> = numbered
            .iter()
            .map(|&(item, &(sellable, reserved, _))| row(item, 5, sellable, reserved))
            .collect();
        layer.rebuild(super::layer::EPOCH, 10, &rows).await;
        layer.stamp(10).await;
        let lines: Vec<_> = numbered
            .iter()
            .map(|&(item, &(.., buffer))| {
                [ClaimLine { key: key(item), quantity: BALANCE_MAX, buffer }]
            })
            .collect();
        let claims: Vec<Claim<'_>> = lines.iter().map(|lines| claim(lines)).collect();
        let verdicts = layer.admit(token(), &claims).await.verdicts;
        for (&(sellable, reserved, buffer), verdict) in cases.iter().zip(verdicts) {
            let computed = match verdict {
                Verdict::Short { lines } => lines[0].available,
                Verdict::Fits { .. } => BALANCE_MAX,
                other => panic!("{other:?}"),
            };
            let expected = available(sellable, reserved, 0, buffer);
            assert_eq!(computed, expected, "{sellable} {reserved} {buffer:?}");
        }
    }
}
