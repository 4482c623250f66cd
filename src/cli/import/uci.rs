//! The UCI Online Retail file: a web and wholesale shop in the UK, 2010 to 2011.
//!
//! The key of a line is its invoice and its place within the invoice, never its content: 5,268 rows
//! are exact copies of another and still lines of their own.
mod reason;

use std::{io::Read, sync::Arc};

use csv::ByteRecord;
use jiff::{civil::DateTime, tz::TimeZone};
use prost_types::Timestamp;

use self::reason::{REASONS, UNKNOWN, reason_of};
use super::{
    feed::{Change, Effect, Feed, Lines, Names},
    read::{ReadError, columns, number, text},
};
use crate::api::proto::{
    Location, Movement, MovementKind,
    StockState::{External, Sellable, Unspecified},
};

const SOURCE: &str = "uci";
const LOCATION: &str = "uk";
const TIME_ZONE: &str = "Europe/London";
const CUSTOMER_RETURN: &str = "customer_return";
const WEB: &str = "web";
const MARKETPLACES: [&str; 2] = ["amazon", "ebay"];
const COUNTER: &str = "counter";
const HOME_COUNTRY: &str = "United Kingdom";
/// An invoice with this line was taken by the web shop.
const WEB_CODE: &str = "DOT";
/// Postage, fees, discounts and samples.
const NOT_STOCK: [&str; 10] =
    ["POST", WEB_CODE, "M", "C2", "D", "S", "B", "BANK CHARGES", "AMAZONFEE", "CRUK"];
/// Gift vouchers, `gift_0001_10` in the file.
const NOT_STOCK_PREFIX: &str = "GIFT_0001_";
const COLUMNS: [&str; 8] = [
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
];

/// Reads the file.
///
/// # Errors
/// When it is not that file.
pub(crate) fn read(file: impl Read) -> Result<Feed, ReadError> {
    let mut reader = csv::Reader::from_reader(file);
    let columns = columns(reader.byte_headers()?, COLUMNS)?;
    let mut uci = Uci::new()?;
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        uci.add(&record, columns)?;
    }
    let unstocked: Vec<String> =
        uci.skus.iter().filter(|sku| !is_stock(sku)).map(str::to_owned).collect();
    let channels = uci.channels.iter().map(str::to_owned).collect();
    let location = Location {
        location_id: LOCATION.into(),
        name: "UCI Online Retail".into(),
        time_zone: TIME_ZONE.into(),
        ..Location::default()
    };
    Ok(Feed {
        locations: vec![location],
        channels,
        unstocked,
        lines: Arc::new(uci),
        dropped: None,
        unreadable: Vec::new(),
        compress: None,
    })
}

/// What a row is, before it is asked whether its code is stock at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Return,
    AdjustOut,
    AdjustIn,
    Sale,
}

fn class_of(invoice: &str, quantity: i64, price_is_zero: bool, has_customer: bool) -> Class {
    if quantity < 0 && invoice.starts_with('C') {
        Class::Return
    } else if quantity < 0 {
        Class::AdjustOut
    } else if quantity > 0 && price_is_zero && !has_customer {
        Class::AdjustIn
    } else {
        Class::Sale
    }
}

/// 112 codes occur in two letter cases, and an item code has no underscores.
fn sku_of(code: &str) -> String {
    code.trim().to_ascii_uppercase()
}

fn is_stock(sku: &str) -> bool {
    !NOT_STOCK.contains(&sku) && !sku.starts_with(NOT_STOCK_PREFIX)
}

struct Row {
    invoice: u32,
    position: u32,
    sku: u32,
    units: u32,
    at: u32,
    note: u32,
    channel: u16,
    class: Class,
    reason: u8,
}

#[derive(Default, Clone, Copy)]
struct Invoice {
    lines: u32,
    web: bool,
}

#[derive(Clone, Copy)]
struct Moment {
    seconds: i64,
    offset_minutes: i32,
}

struct Uci {
    rows: Vec<Row>,
    invoice_names: Names,
    invoices: Vec<Invoice>,
    skus: Names,
    stock: Vec<bool>,
    channels: Names,
    notes: Names,
    times: Names,
    moments: Vec<Moment>,
    zone: TimeZone,
    sources: [String; 1],
}

impl Uci {
    fn new() -> Result<Self, ReadError> {
        let zone = TimeZone::get(TIME_ZONE).map_err(|_| ReadError::TimeZone { name: TIME_ZONE })?;
        let mut channels = Names::default();
        for channel in [WEB, MARKETPLACES[0], MARKETPLACES[1], COUNTER] {
            channels.number(channel);
        }
        Ok(Self {
            rows: Vec::new(),
            invoice_names: Names::default(),
            invoices: Vec::new(),
            skus: Names::default(),
            stock: Vec::new(),
            channels,
            notes: Names::default(),
            times: Names::default(),
            moments: Vec::new(),
            zone,
            sources: [SOURCE.to_owned()],
        })
    }

    fn add(&mut self, record: &ByteRecord, columns: [usize; 8]) -> Result<(), ReadError> {
        let [invoice, code, description, quantity, date, price, customer, country] = columns;
        let line = record.position().map_or(0, csv::Position::line);
        let invoice_name = text(record, invoice, "InvoiceNo")?.trim();
        let sku_name = sku_of(text(record, code, "StockCode")?);
        let description = text(record, description, "Description")?;
        let quantity: i64 = number(record, quantity, "Quantity")?;
        let price: f64 = number(record, price, "UnitPrice")?;
        let has_customer = !text(record, customer, "CustomerID")?.trim().is_empty();
        let class = class_of(invoice_name, quantity, price == 0.0, has_customer);
        let (reason, note) = match class {
            Class::AdjustOut => (reason_of(description), sanitised(description)),
            // An unexplained gain bears the item's own name, in capitals, which explains nothing.
            Class::AdjustIn if description.contains(|c: char| c.is_ascii_lowercase()) => {
                (reason_of(description), sanitised(description))
            }
            Class::AdjustIn => (UNKNOWN, sanitised(description)),
            Class::Return | Class::Sale => (UNKNOWN, String::new()),
        };
        let invoice = self.invoice(invoice_name, sku_name == WEB_CODE);
        let sku = self.sku_number(&sku_name);
        let at = self.moment(text(record, date, "InvoiceDate")?, line)?;
        let channel = self.channel(description, text(record, country, "Country")?);
        self.rows.push(Row {
            invoice,
            position: self.invoices[invoice as usize].lines,
            sku,
            units: u32::try_from(quantity.unsigned_abs())
                .map_err(|_| ReadError::Field { line, name: "Quantity" })?,
            at,
            note: self.notes.number(&note),
            channel,
            class,
            reason,
        });
        Ok(())
    }

    /// The invoice's number; one more line of it has been seen.
    fn invoice(&mut self, name: &str, web: bool) -> u32 {
        let number = self.invoice_names.number(name);
        if self.invoices.len() <= number as usize {
            self.invoices.push(Invoice::default());
        }
        let invoice = &mut self.invoices[number as usize];
        invoice.lines += 1;
        invoice.web |= web;
        number
    }

    fn sku_number(&mut self, name: &str) -> u32 {
        let number = self.skus.number(name);
        if self.stock.len() <= number as usize {
            self.stock.push(is_stock(name));
        }
        number
    }

    fn moment(&mut self, local: &str, line: u64) -> Result<u32, ReadError> {
        let number = self.times.number(local);
        if self.moments.len() <= number as usize {
            let unreadable = || ReadError::Field { line, name: "InvoiceDate" };
            let local: DateTime = local.parse().map_err(|_| unreadable())?;
            let zoned = local.to_zoned(self.zone.clone()).map_err(|_| unreadable())?;
            self.moments.push(Moment {
                seconds: zoned.timestamp().as_second(),
                offset_minutes: zoned.offset().seconds() / 60,
            });
        }
        Ok(number)
    }

    /// The channel by what the line itself says; whether its invoice is of the web shop is only
    /// known at the end of the file.
    fn channel(&mut self, description: &str, country: &str) -> u16 {
        let description = description.to_ascii_lowercase();
        let number = if let Some(name) = MARKETPLACES.iter().find(|m| description.contains(**m)) {
            self.channels.number(name)
        } else if country == HOME_COUNTRY {
            self.channels.number(COUNTER)
        } else {
            let country = country.trim().to_ascii_lowercase().replace(' ', "-");
            self.channels.number(&format!("shop-{country}"))
        };
        u16::try_from(number).unwrap_or(u16::MAX)
    }
}

impl Lines for Uci {
    fn count(&self) -> usize {
        self.rows.len()
    }

    fn movement(&self, line: usize) -> Movement {
        let row = &self.rows[line];
        let invoice = self.invoice_names.name(row.invoice);
        let moment = self.moments[row.at as usize];
        let text = REASONS[usize::from(row.reason)];
        let (kind, reason, from, to) = match row.class {
            Class::Return => (MovementKind::Return, CUSTOMER_RETURN, Unspecified, Unspecified),
            Class::Sale => (MovementKind::Sale, "", Unspecified, Unspecified),
            Class::AdjustOut => (MovementKind::Adjust, text, Sellable, External),
            Class::AdjustIn => (MovementKind::Adjust, text, External, Sellable),
        };
        let channel = if self.invoices[row.invoice as usize].web {
            WEB
        } else {
            self.channels.name(u32::from(row.channel))
        };
        let mut movement = Movement {
            key: format!("{invoice}-{}", row.position),
            location_id: LOCATION.into(),
            sku: self.skus.name(row.sku).into(),
            quantity: i64::from(row.units),
            occurred_at: Some(Timestamp { seconds: moment.seconds, nanos: 0 }),
            utc_offset_minutes: moment.offset_minutes,
            channel_id: channel.into(),
            reason: reason.into(),
            document: invoice.into(),
            document_line: row.position,
            note: self.notes.name(row.note).into(),
            ..Movement::default()
        };
        movement.set_kind(kind);
        movement.set_from_state(from);
        movement.set_to_state(to);
        movement
    }

    fn location(&self, _line: usize) -> u32 {
        0
    }

    fn effect(&self, line: usize) -> Option<Effect> {
        let row = &self.rows[line];
        let units = i64::from(row.units);
        let (sold, change) = match row.class {
            Class::Return | Class::AdjustIn => (0, units),
            Class::AdjustOut => (0, -units),
            Class::Sale => (units, -units),
        };
        let effect = Effect { position: (0, row.sku), sold, change: Change::By(change) };
        self.stock[row.sku as usize].then_some(effect)
    }

    fn location_id(&self, _location: u32) -> &str {
        LOCATION
    }

    fn sku(&self, sku: u32) -> &str {
        self.skus.name(sku)
    }

    fn sources(&self) -> &[String] {
        &self.sources
    }

    fn starts_at(&self) -> Option<i64> {
        self.moments.iter().map(|moment| moment.seconds).min()
    }
}

fn sanitised(text: &str) -> String {
    let text: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_decides() {
        assert_eq!(class_of("C1", -1, false, true), Class::Return);
        assert_eq!(class_of("1", -1, true, false), Class::AdjustOut);
        assert_eq!(class_of("1", 1, true, false), Class::AdjustIn);
        assert_eq!(class_of("1", 1, true, true), Class::Sale);
        assert_eq!(class_of("C1", 1, false, true), Class::Sale);
        assert!(
            is_stock("DCGSSGIRL")
                && !is_stock(&sku_of("gift_0001_20"))
                && !is_stock("BANK CHARGES")
        );
    }

    #[test]
    fn a_line_is_known_by_its_place_and_a_web_invoice_by_any_of_its_lines() {
        let file =
            "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
1,15056bl ,EDWARDIAN PARASOL,6,2011-07-01 08:26:00,2.55,17850.0,United Kingdom
1,15056BL,EDWARDIAN PARASOL,6,2011-07-01 08:26:00,2.55,17850.0,United Kingdom
1,DOT,DOTCOM POSTAGE,1,2011-07-01 08:26:00,2.55,,United Kingdom
2,22467,\"wet\tboxes \",-3,2011-07-01 08:27:00,0,,United Kingdom
3,22467,amazon,3,2011-07-01 08:27:00,0,,United Kingdom
4,22467,GUM BALL,3,2011-07-01 08:27:00,1.0,1,Hong Kong
";
        let feed = read(file.as_bytes()).unwrap();
        let lines: Vec<Movement> = (0..6).map(|line| feed.lines.movement(line)).collect();
        let keys: Vec<&str> = lines.iter().map(|line| line.key.as_str()).collect();
        assert_eq!(keys, ["1-1", "1-2", "1-3", "2-1", "3-1", "4-1"]);
        let channels: Vec<&str> = lines.iter().map(|line| line.channel_id.as_str()).collect();
        assert_eq!(channels, [WEB, WEB, WEB, COUNTER, "amazon", "shop-hong-kong"]);
        assert_eq!((lines[0].sku.as_str(), lines[0].utc_offset_minutes), ("15056BL", 60));
        assert_eq!((lines[3].reason.as_str(), lines[3].note.as_str()), ("damage", "wet boxes"));
        assert_eq!((lines[3].quantity, lines[3].to_state()), (3, External));
        assert_eq!((lines[4].reason.as_str(), lines[4].from_state()), ("correction", External));
        assert_eq!(feed.unstocked, ["DOT"]);
        assert_eq!(
            (feed.lines.effect(2), feed.lines.effect(3).unwrap().change),
            (None, Change::By(-3))
        );
    }
}
