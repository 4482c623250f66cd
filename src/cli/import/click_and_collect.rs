//! Click and collect: some baskets of a file as reservations, on a compressed clock.
//!
//! Which baskets, and what becomes of each, follows from the number of the basket alone (`fate`). A
//! shop does everything in the order of its time (`plan`), so that what is refused does not depend
//! on how fast the machine is.
mod audit;
mod calls;
mod clock;
mod fate;
mod plan;
mod report;
mod shop;

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use clap::builder::RangedU64ValueParser;
use futures::{TryStreamExt as _, stream::FuturesUnordered};
use indicatif::ProgressBar;
use tokio::sync::SetOnce;

use self::{
    calls::{Calls, Promise},
    clock::Clock,
    fate::Became,
    shop::Shop,
};
pub(super) use self::{plan::Plan, report::Report};
use super::{
    feed::Feed,
    retry::Patience,
    send::{Connections, SendError},
    tally::Tally,
};
use crate::api::proto::Reservation;

/// Through which the reservations are made.
const CHANNEL: &str = "web";

/// Whether and how a file's baskets become reservations.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct ClickAndCollect {
    /// Sends one basket of ten through ReservationService instead of as sales.
    #[arg(long, conflicts_with_all = ["shuffle", "duplicate"])]
    pub click_and_collect: bool,
    /// So many seconds of the file pass in one second, at most; the seven days within which a
    /// reservation is to be collected shrink with them, which is why there are no more than fit
    /// into seven days.
    #[arg(long, default_value_t = 300_000, value_name = "TIMES", requires = "click_and_collect")]
    #[arg(value_parser = RangedU64ValueParser::<u32>::new().range(1..=604_800))]
    pub compress: u32,
}

impl ClickAndCollect {
    /// Lets customers reserve through a channel of its own, and collect everywhere.
    pub(super) fn of(self, mut feed: Feed) -> Feed {
        if self.click_and_collect {
            for location in &mut feed.locations {
                location.pickup_enabled = true;
            }
            feed.channels.push(CHANNEL.to_owned());
            feed.compress = Some(self.compress);
        }
        feed
    }
}

/// What the shops share while they are at it.
struct Replay<'a> {
    plan: &'a Plan,
    feed: &'a Feed,
    calls: Calls<'a>,
    clock: Clock,
    /// One per order of the plan.
    states: Vec<State>,
    /// The longest time from a deadline to the end of the promise, in microseconds.
    expired_late_max: AtomicI64,
    progress: &'a ProgressBar,
}

/// How far an order is.
#[derive(Default)]
struct State {
    stage: Mutex<Stage>,
    /// The other shop of a move has done everything that comes before it.
    awaited: SetOnce<()>,
    /// The first shop has done its part.
    settled: SetOnce<()>,
}

#[derive(Clone, Default)]
enum Stage {
    #[default]
    Before,
    Promised(Promise),
    Done(Became),
}

impl State {
    fn stage(&self) -> Stage {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }
}

/// Sends all lines, those of the plan's orders as reservations, and looks what became of them.
///
/// # Errors
/// When the server refuses what it should take or stays away, or when a promise does not end.
pub(super) async fn replay(
    connections: &Connections,
    feed: &Feed,
    plan: &Plan,
    compress: u32,
    patience: &Patience,
    progress: &ProgressBar,
) -> Result<(Tally, Report), SendError> {
    patience.progressed();
    let shop_count = u32::try_from(plan.agendas.len()).unwrap_or(u32::MAX);
    let replay = Replay {
        plan,
        feed,
        calls: Calls::new(connections, patience, compress),
        clock: Clock::start(plan.starts_at, compress, shop_count),
        states: plan.orders.iter().map(|_| State::default()).collect(),
        expired_late_max: AtomicI64::new(0),
        progress,
    };
    let shops = (0..shop_count).map(|number| Shop::new(&replay, number).run());
    let add = |(mut tally, sold): (Tally, i64), (other, units): (Tally, i64)| async move {
        tally.merge(other);
        Ok((tally, sold + units))
    };
    let shops: FuturesUnordered<_> = shops.collect();
    let (tally, sold) = shops.try_fold((Tally::default(), 0), add).await?;
    let standing = audit::standing(&replay.calls, feed).await?;
    Ok((tally, Report::new(&replay, sold, standing)))
}

impl Replay<'_> {
    /// Notes how long after its deadline the promise ended.
    fn expired(&self, reservation: &Reservation) {
        let micros = |time: Option<prost_types::Timestamp>| {
            time.map_or(0, |time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000)
        };
        let late = micros(reservation.changed_at) - micros(reservation.expires_at);
        self.expired_late_max.fetch_max(late, Ordering::Relaxed);
    }
}
