use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{
    plan,
    schedule::Kind,
    verdict::{Bound, Series, as_text, judge},
    *,
};

/// Two minutes of ten-second samples of something with noise of 5 %.
fn series(samples: usize, at: impl Fn(f64) -> f64) -> Series {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut noise = || rng.random_range(0.95..1.05);
    let points = (0..samples).map(|sample| {
        let second = sample as f64 * 10.0;
        (second, at(second) * noise())
    });
    let bound = Bound::trend(8.0, 0.1);
    Series { name: "memory".to_owned(), unit: "MiB", bound, points: points.collect() }
}

#[test]
fn a_series_that_leaks_is_found() {
    let verdict = judge(&series(120, |second| 100.0 + second * 0.03));
    assert!(verdict.grows, "{verdict:?}");
    assert!((20.0..34.0).contains(&verdict.growth), "{verdict:?}");
    assert!(as_text(&[verdict]).contains("GROWS  memory"));
}

#[test]
fn a_series_that_is_flat_but_noisy_is_not() {
    assert!(!judge(&series(120, |_| 100.0)).grows);
    let spikes = |second: f64| if second as u64 % 300 == 200 { 400.0 } else { 100.0 };
    assert!(!judge(&series(120, spikes)).grows, "what comes and goes");
    let teeth = |second: f64| 100.0 + (second as u64 % 120) as f64;
    assert!(!judge(&series(120, teeth)).grows, "what is cleared away again and again");
}

#[test]
fn what_fills_at_the_beginning_is_not_growth() {
    let fills = |second: f64| 100.0 + second.min(290.0);
    assert!(!judge(&series(120, fills)).grows);
}

#[test]
fn what_has_a_limit_may_come_near_it_but_not_go_beyond() {
    let limited =
        |limit| Series { bound: Bound::limit(limit), ..series(120, |second| 50.0 + second / 60.0) };
    assert!(!judge(&limited(75.0)).grows);
    assert!(judge(&limited(65.0)).grows);
}

#[test]
fn a_few_samples_are_no_verdict() {
    let verdict = judge(&series(7, |second| 100.0 + second));
    assert!(!verdict.judged && !verdict.grows, "{verdict:?}");
    assert!(!judge(&series(0, |_| 0.0)).judged);
}

#[test]
fn every_kind_of_fault_comes_and_none_kills_the_first_server() {
    let args = SoakArgs {
        duration: 1_200,
        fault_every: 30,
        seed: 1,
        rate: None,
        out: PathBuf::new(),
        keep: false,
    };
    let plan = plan(&args, Duration::from_secs(1_140));
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::FullVolume) {
        assert!(plan.iter().any(|fault| fault.kind == kind), "{kind:?} never happens");
    }
    assert!(plan.iter().all(|fault| (1..3).contains(&fault.server)));
    assert!(plan.iter().all(|fault| fault.at < Duration::from_secs(1_080)));
}
