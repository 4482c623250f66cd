//! What every shop does, in the order of its time.
use rustc_hash::FxHashMap;

use super::{clock::COLLECT_WITHIN_S, fate::Fate};
use crate::cli::import::feed::{Basket, Effect, Lines};

const HOUR_S: i64 = 3_600;
/// Before the time of the basket.
const RESERVED_BEFORE_S: i64 = 2 * HOUR_S;
/// Half an hour later: a move, or the change of a customer's mind.
const CHANGED_BEFORE_S: i64 = 90 * 60;
const READY_BEFORE_S: i64 = HOUR_S;
/// After the time of the basket.
const BROUGHT_BACK_AFTER_S: i64 = 9 * 24 * HOUR_S;
/// The most that the contract allows in one reservation.
const ORDER_LINES_MAX: usize = 200;

/// The orders of a file, and what its shops do.
pub(in crate::cli::import) struct Plan {
    /// The baskets that are ordered.
    pub(super) orders: Vec<Order>,
    /// By number of the shop.
    pub(super) agendas: Vec<Agenda>,
    /// When the first of it happens, in seconds since 1970.
    pub(super) starts_at: i64,
    /// Where lines are handed over that are not handed over in their own shop.
    moved: FxHashMap<usize, u32>,
}

/// A basket that is ordered.
#[derive(Debug)]
pub(super) struct Order {
    /// The basket.
    pub(super) basket: Basket,
    /// What becomes of it.
    pub(super) fate: Fate,
    /// Where it is reserved.
    pub(super) shop: u32,
    /// Where it is moved to or returned.
    pub(super) other: u32,
    /// Lines of the file, those of stock items only.
    pub(super) lines: Vec<usize>,
    /// Units of all lines.
    pub(super) units: i64,
}

/// What one shop does.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// Lines of the file that it reports as sales, in order.
    pub(super) sales: Vec<usize>,
    /// What it has to do with orders, in order.
    pub(super) errands: Vec<Errand>,
}

/// What a shop has to do with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Errand {
    /// When, in seconds since 1970.
    pub(super) at: i64,
    /// Sales that come before.
    pub(super) sales_before: usize,
    /// Number of the order.
    pub(super) order: usize,
    /// What.
    pub(super) what: What,
}

/// Kinds of errands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Promise it.
    Reserve,
    /// Move the promise to the other shop, when that is at this place of its agenda too.
    Move,
    /// The other shop waits for the move.
    AwaitMove,
    /// Pick it and make it ready, where it is promised by now.
    Pick,
    /// Hand it over, where it is promised by now.
    HandOver,
    /// The customer gives it up.
    Cancel,
    /// Return to the shelf what has expired.
    Shelve,
    /// The other shop takes it back.
    TakeBack,
}

/// What happens in a shop. All shops order what happens in the same way, so that two that wait for
/// each other do not wait for ever.
struct Event {
    at: i64,
    /// A line of the file, which decides among what happens at the same time.
    line: usize,
    /// Number of the order, and what; absent: the line is sold.
    errand: Option<(usize, What)>,
}

/// A basket, as far as it was read.
struct Read {
    basket: Basket,
    shop: u32,
    fate: Option<Fate>,
    lines: Vec<usize>,
}

impl Plan {
    /// By the numbers of the baskets alone.
    pub(in crate::cli::import) fn new(lines: &dyn Lines) -> Self {
        let baskets = baskets(lines);
        let shops = 1 + (0..lines.count()).map(|line| lines.location(line)).max().unwrap_or(0);
        let orders = orders(lines, baskets, shops);
        let mut moved = FxHashMap::default();
        let mut ordered = vec![false; lines.count()];
        for order in &orders {
            for &line in &order.lines {
                ordered[line] = true;
                if order.fate == Fate::Move {
                    moved.insert(line, order.other);
                }
            }
        }
        let agendas = agendas(lines, &orders, &ordered, shops);
        let starts_at = lines.starts_at().unwrap_or(0) - RESERVED_BEFORE_S;
        Self { orders, agendas, starts_at, moved }
    }

    /// What the lines take from the shelves: where the goods are handed over in the end, and also
    /// where they are promised first if that is another shop, which must have them to do so.
    pub(in crate::cli::import) fn effects(
        &self,
        lines: &dyn Lines,
    ) -> impl Iterator<Item = Effect> {
        (0..lines.count()).flat_map(move |line| {
            let own = lines.effect(line);
            let elsewhere = self.moved.get(&line).zip(own);
            let elsewhere =
                elsewhere.map(|(&shop, own)| Effect { position: (shop, own.position.1), ..own });
            [own, elsewhere].into_iter().flatten()
        })
    }

    /// Lines that are not reported as sales.
    pub(in crate::cli::import) fn ordered_lines(&self) -> usize {
        self.orders.iter().map(|order| order.lines.len()).sum()
    }
}

/// In the order of their first lines; lines are noted only of those that are ordered.
fn baskets(lines: &dyn Lines) -> Vec<Read> {
    let mut numbers: FxHashMap<u64, usize> = FxHashMap::default();
    let mut baskets: Vec<Read> = Vec::new();
    for line in 0..lines.count() {
        let Some(basket) = lines.basket(line) else { continue };
        let number = *numbers.entry(basket.id).or_insert(baskets.len());
        if number == baskets.len() {
            let (shop, fate) = (lines.location(line), Fate::of(basket.id));
            baskets.push(Read { basket, shop, fate, lines: Vec::new() });
        }
        let read = &mut baskets[number];
        let sold = lines.effect(line).is_some_and(|effect| effect.sold > 0);
        if read.fate.is_some() && sold {
            read.lines.push(line);
        }
    }
    baskets
}

fn orders(lines: &dyn Lines, baskets: Vec<Read>, shops: u32) -> Vec<Order> {
    let next_shops = next_shops(&baskets);
    let order = |(read, next): (Read, Option<u32>)| {
        let Read { basket, shop, fate, lines: own } = read;
        let fits = (1..=ORDER_LINES_MAX).contains(&own.len());
        let fate = match fate.filter(|_| fits)? {
            Fate::Move if next.is_none() => Fate::Collect,
            Fate::Return if shops == 1 => Fate::Collect,
            fate => fate,
        };
        let other = next.unwrap_or((shop + 1) % shops);
        let sold = |&line: &usize| lines.effect(line).map_or(0, |effect| effect.sold);
        let units = own.iter().map(sold).sum();
        Some(Order { basket, fate, shop, other, lines: own, units })
    };
    baskets.into_iter().zip(next_shops).filter_map(order).collect()
}

/// For each basket, where its household buys next that is another shop.
fn next_shops(baskets: &[Read]) -> Vec<Option<u32>> {
    // Of each household, its next shop and the first after it that is another.
    let mut ahead: FxHashMap<u32, (u32, Option<u32>)> = FxHashMap::default();
    let mut next: Vec<_> = baskets
        .iter()
        .rev()
        .map(|read| {
            let ahead = ahead.entry(read.basket.household).or_insert((read.shop, None));
            if ahead.0 != read.shop {
                *ahead = (read.shop, Some(ahead.0));
            }
            ahead.1
        })
        .collect();
    next.reverse();
    next
}

fn agendas(lines: &dyn Lines, orders: &[Order], ordered: &[bool], shops: u32) -> Vec<Agenda> {
    let mut events: Vec<Vec<Event>> = (0..shops).map(|_| Vec::new()).collect();
    for (line, _) in ordered.iter().enumerate().filter(|(_, ordered)| !**ordered) {
        let at = lines.basket(line).map_or(0, |basket| basket.at);
        events[lines.location(line) as usize].push(Event { at, line, errand: None });
    }
    for (number, order) in orders.iter().enumerate() {
        for (shop, at, what) in errands(order) {
            let (line, errand) = (order.lines[0], Some((number, what)));
            events[shop as usize].push(Event { at, line, errand });
        }
    }
    events.into_iter().map(agenda).collect()
}

fn agenda(mut events: Vec<Event>) -> Agenda {
    events.sort_unstable_by_key(|event| (event.at, event.line));
    let mut agenda = Agenda::default();
    for Event { at, line, errand } in events {
        match errand {
            None => agenda.sales.push(line),
            Some((order, what)) => {
                let sales_before = agenda.sales.len();
                agenda.errands.push(Errand { at, sales_before, order, what });
            }
        }
    }
    agenda
}

/// Which shop does what and when. No two of one shop are at the same time.
fn errands(order: &Order) -> Vec<(u32, i64, What)> {
    let at = order.basket.at;
    let (shop, other) = (order.shop, order.other);
    let reserved_at = at - RESERVED_BEFORE_S;
    let changed_at = at - CHANGED_BEFORE_S;
    let reserve = (shop, reserved_at, What::Reserve);
    let pick = (shop, at - READY_BEFORE_S, What::Pick);
    let hand_over = (shop, at, What::HandOver);
    match order.fate {
        Fate::Collect | Fate::ShortPick => vec![reserve, pick, hand_over],
        Fate::NoShow => vec![reserve, pick, (shop, reserved_at + COLLECT_WITHIN_S, What::Shelve)],
        Fate::Cancel { early: true } => vec![reserve, (shop, changed_at, What::Cancel)],
        Fate::Cancel { early: false } => vec![reserve, pick, (shop, at, What::Cancel)],
        Fate::Return => {
            let taken_back_at = at + BROUGHT_BACK_AFTER_S;
            vec![reserve, pick, hand_over, (other, taken_back_at, What::TakeBack)]
        }
        Fate::Move => vec![
            reserve,
            (shop, changed_at, What::Move),
            (other, changed_at, What::AwaitMove),
            pick,
            (other, pick.1, What::Pick),
            hand_over,
            (other, at, What::HandOver),
        ],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cli::import::completejourney;

    const PRODUCTS: &str = "product_id,department,product_category,product_type
1,GROCERY,A,A\n2,GROCERY,A,A\n9,FUEL,A,A\n";

    fn lines(rows: &str) -> Arc<dyn Lines> {
        let header = "household_id,store_id,basket_id,product_id,quantity,ts\n";
        let text = format!("{header}{rows}");
        completejourney::read(text.as_bytes(), PRODUCTS.as_bytes()).unwrap().lines
    }

    fn whats(agenda: &Agenda) -> Vec<(usize, usize, What)> {
        agenda.errands.iter().map(|e| (e.sales_before, e.order, e.what)).collect()
    }

    #[test]
    fn a_shop_does_everything_in_the_order_of_its_time() {
        // A move, a sale between its reservation and its picking, a no-show, and where the mover
        // buys next.
        let lines = lines(
            "1,A,140,1,3,2017-01-01T10:00:00\n1,A,140,9,3,2017-01-01T10:00:00
2,A,141,1,1,2017-01-01T08:45:00\n3,A,210,2,1,2017-01-01T10:20:00
1,B,142,2,1,2017-01-02T10:00:00\n",
        );
        let plan = Plan::new(lines.as_ref());
        assert_eq!(plan.orders.len(), 2);
        assert_eq!((plan.orders[0].fate, plan.orders[0].other), (Fate::Move, 1));
        assert_eq!(plan.orders[0].lines, [0], "no stock is kept of fuel");
        assert_eq!(
            whats(&plan.agendas[0]),
            [
                (0, 0, What::Reserve),
                (0, 1, What::Reserve),
                (0, 0, What::Move),
                (1, 0, What::Pick),
                (1, 1, What::Pick),
                (1, 0, What::HandOver),
                (2, 1, What::Shelve),
            ]
        );
        assert_eq!(plan.agendas[0].sales, [2, 1]);
        let other = [(0, 0, What::AwaitMove), (0, 0, What::Pick), (0, 0, What::HandOver)];
        assert_eq!(whats(&plan.agendas[1]), other);
        let units = |shop| {
            let of_shop = |effect: &Effect| effect.position == (shop, 0);
            plan.effects(lines.as_ref()).filter(of_shop).map(|effect| effect.sold).sum::<i64>()
        };
        assert_eq!((units(0), units(1)), (3 + 1, 3), "where it is promised, and where it ends");
    }

    #[test]
    fn what_has_no_other_shop_to_go_to_stays() {
        let baskets = "1,A,140,1,1,2017-01-01T10:00:00\n1,A,150,1,1,2017-01-01T12:00:00\n";
        let plan = Plan::new(lines(baskets).as_ref());
        assert_eq!(plan.orders.iter().map(|o| o.fate).collect::<Vec<_>>(), [Fate::Collect; 2]);
        let plan = Plan::new(lines(&format!("{baskets}2,B,1,1,1,2017-01-01T12:00:00\n")).as_ref());
        let fates: Vec<_> = plan.orders.iter().map(|o| o.fate).collect();
        assert_eq!(fates, [Fate::Collect, Fate::Return], "a return needs no household");
        assert_eq!(plan.orders[1].other, 1);
    }

    #[test]
    fn a_basket_of_nothing_that_is_kept_is_no_order() {
        let plan = Plan::new(lines("1,A,100,9,3,2017-01-01T10:00:00\n").as_ref());
        assert!(plan.orders.is_empty());
        assert_eq!(plan.agendas[0].sales, [0]);
    }
}
