//! Steps of reservations out of bytes, as `strategy` makes movements: what they name depends on
//! what was promised so far.

use std::sync::Arc;

use jiff::tz::TimeZone;
use stockroom::stock::{
    calendar::{Calendar, Opening},
    channel_policy::{Policy, Rule},
    hash::Digest,
    hold::HoldId,
    ids::{ChannelNo, ItemNo, Place},
    live::{Closure, Live},
    movement::Command,
    pickup::PickupSecret,
    policy::Buffer,
    reservation::{CancelledBy, Reservation, ReservationId, Settlement, State},
    step::{Action, Change, Create, Elsewhere, Found, ShortCause, Step, Target, Wanted},
    terms::Terms,
    time::{SECOND, Timestamp},
};

use super::{
    network::{CALLER, ITEMS, LOCATIONS},
    strategy::Genes,
};

/// The channel with a policy.
pub const WEB: ChannelNo = ChannelNo(1);
/// What it may have at most of one item in one order.
pub const UNITS_MAX: i64 = 6;

/// The terms of a channel at a location that never closes. It has exceptions of every kind, and may
/// promise nothing of the last location.
pub fn terms(channel: Option<ChannelNo>) -> Arc<Terms> {
    let (item, location) = (Some(ITEMS[1].1), Some(LOCATIONS[1].1.location));
    let units = |units| Some(Buffer { units, percent: 0 });
    let percent = Some(Buffer { units: 0, percent: 20 });
    let rules = [
        Rule { item, location, buffer: units(3), ..Rule::default() },
        Rule { item, buffer: percent, units_per_order_max: Some(4), ..Rule::default() },
        Rule { location, buffer: units(2), units_per_order_max: Some(3), ..Rule::default() },
    ];
    let web = Policy {
        buffer: Buffer { units: 1, percent: 10 },
        units_per_order_max: UNITS_MAX,
        rules: rules.into_iter().collect(),
        eligible: LOCATIONS[..3].iter().map(|(_, place)| place.location).collect(),
        hold_ttl_max: 600 * SECOND,
        reservation_ttl_max: 7_200 * SECOND,
        answer_timeout: Some(90 * SECOND),
        ..Policy::default()
    };
    Arc::new(Terms {
        policy: Arc::new(channel.map_or_else(Policy::default, |_| web)),
        calendar: Arc::new(Calendar::new(TimeZone::UTC, Opening::default())),
        preparation: 1_200 * SECOND,
        live: Live::default(),
        pickups_per_quarter_hour: 0,
        secret: PickupSecret::new(b"secret"),
    })
}

/// What rules say, by looking at all of them: the one that names most, and the item before the location.
pub fn said<T>(
    policy: &Policy,
    place: Place,
    item: ItemNo,
    of: impl Fn(&Rule) -> Option<T>,
) -> Option<T> {
    let fits = |rule: &&Rule| {
        rule.item.is_none_or(|named| named == item)
            && rule.location.is_none_or(|named| named == place.location)
            && of(rule).is_some()
    };
    let names = |rule: &&Rule| (rule.item.is_some(), rule.location.is_some());
    policy.rules.iter().filter(fits).max_by_key(names).and_then(of)
}

/// What a channel keeps back of so many.
pub fn kept_back(policy: &Policy, place: Place, item: ItemNo, sellable: i64) -> i64 {
    let buffer = said(policy, place, item, |rule| rule.buffer).unwrap_or(policy.buffer);
    buffer.units + (sellable.max(0) * buffer.percent + 99) / 100
}

/// The same at a location that is closed for some hours.
fn shut(channel: Option<ChannelNo>, genes: &Genes, now: Timestamp) -> Arc<Terms> {
    let hours = |gene: u8| i64::from(gene) * 3_600 * SECOND / 8;
    let until = Some(now.saturating_add(hours(genes[2])));
    let closure = Some(Closure { from: Timestamp(now.0 - hours(genes[3])), until });
    let calendar = Calendar::new(TimeZone::UTC, Opening::default()).closed(closure);
    Arc::new(Terms { calendar: Arc::new(calendar), ..Terms::clone(&terms(channel)) })
}

/// A step without anything that is not mandatory.
pub fn step(key: &str, place: Place, action: Action) -> Step {
    Step {
        request_id: key.to_owned(),
        caller: CALLER.1,
        digest: Digest::of_request(CALLER.0, key),
        fingerprint: 0,
        actor: String::new(),
        channel: None,
        place,
        reason: String::new(),
        action,
    }
}

/// The same of a new promise.
pub fn create(lines: Vec<Wanted>, channel: Option<ChannelNo>) -> Create {
    Create {
        lines,
        per_line: false,
        ttl: None,
        hold: None,
        held_as: None,
        settlement: Settlement::PaidOnline,
        order_ref: String::new(),
        customer_ref: String::new(),
        terms: terms(channel),
    }
}

/// So many of an item, by its number in [`ITEMS`].
pub fn units(item: usize, quantity: i64) -> Wanted {
    let (sku, item) = ITEMS[item];
    Wanted { item, sku: sku.to_owned(), stock_item: sku != "service", quantity }
}

/// What steps can name.
pub struct Known<'k> {
    pub now: Timestamp,
    /// Every promise, oldest first.
    pub promises: &'k [Reservation],
    /// What was sent before.
    pub sent: &'k [Command],
}

/// What the bytes mean after everything that is known.
pub fn command(n: usize, genes: &Genes, known: &Known<'_>) -> Command {
    let shape = genes[0] % 32;
    let key = format!("q{n}");
    let place = LOCATIONS[[0, 0, 0, 1, 2, 3][usize::from(genes[1]) % 6]].1;
    let channel = genes[7].is_multiple_of(3).then_some(WEB);
    if shape >= 30 && !known.sent.is_empty() {
        return again(genes, known);
    }
    let mut step = match shape {
        0..=6 => step(&key, place, making(&key, place, genes, channel, known)),
        7 => return basket(&key, genes, channel),
        _ => changing(&key, shape, genes, known)
            .unwrap_or_else(|| step(&key, place, making(&key, place, genes, channel, known))),
    };
    if matches!(step.action, Action::Create(_)) {
        step.channel = channel;
    }
    step.fingerprint = i64::from(genes[2]) << 8 | i64::from(genes[3]);
    if genes[6] & 4 != 0 {
        step.reason = "because".to_owned();
    }
    Command::Step(Box::new(step))
}

/// Something again, now and then with other content.
fn again(genes: &Genes, known: &Known<'_>) -> Command {
    let mut command = known.sent[usize::from(genes[8]) % known.sent.len()].clone();
    if genes[9].is_multiple_of(4) {
        command.steps_mut().iter_mut().for_each(|step| step.fingerprint ^= 1 << 20);
    }
    command
}

fn making(
    key: &str,
    place: Place,
    genes: &Genes,
    channel: Option<ChannelNo>,
    known: &Known<'_>,
) -> Action {
    let mut create = create(lines(genes), channel);
    create.ttl = ttl(genes[4]);
    create.per_line = genes[6] & 1 != 0;
    if genes[6] & 2 != 0 {
        create.settlement = Settlement::PayInStore;
    }
    if genes[6] & 8 != 0 {
        create.order_ref = "order".to_owned();
        create.customer_ref = "customer".to_owned();
    }
    match genes[5] % 16 {
        0..=3 => {
            create.held_as = Some(HoldId::of(CALLER.0, place, key));
            create.ttl = Some(ttl(genes[4]).unwrap_or(900 * SECOND));
        }
        4..=6 => create.hold = hold(genes, known),
        7 => create.hold = Some(HoldId::of("cart", place, &format!("{}", genes[8] % 3))),
        8 if genes[9].is_multiple_of(4) => {
            create.hold = Some(HoldId::of("cart", place, "nothing"));
            create.lines.clear();
        }
        9 if genes[9].is_multiple_of(4) => create.lines.push(units(4, 1)),
        _ => {}
    }
    Action::Create(Box::new(create))
}

fn basket(key: &str, genes: &Genes, channel: Option<ChannelNo>) -> Command {
    let places = [0, 1, 2, 3].map(|location| LOCATIONS[location].1);
    let some = places.iter().enumerate().filter(|(n, _)| genes[1] & (1 << n) != 0);
    let steps = some.map(|(n, &place)| {
        let mut create = create(lines(genes), channel);
        create.lines.truncate(1 + n % 2);
        create.ttl = ttl(genes[4]);
        let action = Action::Create(Box::new(create));
        Step { channel, fingerprint: i64::from(genes[2]), ..step(key, place, action) }
    });
    Command::Basket(steps.collect())
}

fn changing(key: &str, shape: u8, genes: &Genes, known: &Known<'_>) -> Option<Step> {
    let unknown = ReservationId { place: LOCATIONS[0].1, epoch: 7, no: 100_000 };
    let target = choose(shape, genes, known)?;
    let (id, hold, channel) = match genes[9] {
        255 => (unknown, None, None),
        _ => (target.id, target.held_as, target.channel),
    };
    let hold = hold.filter(|_| genes[5] & 32 == 0);
    let target_of = match hold {
        Some(digest) => Target::Hold(HoldId { place: id.place, digest }),
        None if genes[9] == 254 => Target::Hold(HoldId::of("cart", id.place, "never")),
        None if genes[9] == 253 => Target::Hold(HoldId::of("cart", id.place, "0")),
        None => Target::Reservation(id),
    };
    let to = LOCATIONS[usize::from(genes[1]) % 4].1;
    let elsewhere = Elsewhere { to, more: vec![units(0, 1), units(1, 1)], terms: terms(channel) };
    let other = Some(elsewhere.clone()).filter(|_| to != id.place && genes[6] & 1 != 0);
    let by = if genes[6] & 2 != 0 { CancelledBy::Customer } else { CancelledBy::Store };
    let change = match shape {
        8 | 9 => Change::Amend {
            lines: amended(genes, target),
            more: Vec::new(),
            ttl: ttl(genes[4]).filter(|_| genes[6] & 1 != 0),
            terms: terms(channel),
        },
        10 if genes[6] & 16 != 0 => Change::Reschedule { terms: shut(channel, genes, known.now) },
        10 => {
            Change::Extend { ttl: ttl(genes[4]).unwrap_or(3_000 * SECOND), terms: terms(channel) }
        }
        11 => Change::ConfirmPayment { terms: terms(channel) },
        12 | 13 => Change::Move(elsewhere),
        14 => Change::Cancel { by },
        15 | 16 => Change::Expire,
        17 => Change::Unanswered { elsewhere: other },
        18 | 19 => Change::StartPicking,
        20 | 21 => Change::ReportPick { lines: found(genes, target), elsewhere: other },
        22 | 23 => Change::MarkReady,
        24..=26 => Change::Collect {
            lines: if genes[6] & 3 == 3 { lines(genes) } else { Vec::new() },
            code_fits: !genes[9].is_multiple_of(8),
        },
        27 | 28 => Change::ReturnToShelf,
        _ => Change::Release,
    };
    Some(step(key, id.place, Action::Change(target_of, change)))
}

/// A promise of the last few; mostly one that can take such a step.
fn choose<'k>(shape: u8, genes: &Genes, known: &Known<'k>) -> Option<&'k Reservation> {
    use State::{Cancelled, Expired, Held, Moved, Picking, Ready, Rejected, Reserved};
    let fits: &[State] = match shape {
        8 | 9 => &[Reserved, Picking, Held],
        10 => &[Reserved, Picking, Ready, Held],
        11..=14 => &[Reserved, Picking, Ready],
        15 | 16 => &[Reserved, Picking, Ready, Held],
        17 | 18 => &[Reserved],
        19..=21 => &[Reserved, Picking],
        22 | 23 => &[Picking],
        24..=26 => &[Reserved, Picking, Ready, Ready, Expired],
        27 | 28 => &[Cancelled, Rejected, Expired, Moved],
        _ => &[Held],
    };
    let aside = |promise: &Reservation| {
        promise.lines.iter().any(|line| line.picked > line.collected + line.shelved)
    };
    let fitting = known.promises.iter().rev().filter(|promise| {
        let late = promise.state == State::Expired;
        let goods = match shape {
            27 | 28 => aside(promise),
            17 => promise.answer_by.is_some(),
            // Something that was picked before it ended, for those who come late.
            15 | 16 if genes[6] & 3 != 0 => aside(promise) && promise.expires_at <= known.now,
            24..=26 if late || genes[5] & 8 != 0 => late && aside(promise),
            _ => true,
        };
        fits.contains(&promise.state) && goods
    });
    let mut fitting: Vec<_> = fitting.take(4).collect();
    if fitting.is_empty() {
        let others = known.promises.iter().rev();
        fitting = others.filter(|promise| fits.contains(&promise.state)).take(4).collect();
    }
    if !genes[5].is_multiple_of(8) && !fitting.is_empty() {
        return fitting.get(usize::from(genes[8]) % fitting.len()).copied();
    }
    known.promises.iter().rev().nth(usize::from(genes[8]) % known.promises.len().max(1))
}

/// A hold of the ledger, one that was consumed perhaps.
fn hold(genes: &Genes, known: &Known<'_>) -> Option<HoldId> {
    let holds = known.promises.iter().rev().filter_map(|promise| {
        promise.held_as.map(|digest| HoldId { place: promise.id.place, digest })
    });
    let holds: Vec<_> = holds.collect();
    holds.get(usize::from(genes[8]) % holds.len().max(1)).copied()
}

fn lines(genes: &Genes) -> Vec<Wanted> {
    let (first, both) = (usize::from(genes[2]) % 2, genes[2] & 4 != 0);
    let mut lines = vec![units(first, quantity(genes[3]))];
    if both {
        lines.push(units(1 - first, quantity(genes[3] / 16)));
    }
    lines
}

/// Mostly few, now and then more than there are or than the channel allows.
fn quantity(gene: u8) -> i64 {
    [1, 2, 1, 3, 2, 4, 3, 1, 2, 5, 1, 2, 3, 1, 7, 40][usize::from(gene) % 16]
}

/// All lines of a promise anew: fewer, more, none or another.
fn amended(genes: &Genes, target: &Reservation) -> Vec<Wanted> {
    let mut lines = Vec::new();
    for (line, gene) in target.lines.iter().zip([genes[2], genes[3], genes[8]]) {
        let index = ITEMS.iter().position(|(_, item)| *item == line.item).unwrap();
        let change = [0, 1, -1, -2, -40, 2, 0, 30][usize::from(gene) % 8];
        let quantity = line.quantity + change;
        // What is dropped is named or not.
        if quantity > 0 || gene & 8 != 0 {
            lines.push(units(index, quantity.max(0)));
        }
    }
    let known = |item: ItemNo| target.lines.iter().any(|line| line.item == item);
    let more = usize::from(genes[2] / 8) % 5;
    if !known(ITEMS[more].1) && more != 3 || lines.iter().all(|line| line.quantity == 0) {
        let more = if known(ITEMS[more].1) { 2 } else { more };
        lines.retain(|line| line.item != ITEMS[more].1);
        lines.push(units(more, quantity(genes[3])));
    }
    lines
}

fn found(genes: &Genes, target: &Reservation) -> Vec<Found> {
    let causes = [ShortCause::NotFound, ShortCause::Damaged, ShortCause::Mismatch];
    let mut found = Vec::new();
    for (line, gene) in target.lines.iter().zip([genes[2], genes[3], genes[8]]) {
        let left = line.quantity - line.picked;
        let units = match gene % 8 {
            0..=2 => left,
            3 => left - 1,
            4 | 5 => 0,
            6 => left / 2,
            _ => continue,
        };
        found.push(Found {
            item: line.item,
            sku: "sku".to_owned(),
            found: units.max(0),
            cause: causes[usize::from(gene / 8) % 3],
        });
    }
    match genes[9] {
        0..=7 => found.extend(found.clone().first_mut().map(|line| {
            line.item = ITEMS[3].1;
            line.clone()
        })),
        8..=15 => found.iter_mut().for_each(|line| line.found += 9),
        _ => {}
    }
    found
}

fn ttl(gene: u8) -> Option<i64> {
    let seconds = [30, 60, 60, 120, 150, 3_600, 86_400, 0];
    Some(seconds[usize::from(gene) % 8] * SECOND).filter(|ttl| *ttl > 0)
}
