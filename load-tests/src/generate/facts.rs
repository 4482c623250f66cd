//! What happens in the shops in a year, kind by kind.
use std::collections::{BTreeMap, BTreeSet};

use rand::Rng as _;

use super::{
    chain::{Chain, Moment},
    file::{File, Row},
};

const TILL: &str = "till";
const WEB: &str = "web";
/// Lines of every thousand; what is left is sold in baskets.
const OPENING: u64 = 60;
const DELIVERIES: u64 = 60;
const RETURNS: u64 = 12;
const UNLINKED_RETURNS: u64 = 4;
const TRANSFERS: u64 = 12;
const ADJUSTS: u64 = 10;
const COUNTS: u64 = 15;
const BLOCKS: u64 = 5;
const CORRECTIONS: u64 = 3;
const EXCHANGES: u64 = 4;
const BAD: u64 = 3;
const BASKETS: u64 = 1_000
    - OPENING
    - DELIVERIES
    - RETURNS
    - UNLINKED_RETURNS
    - TRANSFERS
    - ADJUSTS
    - COUNTS
    - BLOCKS
    - CORRECTIONS
    - EXCHANGES
    - BAD;
const DELIVERY_LINES_MAX: u64 = 20;
/// A shop that was offline is not sure about so many of its thousand lines and sends them again;
/// never half an exchange.
const SENT_TWICE_PER_MILLE: u32 = 10;
const LATE_COUNTS_PER_MILLE: u32 = 100;

/// A line that was sold, to be brought back or taken back.
#[derive(Clone, Copy)]
struct Sold {
    basket: u64,
    line: u32,
    shop: u32,
    item: u32,
    quantity: i64,
    moment: Moment,
}

impl Sold {
    fn key(&self) -> String {
        format!("b{}-{}", self.basket, self.line)
    }
}

/// A fact, where and when.
#[derive(Clone, Copy)]
struct Place {
    shop: u32,
    item: u32,
    moment: Moment,
}

/// The year, as far as it is written.
pub(super) struct Facts {
    chain: Chain,
    file: File,
    sold: Vec<Sold>,
    /// Sold lines that were brought back or taken back already.
    used: BTreeSet<usize>,
    counted: BTreeSet<(u32, u32, Moment)>,
    numbers: BTreeMap<&'static str, u64>,
}

impl Facts {
    pub(super) fn new(chain: Chain) -> Self {
        Self {
            chain,
            file: File::default(),
            sold: Vec::new(),
            used: BTreeSet::new(),
            counted: BTreeSet::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// About so many lines of everything.
    pub(super) fn year(mut self, lines: u64) -> File {
        let share = |of_thousand: u64| (lines * of_thousand / 1_000).max(1);
        self.opening(share(OPENING));
        self.until(share(BASKETS), Self::basket);
        self.until(share(DELIVERIES), Self::delivery);
        self.until(share(RETURNS), Self::linked_return);
        self.until(share(UNLINKED_RETURNS), Self::unlinked_return);
        self.until(share(TRANSFERS), Self::transfer);
        self.until(share(ADJUSTS), Self::adjust);
        self.until(share(COUNTS), Self::count);
        self.until(share(BLOCKS), Self::block);
        self.until(share(CORRECTIONS), Self::correction);
        self.until(share(EXCHANGES), Self::exchange);
        self.until(share(BAD), Self::bad);
        self.file
    }

    fn until(&mut self, lines: u64, happen: fn(&mut Self)) {
        let end = self.file.len() + lines;
        while self.file.len() < end {
            happen(self);
        }
    }

    /// The items that sell best, in every shop.
    fn opening(&mut self, lines: u64) {
        let shops = u64::from(self.chain.shop_count());
        let items = (lines / shops).clamp(1, u64::from(self.chain.item_count()));
        let moment = Moment { day: 0, second: 0 };
        for shop in 0..self.chain.shop_count() {
            for item in 0..u32::try_from(items).unwrap_or(u32::MAX) {
                let place = Place { shop, item, moment };
                let key = format!("opening-{shop}-{item}");
                let quantity = self.chain.random.random_range(5..=400);
                let row = Row { key: &key, kind: "RECEIPT", quantity, ..Row::default() };
                self.add(place, Row { reason: "opening", from: "EXTERNAL", ..row });
            }
        }
    }

    fn basket(&mut self) {
        let (shop, moment) = (self.chain.shop(), self.chain.moment());
        let basket = self.number("basket");
        let document = format!("b{basket}");
        let (kind, channel) =
            if basket.is_multiple_of(50) { ("SHIP_OUT", WEB) } else { ("SALE", TILL) };
        for line in 1..=self.chain.basket_lines() {
            let item = self.chain.item();
            let quantity = self.quantity();
            let sold = Sold { basket, line, shop, item, quantity, moment };
            let key = sold.key();
            let row = Row { key: &key, kind, quantity, channel, ..Row::default() };
            let place = Place { shop, item, moment };
            self.add(place, Row { document: &document, document_line: line, ..row });
            self.sold.push(sold);
        }
    }

    /// Announced, and received some days later: as announced, short, over, damaged, or never.
    fn delivery(&mut self) {
        let (shop, announced) = (self.chain.shop(), self.chain.moment());
        let received = self.chain.later(announced, 1..=5);
        let expected_ms = Some(self.chain.seconds(received) * 1_000);
        let document = format!("po{}", self.number("delivery"));
        let mut items = BTreeSet::new();
        for line in 1..=self.chain.random.random_range(1..=DELIVERY_LINES_MAX) {
            let item = self.chain.item();
            if !items.insert(item) {
                continue;
            }
            let quantity = self.chain.random.random_range(6..=240);
            let line = u32::try_from(line).unwrap_or_default();
            let (expect, receipt) =
                (format!("{document}-{line}-e"), format!("{document}-{line}-r"));
            let row = Row { key: &expect, kind: "EXPECT", quantity, expected_ms, ..Row::default() };
            let place = Place { shop, item, moment: announced };
            self.add(place, Row { document: &document, document_line: line, ..row });
            let (quantity, to) = match self.chain.random.random_range(0..20) {
                0 => continue,
                1 | 2 => (quantity / 2, ""),
                3 => (quantity + 6, ""),
                4 => (quantity, "BLOCKED"),
                _ => (quantity, ""),
            };
            let row = Row { key: &receipt, kind: "RECEIPT", quantity, to, ..Row::default() };
            let place = Place { shop, item, moment: received };
            self.add(place, Row { document: &document, document_line: line, ..row });
        }
    }

    /// One in five in another shop, one in twenty damaged.
    fn linked_return(&mut self) {
        let sold = self.pick_sold();
        let moment = self.chain.later(sold.moment, 0..=30);
        let shop =
            if self.chain.per_mille(200) { self.chain.another_shop(sold.shop) } else { sold.shop };
        let to = if self.chain.per_mille(50) { "BLOCKED" } else { "" };
        let key = format!("r{}", self.number("return"));
        let row = Row { key: &key, kind: "RETURN", quantity: sold.quantity, to, ..Row::default() };
        let place = Place { shop, item: sold.item, moment };
        self.add(place, Row { channel: TILL, original: &sold.key(), ..row });
    }

    fn unlinked_return(&mut self) {
        let place = self.place();
        let quantity = self.quantity();
        let key = format!("u{}", self.number("unlinked return"));
        let row = Row { key: &key, kind: "RETURN", quantity, channel: TILL, ..Row::default() };
        self.add(place, Row { reason: "no_receipt", ..row });
    }

    /// One in ten arrives short, one in twenty not at all.
    fn transfer(&mut self) {
        let place = self.place();
        let to_shop = self.chain.another_shop(place.shop);
        let quantity = self.chain.random.random_range(1..=48);
        let document = format!("t{}", self.number("transfer"));
        let (ship, receive) = (format!("{document}-s"), format!("{document}-r"));
        let to_location = shop_id(to_shop);
        let row = Row { key: &ship, kind: "TRANSFER_SHIP", quantity, ..Row::default() };
        self.add(place, Row { to_location: &to_location, document: &document, ..row });
        if self.chain.per_mille(50) {
            return;
        }
        let quantity = if self.chain.per_mille(100) { (quantity + 1) / 2 } else { quantity };
        let moment = self.chain.later(place.moment, 1..=4);
        let row = Row { key: &receive, kind: "TRANSFER_RECEIVE", quantity, ..Row::default() };
        let place = Place { shop: to_shop, moment, ..place };
        self.add(place, Row { original: &ship, document: &document, ..row });
    }

    fn adjust(&mut self) {
        let place = self.place();
        let quantity = self.quantity();
        let key = format!("a{}", self.number("adjust"));
        let (reason, from, to) = match self.chain.random.random_range(0..10) {
            0..4 => ("damage", "SELLABLE", "EXTERNAL"),
            4..6 => ("theft", "SELLABLE", "EXTERNAL"),
            6 => ("scrap", "BLOCKED", "EXTERNAL"),
            7 => ("unknown", "SELLABLE", "EXTERNAL"),
            _ => ("found", "EXTERNAL", "SELLABLE"),
        };
        let row = Row { key: &key, kind: "ADJUST", quantity, reason, ..Row::default() };
        self.add(place, Row { from, to, ..row });
    }

    /// At the middle of a second, so that it is clear what happened before it: everything else
    /// happens at a whole one.
    fn count(&mut self) {
        let place = self.place();
        if !self.counted.insert((place.shop, place.item, place.moment)) {
            return;
        }
        let quantity = self.chain.random.random_range(0..=120);
        let key = format!("c{}", self.number("count"));
        let at_ms = self.chain.seconds(place.moment) * 1_000 + 500;
        let row = Row { key: &key, kind: "COUNT", quantity, at_ms, ..Row::default() };
        let mut arrives = self.chain.delivered_later(place.shop, place.moment);
        if self.chain.per_mille(LATE_COUNTS_PER_MILLE) {
            arrives = Some(self.chain.later(place.moment, 1..=3));
        }
        self.add_arriving(place, row, arrives);
    }

    /// Two of three are put back on sale.
    fn block(&mut self) {
        let place = self.place();
        let quantity = self.quantity();
        let number = self.number("block");
        let (block, unblock) = (format!("k{number}-b"), format!("k{number}-u"));
        let row = Row { key: &block, kind: "BLOCK", quantity, ..Row::default() };
        self.add(place, Row { reason: "quality_control", ..row });
        if !number.is_multiple_of(3) {
            let moment = self.chain.later(place.moment, 1..=10);
            let row = Row { key: &unblock, kind: "UNBLOCK", quantity, ..Row::default() };
            self.add(Place { moment, ..place }, row);
        }
    }

    fn correction(&mut self) {
        let sold = self.pick_sold();
        let moment = self.chain.later(sold.moment, 0..=2);
        let number = self.number("correction");
        let key = format!("x{number}");
        let reason = if number.is_multiple_of(2) { "did_not_occur" } else { "incorrect_data" };
        let row = Row { key: &key, kind: "CORRECT", reason, ..Row::default() };
        let place = Place { shop: sold.shop, item: sold.item, moment };
        self.add(place, Row { original: &sold.key(), ..row });
    }

    /// A return and a sale, together or not at all. One in a hundred is badly formed in one half.
    fn exchange(&mut self) {
        let sold = self.pick_sold();
        let moment = self.chain.later(sold.moment, 1..=14);
        let number = self.number("exchange");
        let (group, back, out) =
            (format!("e{number}"), format!("e{number}-r"), format!("e{number}-s"));
        let arrives = self.chain.delivered_later(sold.shop, moment);
        let arrival = self.arrival(moment, arrives);
        let original = sold.key();
        let row = Row { key: &back, kind: "RETURN", quantity: sold.quantity, ..Row::default() };
        let row = Row { original: &original, channel: TILL, group: &group, ..row };
        self.add_at(Place { shop: sold.shop, item: sold.item, moment }, row, arrival);
        let quantity = if number % 100 == 1 { 0 } else { sold.quantity };
        let item = self.chain.item();
        let row = Row { key: &out, kind: "SALE", quantity, ..Row::default() };
        let row = Row { channel: TILL, group: &group, ..row };
        self.add_at(Place { shop: sold.shop, item, moment }, row, arrival);
    }

    /// One line that must be rejected, of seven kinds in turn.
    fn bad(&mut self) {
        let place = self.place();
        let number = self.number("bad");
        let key = format!("z{number}");
        let row = Row { key: &key, kind: "SALE", quantity: 1, channel: TILL, ..Row::default() };
        let unknown = format!("unknown-{}", number % 13);
        let row = match number % 7 {
            0 => Row { quantity: 0, ..row },
            1 => Row { quantity: -1, ..row },
            2 => Row { location: &unknown, ..row },
            3 => Row { kind: "ADJUST", from: "SELLABLE", to: "EXTERNAL", channel: "", ..row },
            4 => Row { kind: "", ..row },
            5 => Row { kind: "RETURN", ..row },
            // 1995.
            _ => Row { at_ms: 800_000_000_000, ..row },
        };
        self.add(place, row);
    }

    fn add(&mut self, place: Place, row: Row<'_>) {
        let arrives = self.chain.delivered_later(place.shop, place.moment);
        self.add_arriving(place, row, arrives);
    }

    fn add_arriving(&mut self, place: Place, row: Row<'_>, arrives: Option<Moment>) {
        let arrival = self.arrival(place.moment, arrives);
        self.add_at(place, row, arrival);
        let offline = self.chain.delivered_later(place.shop, place.moment).is_some();
        if offline && self.chain.per_mille(SENT_TWICE_PER_MILLE) {
            let lot = self.chain.random.random();
            self.file.repeat_last(lot);
        }
    }

    /// At once and in order, or later and out of order.
    fn arrival(&mut self, moment: Moment, later: Option<Moment>) -> (i64, u32) {
        match later {
            Some(later) => (self.chain.seconds(later), self.chain.random.random()),
            None => (self.chain.seconds(moment), 0),
        }
    }

    fn add_at(&mut self, place: Place, row: Row<'_>, arrival: (i64, u32)) {
        let (location, sku) = (shop_id(place.shop), format!("item-{:06}", place.item));
        let at_ms = self.chain.seconds(place.moment) * 1_000;
        let row = Row {
            location: if row.location.is_empty() { &location } else { row.location },
            sku: &sku,
            at_ms: if row.at_ms == 0 { at_ms } else { row.at_ms },
            offset_minutes: self.chain.offset_minutes(place.moment),
            ..row
        };
        self.file.add(arrival, &row);
    }

    fn place(&mut self) -> Place {
        Place { shop: self.chain.shop(), item: self.chain.item(), moment: self.chain.moment() }
    }

    /// One that was not picked before.
    fn pick_sold(&mut self) -> Sold {
        loop {
            let number = self.chain.random.random_range(0..self.sold.len());
            if self.used.insert(number) {
                return self.sold[number];
            }
        }
    }

    /// Mostly one.
    fn quantity(&mut self) -> i64 {
        match self.chain.random.random_range(0..100) {
            0..80 => 1,
            80..92 => 2,
            92..99 => self.chain.random.random_range(3..=6),
            _ => self.chain.random.random_range(7..=24),
        }
    }

    fn number(&mut self, of: &'static str) -> u64 {
        let number = self.numbers.entry(of).or_default();
        *number += 1;
        *number
    }
}

fn shop_id(shop: u32) -> String {
    format!("shop-{:04}", shop + 1)
}
