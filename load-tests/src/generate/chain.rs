//! The chain itself: its calendar, and how its shops, items and baskets are distributed.
use anyhow::Context as _;
use jiff::{
    ToSpan as _,
    civil::{Date, Weekday, date},
    tz::TimeZone,
};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// In the past whenever this runs, so that every fact takes effect when it occurred.
const FIRST_DAY: Date = date(2024, 1, 1);
const DAYS: u16 = 366;
const TIME_ZONE: &str = "Europe/Paris";
const OPENS_AT_HOUR: i8 = 8;
/// From 8:00 to 21:00.
const OPEN_SECONDS: u32 = 13 * 3_600;
/// The first shop has no network on Saturdays from 12:00 to 20:00.
const OFFLINE_SHOP: u32 = 0;
const OFFLINE_SECONDS: std::ops::Range<u32> = 4 * 3_600..12 * 3_600;

/// When something happened, in business time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub(super) day: u16,
    /// Since the shops opened.
    pub(super) second: u32,
}

struct Day {
    opens_at: i64,
    offset_minutes: i32,
    saturday: bool,
}

/// The chain and its dice. Only whole numbers are drawn and compared, so that a seed means the same
/// on every machine.
pub(super) struct Chain {
    pub(super) random: ChaCha8Rng,
    days: Vec<Day>,
    busy: Weights,
    shops: Weights,
    items: Weights,
}

impl Chain {
    pub(super) fn new(seed: u64, shops: u32, items: u32) -> anyhow::Result<Self> {
        let zone = TimeZone::get(TIME_ZONE)
            .with_context(|| format!("the time zone `{TIME_ZONE}` is unknown, install tzdata"))?;
        let mut days = Vec::with_capacity(usize::from(DAYS));
        for day in 0..DAYS {
            let date = FIRST_DAY.checked_add(i64::from(day).days())?;
            let opens = date.at(OPENS_AT_HOUR, 0, 0, 0).to_zoned(zone.clone())?;
            days.push(Day {
                opens_at: opens.timestamp().as_second(),
                offset_minutes: opens.offset().seconds() / 60,
                saturday: date.weekday() == Weekday::Saturday,
            });
        }
        let busy = days.iter().map(|day| if day.saturday { 3 } else { 2 });
        Ok(Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            busy: Weights::new(busy),
            shops: Weights::falling(shops, 10),
            // With 60,000 items the first has 0.6 % of all lines.
            items: Weights::falling(items, 20),
            days,
        })
    }

    pub(super) fn shop(&mut self) -> u32 {
        self.shops.draw(&mut self.random)
    }

    pub(super) fn another_shop(&mut self, than: u32) -> u32 {
        let count = self.shops.len();
        (than + self.random.random_range(1..count)) % count
    }

    pub(super) fn item(&mut self) -> u32 {
        self.items.draw(&mut self.random)
    }

    pub(super) fn shop_count(&self) -> u32 {
        self.shops.len()
    }

    pub(super) fn item_count(&self) -> u32 {
        self.items.len()
    }

    pub(super) fn moment(&mut self) -> Moment {
        let day = self.busy.draw(&mut self.random);
        let second = self.random.random_range(0..OPEN_SECONDS);
        Moment { day: u16::try_from(day).unwrap_or_default(), second }
    }

    /// Some days after `moment`, or later on the last day of the year.
    pub(super) fn later(&mut self, moment: Moment, days: std::ops::RangeInclusive<u16>) -> Moment {
        let day = (moment.day + self.random.random_range(days)).min(DAYS - 1);
        let first = if day == moment.day { moment.second } else { 0 };
        Moment { day, second: self.random.random_range(first..OPEN_SECONDS) }
    }

    /// Seconds since 1970.
    pub(super) fn seconds(&self, moment: Moment) -> i64 {
        self.days[usize::from(moment.day)].opens_at + i64::from(moment.second)
    }

    pub(super) fn offset_minutes(&self, moment: Moment) -> i32 {
        self.days[usize::from(moment.day)].offset_minutes
    }

    /// When a fact of a shop that has no network at that moment is delivered.
    pub(super) fn delivered_later(&self, shop: u32, moment: Moment) -> Option<Moment> {
        let offline = shop == OFFLINE_SHOP
            && self.days[usize::from(moment.day)].saturday
            && OFFLINE_SECONDS.contains(&moment.second);
        offline.then_some(Moment { second: OFFLINE_SECONDS.end, ..moment })
    }

    /// Lines of one basket: half of all have at most 5, nine in ten at most 24, one in a hundred
    /// more than 59, none more than 161; 9.4 on average.
    pub(super) fn basket_lines(&mut self) -> u32 {
        // From which size to which, and how much the smaller ones are preferred.
        let (least, most, bend) = match self.random.random_range(0..100) {
            0..50 => (1, 5, 1),
            50..90 => (5, 24, 2),
            90..99 => (24, 59, 2),
            _ => (59, 161, 1),
        };
        let mut size = most - least;
        for _ in 0..bend {
            size = self.random.random_range(0..=size);
        }
        least + size
    }

    /// True in so many of a thousand cases.
    pub(super) fn per_mille(&mut self, cases: u32) -> bool {
        self.random.random_range(0..1_000) < cases
    }
}

/// Draws numbers from 0 on with given weights.
struct Weights {
    sums: Vec<u64>,
}

impl Weights {
    fn new(weights: impl Iterator<Item = u64>) -> Self {
        let sums = weights.scan(0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { sums: sums.collect() }
    }

    /// Number n has the weight 1 / (n + flatness).
    fn falling(count: u32, flatness: u64) -> Self {
        Self::new((0..u64::from(count)).map(|number| (1 << 40) / (number + flatness)))
    }

    fn draw(&self, random: &mut ChaCha8Rng) -> u32 {
        let total = self.sums.last().copied().unwrap_or(1);
        let drawn = random.random_range(0..total);
        let number = self.sums.partition_point(|sum| *sum <= drawn);
        u32::try_from(number).unwrap_or_default()
    }

    fn len(&self) -> u32 {
        u32::try_from(self.sums.len()).unwrap_or(u32::MAX)
    }
}
