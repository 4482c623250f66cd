//! What every kind of file becomes: rows in memory that turn into movements one by one.
//!
//! A year of tills is 1.5 million lines, and a `Movement` takes half a kilobyte: so a file keeps
//! compact rows of its own, and only what is about to be sent becomes a message.
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::api::proto::{Location, Movement};

/// A file that was read, and the master data that it rests on.
pub(crate) struct Feed {
    /// Created where they do not exist.
    pub(crate) locations: Vec<Location>,
    /// Ids of the channels, created where they do not exist.
    pub(crate) channels: Vec<String>,
    /// Codes that are no stock items, registered as such before the lines are sent.
    pub(crate) unstocked: Vec<String>,
    /// The lines to send.
    pub(crate) lines: Arc<dyn Lines>,
    /// Lines that were left out on purpose, for files whose rules leave any out.
    pub(crate) dropped: Option<u64>,
    /// Lines that could not be read at all.
    pub(crate) unreadable: Vec<Unreadable>,
    /// Set where some baskets are sent as reservations: how many seconds of the file pass in one.
    pub(crate) compress: Option<u32>,
}

/// A line that is not even a movement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// Line of the file, counted from 1.
    pub(crate) line: u64,
    /// What is wrong with it.
    pub(crate) problem: String,
}

/// The lines of a file, in file order.
pub(crate) trait Lines: Send + Sync {
    /// How many there are.
    fn count(&self) -> usize;
    /// The line as it is sent. The same whenever it is asked for: a resend must be the same fact.
    fn movement(&self, line: usize) -> Movement;
    /// Number of the location that the line names first.
    fn location(&self, line: usize) -> u32;
    /// What the line does to the stock that may be sold.
    fn effect(&self, line: usize) -> Option<Effect>;
    /// Id of a location by its number.
    fn location_id(&self, location: u32) -> &str;
    /// Item code by its number.
    fn sku(&self, sku: u32) -> &str;
    /// The sources of the file; the first also sends the opening stock.
    fn sources(&self) -> &[String];
    /// Number of the line's source.
    fn source(&self, _line: usize) -> u32 {
        0
    }
    /// First line after the group that begins with this line.
    fn block_end(&self, line: usize) -> usize {
        line + 1
    }
    /// Seconds of the earliest `occurred_at` that a server can accept.
    fn starts_at(&self) -> Option<i64>;
    /// The basket that the line was bought in, for files that know it.
    fn basket(&self, _line: usize) -> Option<Basket> {
        None
    }
}

/// One purchase at one till.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Basket {
    /// Its number in the file.
    pub(crate) id: u64,
    /// Who bought it.
    pub(crate) household: u32,
    /// Seconds since 1970.
    pub(crate) at: i64,
}

/// What a line does to SELLABLE of one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Numbers of the location and the item.
    pub(crate) position: (u32, u32),
    /// Units that went to a customer.
    pub(crate) sold: i64,
    /// What happens to the balance.
    pub(crate) change: Change,
}

/// How a balance moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// By so many units.
    By(i64),
    /// To what was counted.
    To(i64),
}

/// Gives each different text a small number, in the order of first appearance.
#[derive(Default)]
pub(crate) struct Names {
    numbers: FxHashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
}

impl Names {
    /// The number of `name`, a new one if it is new.
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.numbers.insert(name.into(), number);
        self.names.push(name.into());
        number
    }

    /// The text behind a number; empty for a number that was never given.
    pub(crate) fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", AsRef::as_ref)
    }

    /// Every text, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }
}
