//! When sources were heard of, as far as this server knows: for the metrics only.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{ambient, telemetry, writer::Report};

/// A source that was silent for longer has left a gap.
const GAP_MIN: Duration = Duration::from_secs(5 * 60);
/// Who was heard of within this time counts as heard.
const HEARD_WITHIN: Duration = Duration::from_secs(15 * 60);
/// Whoever was silent for longer is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);
/// Sources that are remembered: more than a large retailer has tills.
const SOURCES_MAX: usize = 20_000;

/// When each source was heard of last. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources(Arc<Mutex<HashMap<String, Instant>>>);

impl Sources {
    /// Notes that a source reports, and how late what it reports is.
    pub(super) fn heard(&self, report: &Report) {
        let oldest = report.drafts.iter().filter_map(|draft| draft.occurred_at).min();
        if let Some(oldest) = oldest.filter(|occurred_at| occurred_at.is_storable()) {
            // Both by the clock of the source, where it tells.
            let now = report.sent_at.unwrap_or_else(ambient::now);
            telemetry::source_lagged(now.0.saturating_sub(oldest.0).max(0));
        }
        if let Some(gap) = self.note(&report.source, Instant::now()) {
            telemetry::source_returned(gap);
        }
    }

    /// How long the source was silent, where that was long.
    fn note(&self, source: &str, now: Instant) -> Option<Duration> {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = heard.get_mut(source) {
            let silent = now.saturating_duration_since(std::mem::replace(last, now));
            return Some(silent).filter(|silent| *silent > GAP_MIN);
        }
        if heard.len() < SOURCES_MAX {
            heard.insert(source.to_owned(), now);
        }
        None
    }

    /// Tells how many were heard of lately.
    pub(super) fn tell(&self) {
        telemetry::sources_heard(self.count(Instant::now()));
    }

    fn count(&self, now: Instant) -> usize {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.retain(|_, last| now.saturating_duration_since(*last) < FORGOTTEN_AFTER);
        let lately = |last: &&Instant| now.saturating_duration_since(**last) < HEARD_WITHIN;
        heard.values().filter(lately).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_silent_for_long_has_left_a_gap() {
        let (sources, begin) = (Sources::default(), Instant::now());
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(sources.note("till-1", begin), None);
        assert_eq!(sources.note("till-2", begin), None);
        assert_eq!(sources.note("till-1", after(300)), None);
        assert_eq!(sources.note("till-1", after(1_000)), Some(Duration::from_secs(700)));
        assert_eq!(sources.count(after(1_000)), 1, "till-2 was silent for longer");
        assert_eq!(sources.count(after(10 * 24 * 3_600)), 0);
        assert!(sources.0.lock().unwrap().is_empty(), "they are forgotten");
    }

    #[test]
    fn a_flood_of_names_is_bounded() {
        let (sources, now) = (Sources::default(), Instant::now());
        for number in 0..SOURCES_MAX + 10 {
            sources.note(&format!("till-{number}"), now);
        }
        assert_eq!(sources.count(now), SOURCES_MAX);
    }
}
