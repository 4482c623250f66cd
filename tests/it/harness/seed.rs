//! The seed of what a test leaves to chance.
#![expect(clippy::disallowed_methods, reason = "a developer may repeat a seed")]

use std::{env, sync::OnceLock, time::SystemTime};

/// The seed of this run: from the clock, or the one that STOCKROOM_TEST_SEED repeats. It is printed,
/// which shows when a test fails.
pub fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    let seed = *SEED.get_or_init(|| match env::var("STOCKROOM_TEST_SEED") {
        Ok(seed) => seed.parse().expect("STOCKROOM_TEST_SEED is a number"),
        Err(_) => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            now.expect("it is after 1970").as_nanos() as u64
        }
    });
    println!("STOCKROOM_TEST_SEED={seed}");
    seed
}
