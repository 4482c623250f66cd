//! The Complete Journey: a year of tills of 457 grocery shops.
//!
//! A basket is one till transaction at one shop at one moment, and holds a product once: basket and
//! product are the key.
use std::{io::Read, sync::Arc};

use csv::ByteRecord;
use jiff::{civil::DateTime, tz::TimeZone};
use prost_types::Timestamp;
use rustc_hash::FxHashMap;

use super::{
    feed::{Basket, Change, Effect, Feed, Lines, Names},
    read::{ReadError, columns, number, text},
};
use crate::api::proto::{Location, Movement, MovementKind};

const SOURCE: &str = "completejourney";
const TIME_ZONE: &str = "America/New_York";
const CHANNEL: &str = "till";
/// Measured in gallons, not in pieces.
const FUEL: &str = "FUEL";
const GASOLINE: &str = "GASOLINE";
/// Stamps, supplies of the shop itself, coupons.
const NOT_STOCK_DEPARTMENTS: [&str; 3] = ["MISCELLANEOUS", "CNTRL/STORE SUP", "POSTAL CENTER"];
const NOT_STOCK_CATEGORY: &str = "COUPON/MISC ITEMS";

/// Reads both files.
///
/// # Errors
/// When they are not those files.
pub(crate) fn read(transactions: impl Read, products: impl Read) -> Result<Feed, ReadError> {
    let catalogue = catalogue(products)?;
    let mut journey = Journey::new()?;
    let mut reader = csv::Reader::from_reader(transactions);
    let names = ["store_id", "basket_id", "product_id", "quantity", "ts", "household_id"];
    let columns = columns(reader.byte_headers()?, names)?;
    let mut record = ByteRecord::new();
    let mut dropped = 0;
    while reader.read_byte_record(&mut record)? {
        dropped += u64::from(!journey.add(&record, columns, &catalogue)?);
    }
    let locations = journey.shops.iter().map(shop).collect();
    let mut unstocked: Vec<u32> =
        catalogue.iter().filter(|(_, stock)| !**stock).map(|(&product, _)| product).collect();
    unstocked.sort_unstable();
    Ok(Feed {
        locations,
        channels: vec![CHANNEL.to_owned()],
        unstocked: unstocked.iter().map(u32::to_string).collect(),
        lines: Arc::new(journey),
        dropped: Some(dropped),
        unreadable: Vec::new(),
        compress: None,
    })
}

/// Whether stock is kept of it, by product.
type Catalogue = FxHashMap<u32, bool>;

fn catalogue(products: impl Read) -> Result<Catalogue, ReadError> {
    let mut reader = csv::Reader::from_reader(products);
    let names = ["product_id", "department", "product_category", "product_type"];
    let [product, department, category, kind] = columns(reader.byte_headers()?, names)?;
    let mut catalogue = Catalogue::default();
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        let stock = is_stock(
            text(&record, department, "department")?,
            text(&record, category, "product_category")?,
            text(&record, kind, "product_type")?,
        );
        catalogue.insert(number(&record, product, "product_id")?, stock);
    }
    Ok(catalogue)
}

fn is_stock(department: &str, category: &str, kind: &str) -> bool {
    department != FUEL
        && !kind.contains(GASOLINE)
        && !NOT_STOCK_DEPARTMENTS.contains(&department)
        && category != NOT_STOCK_CATEGORY
}

fn shop(shop: &str) -> Location {
    Location {
        location_id: shop.into(),
        name: format!("Shop {shop}"),
        time_zone: TIME_ZONE.into(),
        ..Location::default()
    }
}

struct Row {
    basket: u64,
    household: u32,
    sku: u32,
    units: u32,
    seconds: u32,
    shop: u16,
    offset_minutes: i16,
}

struct Journey {
    rows: Vec<Row>,
    shops: Names,
    skus: Names,
    stock: Vec<bool>,
    zone: TimeZone,
    /// The lines of a basket follow each other and share their moment.
    last: (String, u32, i16),
    sources: [String; 1],
}

impl Journey {
    fn new() -> Result<Self, ReadError> {
        let zone = TimeZone::get(TIME_ZONE).map_err(|_| ReadError::TimeZone { name: TIME_ZONE })?;
        Ok(Self {
            rows: Vec::new(),
            shops: Names::default(),
            skus: Names::default(),
            stock: Vec::new(),
            zone,
            last: (String::new(), 0, 0),
            sources: [SOURCE.to_owned()],
        })
    }

    /// False: the product is not in the catalogue.
    fn add(
        &mut self,
        record: &ByteRecord,
        columns: [usize; 6],
        catalogue: &Catalogue,
    ) -> Result<bool, ReadError> {
        let [shop, basket, product, quantity, time, household] = columns;
        let product_id: u32 = number(record, product, "product_id")?;
        let Some(&stock) = catalogue.get(&product_id) else {
            return Ok(false);
        };
        let (seconds, offset_minutes) = self.moment(record, time)?;
        let shop = self.shops.number(text(record, shop, "store_id")?);
        let sku = self.skus.number(text(record, product, "product_id")?);
        if self.stock.len() <= sku as usize {
            self.stock.push(stock);
        }
        self.rows.push(Row {
            basket: number(record, basket, "basket_id")?,
            household: number(record, household, "household_id")?,
            sku,
            units: number(record, quantity, "quantity")?,
            seconds,
            shop: u16::try_from(shop).unwrap_or(u16::MAX),
            offset_minutes,
        });
        Ok(true)
    }

    fn moment(&mut self, record: &ByteRecord, column: usize) -> Result<(u32, i16), ReadError> {
        let text = text(record, column, "ts")?;
        if self.last.0 != text {
            let line = record.position().map_or(0, csv::Position::line);
            let unreadable = || ReadError::Field { line, name: "ts" };
            let utc: DateTime = text.parse().map_err(|_| unreadable())?;
            let at = TimeZone::UTC.to_timestamp(utc).map_err(|_| unreadable())?;
            let seconds = u32::try_from(at.as_second()).map_err(|_| unreadable())?;
            let offset = i16::try_from(self.zone.to_offset(at).seconds() / 60).unwrap_or(0);
            self.last = (text.to_owned(), seconds, offset);
        }
        Ok((self.last.1, self.last.2))
    }
}

impl Lines for Journey {
    fn count(&self) -> usize {
        self.rows.len()
    }

    fn movement(&self, line: usize) -> Movement {
        let row = &self.rows[line];
        let sku = self.skus.name(row.sku);
        let mut movement = Movement {
            key: format!("{}-{sku}", row.basket),
            location_id: self.shops.name(u32::from(row.shop)).into(),
            sku: sku.into(),
            quantity: i64::from(row.units),
            occurred_at: Some(Timestamp { seconds: i64::from(row.seconds), nanos: 0 }),
            utc_offset_minutes: i32::from(row.offset_minutes),
            channel_id: CHANNEL.into(),
            document: row.basket.to_string(),
            ..Movement::default()
        };
        movement.set_kind(MovementKind::Sale);
        movement
    }

    fn location(&self, line: usize) -> u32 {
        u32::from(self.rows[line].shop)
    }

    fn effect(&self, line: usize) -> Option<Effect> {
        let row = &self.rows[line];
        let units = i64::from(row.units);
        let position = (u32::from(row.shop), row.sku);
        let effect = Effect { position, sold: units, change: Change::By(-units) };
        self.stock[row.sku as usize].then_some(effect)
    }

    fn location_id(&self, location: u32) -> &str {
        self.shops.name(location)
    }

    fn sku(&self, sku: u32) -> &str {
        self.skus.name(sku)
    }

    fn sources(&self) -> &[String] {
        &self.sources
    }

    fn starts_at(&self) -> Option<i64> {
        self.rows.iter().map(|row| i64::from(row.seconds)).min()
    }

    fn basket(&self, line: usize) -> Option<Basket> {
        let row = &self.rows[line];
        Some(Basket { id: row.basket, household: row.household, at: i64::from(row.seconds) })
    }
}
