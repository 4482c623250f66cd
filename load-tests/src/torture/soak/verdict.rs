//! Whether a series grows: by its trend, against a bound.

use std::fmt::Write as _;

use serde::Serialize;

use crate::stats::median;

/// Of the samples, the first ones are left out: caches fill, pools open their connections.
const WARM_UP: f64 = 0.25;
/// Fewer samples than this say nothing.
const SAMPLES_MIN: usize = 6;
/// A trend counts if chance alone would make it once in some hundred runs (Mann and Kendall's test).
const SIGNIFICANT: f64 = 2.6;
/// Of its bound, a growth that is worth a line.
const NEAR: f64 = 0.5;

/// Something that was looked at again and again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Series {
    pub name: String,
    pub unit: &'static str,
    pub bound: Bound,
    /// Seconds, and what was seen then.
    pub points: Vec<(f64, f64)>,
}

/// How much a series may grow from the end of the warming up to the end, by its trend.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Bound {
    /// This much anyhow: what noise and rounding may come to.
    pub units: f64,
    /// Or this share of its median, whichever is more.
    pub share: f64,
    /// Where a limit is known, such as that of a pool: however it comes there, it may not go beyond.
    pub limit: Option<f64>,
}

impl Bound {
    /// No known limit.
    pub(super) fn trend(units: f64, share: f64) -> Bound {
        Bound { units, share, limit: None }
    }

    /// A known one.
    pub(super) fn limit(limit: f64) -> Bound {
        Bound { units: 0.0, share: 0.0, limit: Some(limit) }
    }
}

/// What is said of a series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Verdict {
    pub name: String,
    pub unit: &'static str,
    /// After warming up.
    pub median: f64,
    /// By its trend, from the end of the warming up to the end.
    pub growth: f64,
    /// What it might have been; where there is a limit, that.
    pub bound: f64,
    /// Too few samples are no verdict.
    pub judged: bool,
    pub grows: bool,
}

/// Judges a series by the median of the slopes between all pairs of its points (Theil and Sen), which one
/// sample that is far out does not move.
pub(super) fn judge(series: &Series) -> Verdict {
    let from = (series.points.len() as f64 * WARM_UP).ceil() as usize;
    let points = series.points.get(from..).unwrap_or_default();
    let middle = median(&points.iter().map(|point| point.1).collect::<Vec<_>>());
    let bound = series.bound.units.max(series.bound.share * middle.abs());
    let lasting = points.last().map_or(0.0, |last| last.0 - points.first().map_or(0.0, |p| p.0));
    let pairs = || {
        let later = |at: usize| points.iter().skip(at + 1);
        points.iter().enumerate().flat_map(move |(at, one)| later(at).map(move |two| (one, two)))
    };
    let slopes = pairs().filter(|(one, two)| two.0 > one.0);
    let slopes = slopes.map(|(one, two)| (two.1 - one.1) / (two.0 - one.0));
    let growth = median(&slopes.collect::<Vec<_>>()) * lasting;
    let rises: f64 = pairs().map(|(one, two)| sign(two.1 - one.1)).sum();
    let judged = points.len() >= SAMPLES_MIN;
    let grows = match series.bound.limit {
        Some(limit) => points.iter().any(|point| point.1 > limit),
        None => growth > bound && rises > SIGNIFICANT * spread(points.len() as f64),
    };
    Verdict {
        name: series.name.clone(),
        unit: series.unit,
        median: middle,
        growth,
        bound: series.bound.limit.unwrap_or(bound),
        judged,
        grows: judged && grows,
    }
}

/// What grows, what cannot be judged and what comes near its bound, a line each.
pub(super) fn as_text(verdicts: &[Verdict]) -> String {
    let mut out = String::new();
    let told = |verdict: &&Verdict| {
        verdict.grows || !verdict.judged || verdict.growth > verdict.bound * NEAR
    };
    for verdict in verdicts.iter().filter(told) {
        let Verdict { name, unit, median, growth, bound, judged, grows } = verdict;
        let said = match (judged, grows) {
            (false, _) => "not judged",
            (_, true) => "GROWS",
            (_, false) => "flat",
        };
        let _ = writeln!(
            out,
            "{said:>10}  {name}: {growth:+.1} {unit} by its trend, bound {bound:.1}, median {median:.1}"
        );
    }
    let others = verdicts.iter().filter(|verdict| !told(verdict)).count();
    let _ = writeln!(out, "{:>10}  {others} others", "flat");
    out
}

/// Standard deviation of the sum of the signs of all differences, where only chance orders the samples.
fn spread(samples: f64) -> f64 {
    (samples * (samples - 1.0) * (2.0 * samples + 5.0) / 18.0).sqrt()
}

fn sign(difference: f64) -> f64 {
    if difference == 0.0 { 0.0 } else { difference.signum() }
}
