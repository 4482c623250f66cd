//! What the server says about all reservations, when everything is over.
use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};

use super::calls::Calls;
use crate::{
    api::proto::{Reservation, ReservationState},
    cli::import::{feed::Feed, send::SendError},
};

const LISTS_AT_ONCE_MAX: usize = 32;

/// How the reservations of a ledger stand.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// By name of their state.
    pub(super) by_state: BTreeMap<&'static str, u64>,
    /// Those that are not in a final state.
    pub(super) open: u64,
    /// Units that were set aside, and neither handed over nor returned to the shelf.
    pub(super) aside: i64,
}

/// Asks shop by shop.
pub(super) async fn standing(calls: &Calls<'_>, feed: &Feed) -> Result<Standing, SendError> {
    let shops = 0..u32::try_from(feed.locations.len()).unwrap_or(u32::MAX);
    let lists = shops.map(|shop| async move {
        let location_id = feed.lines.location_id(shop);
        calls.list(shop, location_id).await
    });
    let lists = futures::stream::iter(lists).buffer_unordered(LISTS_AT_ONCE_MAX);
    let add = |mut standing: Standing, list: Vec<Reservation>| async move {
        list.iter().for_each(|reservation| standing.add(reservation));
        Ok(standing)
    };
    lists.try_fold(Standing::default(), add).await
}

impl Standing {
    fn add(&mut self, reservation: &Reservation) {
        use ReservationState::{Cancelled, Collected, Expired, Moved, Rejected};
        let state = reservation.state();
        let name = state.as_str_name().trim_start_matches("RESERVATION_STATE_");
        *self.by_state.entry(name).or_default() += 1;
        let over = matches!(state, Collected | Cancelled | Rejected | Expired | Moved);
        self.open += u64::from(!over);
        let aside =
            reservation.lines.iter().map(|line| line.picked - line.collected - line.shelved);
        self.aside += aside.sum::<i64>();
    }
}
