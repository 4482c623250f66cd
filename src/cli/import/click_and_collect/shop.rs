//! One shop at its work: its sales, and its errands in between.
use super::{
    Replay, Stage, State,
    calls::{Answer, Promise},
    fate::{Became, Fate},
    plan::{Errand, Order, What},
};
use crate::{
    api::proto::{
        Line, Movement, MovementKind, MovementRef, MovementStatus, PickedLine, Reservation,
        ReservationState,
    },
    cli::import::{send::SendError, tally::Tally},
};

/// The most that the contract allows in one message.
const MESSAGE_LINES_MAX: usize = 1_000;
/// Why there were fewer: the units are written off.
const NOT_FOUND: &str = "not_found";

/// A shop and what it counts.
pub(super) struct Shop<'a> {
    replay: &'a Replay<'a>,
    number: u32,
    tally: Tally,
    /// Units of the sales that are in the ledger, those of orders left out.
    sold: i64,
}

impl<'a> Shop<'a> {
    /// By number of the location.
    pub(super) fn new(replay: &'a Replay<'a>, number: u32) -> Self {
        Self { replay, number, tally: Tally::default(), sold: 0 }
    }

    /// Does everything on its agenda; counts its sales.
    pub(super) async fn run(mut self) -> Result<(Tally, i64), SendError> {
        let replay = self.replay;
        let agenda = &replay.plan.agendas[self.number as usize];
        let mut done = 0;
        for errand in &agenda.errands {
            self.sell(&agenda.sales[done..errand.sales_before]).await?;
            done = errand.sales_before;
            replay.clock.wait(self.number, errand.at).await;
            self.go(errand).await?;
        }
        self.sell(&agenda.sales[done..]).await?;
        replay.clock.leave(self.number);
        Ok((self.tally, self.sold))
    }

    async fn sell(&mut self, lines: &[usize]) -> Result<(), SendError> {
        let feed = self.replay.feed.lines.as_ref();
        for lines in lines.chunks(MESSAGE_LINES_MAX) {
            if let Some(basket) = lines.last().and_then(|&line| feed.basket(line)) {
                self.replay.clock.wait(self.number, basket.at).await;
            }
            let movements = lines.iter().map(|&line| feed.movement(line)).collect();
            self.sold += self.report(movements).await?;
        }
        Ok(())
    }

    /// Reports sales of lines of the file; the units that were recorded.
    async fn report(&mut self, movements: Vec<Movement>) -> Result<i64, SendError> {
        let replay = self.replay;
        let quantities: Vec<i64> = movements.iter().map(|movement| movement.quantity).collect();
        let source = &replay.feed.lines.sources()[0];
        let results = replay.calls.record(self.number, source, movements).await?;
        let mut units = 0;
        for (quantity, result) in quantities.iter().zip(&results) {
            if !self.tally.count(MovementKind::Sale, result, false) {
                return Err(SendError::NoReason { key: result.key.clone() });
            }
            let recorded = result.status() != MovementStatus::Rejected;
            units += if recorded { *quantity } else { 0 };
        }
        replay.progress.inc(results.len() as u64);
        Ok(units)
    }

    async fn go(&mut self, errand: &Errand) -> Result<(), SendError> {
        let replay = self.replay;
        let order = &replay.plan.orders[errand.order];
        let state = &replay.states[errand.order];
        match errand.what {
            What::Reserve => self.reserve(order, state).await,
            What::Move => {
                state.awaited.wait().await;
                if let Stage::Promised(promise) = state.stage() {
                    state.set(self.move_on(order, promise).await?);
                }
                settle(state);
                Ok(())
            }
            What::AwaitMove => {
                let _ = state.awaited.set(());
                state.settled.wait().await;
                Ok(())
            }
            What::TakeBack => {
                state.settled.wait().await;
                if let Stage::Done(Became::Sold) = state.stage() {
                    self.take_back(order).await?;
                    state.set(Stage::Done(Became::Returned));
                }
                Ok(())
            }
            What::Pick | What::HandOver | What::Cancel | What::Shelve => {
                if let Stage::Promised(promise) = state.stage()
                    && promise.shop == self.number
                {
                    let stage = match errand.what {
                        What::Pick => self.pick(order, promise).await?,
                        What::HandOver => self.hand_over(order, &promise).await?,
                        What::Cancel => self.cancel(order, &promise).await?,
                        _ => self.shelve(order, &promise).await?,
                    };
                    state.set(stage);
                }
                if errand.what == What::HandOver && order.fate == Fate::Return {
                    settle(state);
                }
                Ok(())
            }
        }
    }

    async fn reserve(&self, order: &Order, state: &State) -> Result<(), SendError> {
        let replay = self.replay;
        let line = |movement: Movement| Line { sku: movement.sku, quantity: movement.quantity };
        let lines = self.movements(order).map(line).collect();
        let customer = (order.basket.id, order.basket.household);
        let made = replay.calls.reserve(self.number, self.location(self.number), customer, lines);
        state.set(match made.await? {
            Answer::Done(made) => Stage::Promised(promise(*made, self.number, None)),
            Answer::Short | Answer::WrongState => Stage::Done(Became::Refused),
        });
        replay.progress.inc(order.lines.len() as u64);
        Ok(())
    }

    async fn move_on(&self, order: &Order, old: Promise) -> Result<Stage, SendError> {
        let to = self.location(order.other);
        match self.replay.calls.move_to(self.number, order.basket.id, &old, to).await? {
            Answer::Done(new) => Ok(Stage::Promised(promise(*new, order.other, Some(true)))),
            Answer::Short => Ok(Stage::Promised(Promise { moved: Some(false), ..old })),
            Answer::WrongState => self.lapsed(order, &old).await,
        }
    }

    /// One unit of the first line is missing where that is the fate of the order.
    async fn pick(&self, order: &Order, promise: Promise) -> Result<Stage, SendError> {
        let (calls, basket) = (&self.replay.calls, order.basket.id);
        if !matches!(calls.start_picking(self.number, basket, &promise).await?, Answer::Done(_)) {
            return self.lapsed(order, &promise).await;
        }
        let short = self.movements(order).next().filter(|_| order.fate == Fate::ShortPick);
        if let Some(movement) = short {
            let found = movement.quantity - 1;
            let line = PickedLine { sku: movement.sku, found, reason: NOT_FOUND.to_owned() };
            match calls.report_pick(self.number, basket, &promise, line).await? {
                Answer::Done(left) if left.state() == ReservationState::Rejected => {
                    return Ok(Stage::Done(Became::NothingFound));
                }
                Answer::Done(_) => {}
                Answer::Short | Answer::WrongState => return self.lapsed(order, &promise).await,
            }
        }
        let ready = calls.mark_ready(self.number, basket, &promise).await?;
        match (ready, order.fate) {
            (Answer::Done(_), _) => Ok(Stage::Promised(promise)),
            (_, Fate::ShortPick) => {
                self.lapsed(order, &promise).await?;
                Ok(Stage::Done(Became::LapsedShort))
            }
            _ => self.lapsed(order, &promise).await,
        }
    }

    async fn hand_over(&mut self, order: &Order, promise: &Promise) -> Result<Stage, SendError> {
        if order.fate == Fate::Return {
            let named = |movement| Movement { reservation_id: promise.id.clone(), ..movement };
            let sales = self.movements(order).map(named).collect();
            self.report(sales).await?;
            return Ok(Stage::Done(Became::Sold));
        }
        let collected = self.replay.calls.collect(self.number, order.basket.id, promise).await?;
        if !matches!(collected, Answer::Done(_)) {
            return self.lapsed(order, promise).await;
        }
        Ok(Stage::Done(match (order.fate, promise.moved) {
            (Fate::ShortPick, _) => Became::CollectedShort,
            (_, Some(true)) => Became::CollectedMoved,
            (_, Some(false)) => Became::CollectedUnmoved,
            (_, None) => Became::Collected,
        }))
    }

    async fn cancel(&self, order: &Order, promise: &Promise) -> Result<Stage, SendError> {
        let (calls, basket) = (&self.replay.calls, order.basket.id);
        if !matches!(calls.cancel(self.number, basket, promise).await?, Answer::Done(_)) {
            return self.lapsed(order, promise).await;
        }
        if order.fate == (Fate::Cancel { early: true }) {
            return Ok(Stage::Done(Became::CancelledEarly));
        }
        calls.return_to_shelf(self.number, basket, promise).await?;
        Ok(Stage::Done(Became::CancelledLate))
    }

    /// Nobody came: once the sweeper has ended the promise, the goods go back.
    async fn shelve(&self, order: &Order, promise: &Promise) -> Result<Stage, SendError> {
        let calls = &self.replay.calls;
        self.replay.expired(&calls.await_expiry(self.number, promise).await?);
        calls.return_to_shelf(self.number, order.basket.id, promise).await?;
        Ok(Stage::Done(Became::NoShow))
    }

    /// The promise ended before its time on this clock. What is aside of it goes back.
    async fn lapsed(&self, order: &Order, promise: &Promise) -> Result<Stage, SendError> {
        let calls = &self.replay.calls;
        calls.await_expiry(promise.shop, promise).await?;
        calls.return_to_shelf(promise.shop, order.basket.id, promise).await?;
        Ok(Stage::Done(Became::Lapsed))
    }

    /// Returns what another shop has sold, naming its sales.
    async fn take_back(&self, order: &Order) -> Result<(), SendError> {
        let replay = self.replay;
        let source = &replay.feed.lines.sources()[0];
        let back = |sold: Movement| {
            let original = MovementRef { source: source.clone(), key: sold.key.clone() };
            let mut back = Movement {
                key: format!("return-{}", sold.key),
                location_id: self.location(self.number).to_owned(),
                original: Some(original),
                ..sold
            };
            back.set_kind(MovementKind::Return);
            back
        };
        let movements = self.movements(order).map(back).collect();
        let results = replay.calls.record(self.number, source, movements).await?;
        match results.iter().find(|result| result.status() == MovementStatus::Rejected) {
            Some(result) => Err(SendError::NotTakenBack {
                key: result.key.clone(),
                reason: result.error.clone().unwrap_or_default().reason,
            }),
            None => Ok(()),
        }
    }

    /// The sales that the file has for an order.
    fn movements<'o>(&self, order: &'o Order) -> impl Iterator<Item = Movement> + use<'o, 'a> {
        let lines = self.replay.feed.lines.as_ref();
        order.lines.iter().map(|&line| lines.movement(line))
    }

    fn location(&self, shop: u32) -> &'a str {
        self.replay.feed.lines.location_id(shop)
    }
}

/// Lets the other shop go on.
fn settle(state: &State) {
    // It is set once, by the one shop that does this for the order.
    let _ = state.settled.set(());
}

fn promise(reservation: Reservation, shop: u32, moved: Option<bool>) -> Promise {
    let Reservation { reservation_id: id, pickup_code, .. } = reservation;
    Promise { id, pickup_code, shop, moved }
}
