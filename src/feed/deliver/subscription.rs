//! What somebody wants to be told, and the events of a page of entries that they are told.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    feed::deliver::envelope::{PROMISES_MAX, Reader, Told},
    ledger::{
        Ledger,
        fault::Fault,
        outbox::{Attempt, Behind, Overdue, StepRead, Undelivered},
        queries::Names,
        reservation::PromiseOrder,
        webhook::Webhook,
    },
    stock::{
        entry::Entry,
        event::{Event, EventType, Stock, Threshold, belonging, events, stepped},
        ids::{ItemNo, Partition, Seq},
        policy::unserved,
        reservation::{Reservation, State},
    },
};

/// What somebody wants to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Their number.
    pub sink: i32,
    /// Empty: all.
    pub event_types: FxHashSet<EventType>,
    /// Whose buffer counts for availability.
    pub channel_id: Option<String>,
    /// So many available units, and fewer, are low.
    pub low_units: i64,
    /// Empty: all.
    pub location_ids: FxHashSet<String>,
    /// Empty: all.
    pub skus: FxHashSet<String>,
}

/// Events of entries that belong together, and where these end.
pub type Run = (Vec<Undelivered>, Seq);

impl Subscription {
    /// What a webhook wants.
    pub fn of(webhook: &Webhook) -> Subscription {
        Subscription {
            sink: webhook.no,
            event_types: webhook.event_types.iter().copied().collect(),
            channel_id: webhook.channel_id.clone(),
            low_units: webhook.low_stock_units,
            location_ids: webhook.location_ids.iter().cloned().collect(),
            skus: webhook.skus.iter().cloned().collect(),
        }
    }

    /// Whether it wants events of this type.
    pub fn wants(&self, event_type: EventType) -> bool {
        self.event_types.is_empty() || self.event_types.contains(&event_type)
    }

    fn wants_place(&self, entry: &Entry<'_>, names: &Names) -> bool {
        let listed = |list: &FxHashSet<String>, name: Option<&String>| {
            list.is_empty() || name.is_some_and(|name| list.contains(name))
        };
        listed(&self.location_ids, names.locations.get(&entry.location.0))
            && listed(&self.skus, names.items.get(&entry.item.0))
    }

    /// The events of a page, run by run. What may go on behind the page is left to the next one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn runs(
        &self,
        ledger: &Ledger,
        source: &str,
        partition: Partition,
        page: &Behind,
    ) -> Result<Vec<Run>, Fault> {
        let spans = spans(page);
        let reader = self.reader(ledger).await?;
        let steps = self.steps(ledger, partition, &page.entries).await?;
        let before = |step: &StepRead| step.before.map(|before| (step.seq, before));
        let states: FxHashMap<Seq, State> = steps.values().filter_map(before).collect();
        let mut found: Vec<(usize, Event)> = Vec::new();
        for &(from, until, _) in &spans {
            let run = page.entries.get(from..until).unwrap_or_default();
            let told = events(run, &reader.threshold, &states);
            let wanted = told.into_iter().filter(|event| self.wants(event.event_type));
            found.extend(wanted.map(|event| (from, event)));
        }
        let about: Vec<_> = found
            .iter()
            .filter_map(|(from, event)| page.entries.get(from + event.index))
            .chain(found.iter().filter_map(|(from, _)| page.entries.get(*from)))
            .cloned()
            .collect();
        let names = match about.is_empty() {
            true => Names::default(),
            false => ledger.names(&about).await?,
        };
        let skus = skus(ledger, &steps).await?;
        let mut made: FxHashMap<usize, Vec<Undelivered>> = FxHashMap::default();
        for (from, event) in &found {
            let index = from + event.index;
            let (Some(entry), Some(cause)) = (page.entries.get(index), page.entries.get(*from))
            else {
                continue;
            };
            if !self.wants_place(entry, &names) {
                continue;
            }
            let unserved = hit(ledger, event, entry).await?;
            let told = Told {
                source,
                event,
                entry,
                checksum: page.checksums.get(index).copied().unwrap_or(0),
                names: &names,
                reader: &reader,
                cause,
                step: steps.get(&entry.seq),
                skus: &skus,
                unserved: &unserved,
                open: 0,
            };
            made.entry(*from).or_default().push(undelivered(&told));
        }
        let run = |(from, _, end)| (made.remove(&from).unwrap_or_default(), end);
        Ok(spans.into_iter().map(run).collect())
    }

    /// The events of shipments that became overdue.
    ///
    /// # Errors
    /// The database is away.
    pub async fn overdue(
        &self,
        ledger: &Ledger,
        source: &str,
        overdue: &Overdue,
    ) -> Result<Vec<Undelivered>, Fault> {
        if overdue.shipments.is_empty() {
            return Ok(Vec::new());
        }
        let entries: Vec<_> = overdue.shipments.iter().map(|(entry, ..)| entry.clone()).collect();
        let names = ledger.names(&entries).await?;
        let (reader, skus) = (Reader::default(), FxHashMap::default());
        let told = overdue.shipments.iter().filter(|(entry, ..)| self.wants_place(entry, &names));
        let made = told.map(|(entry, checksum, open)| {
            let stock = Stock { sellable: entry.sellable_after, reserved: entry.reserved_after };
            let event = Event {
                event_type: EventType::TransferOverdue,
                index: 0,
                before: stock,
                after: stock,
                state_before: None,
            };
            undelivered(&Told {
                source,
                event: &event,
                entry,
                checksum: *checksum,
                names: &names,
                reader: &reader,
                cause: entry,
                step: None,
                skus: &skus,
                unserved: &[],
                open: *open,
            })
        });
        Ok(made.collect())
    }

    async fn reader(&self, ledger: &Ledger) -> Result<Reader, Fault> {
        let mut reader = Reader {
            threshold: Threshold { policy: None, low_units: self.low_units },
            channel: None,
        };
        let Some(channel_id) = &self.channel_id else { return Ok(reader) };
        ledger.directory().find_channels(&[channel_id]).await?;
        if let Some(known) = ledger.directory().known().known_channel(channel_id) {
            reader.threshold.policy = Some(Arc::clone(&known.policy));
            reader.channel = Some((known.channel, channel_id.clone()));
        }
        Ok(reader)
    }

    /// What the steps among these entries did, by entry; none, where nobody wants to know.
    async fn steps(
        &self,
        ledger: &Ledger,
        partition: Partition,
        entries: &[Entry<'_>],
    ) -> Result<FxHashMap<Seq, StepRead>, Fault> {
        if !EventType::ALL.into_iter().any(|known| known.of_reservation() && self.wants(known)) {
            return Ok(FxHashMap::default());
        }
        let steps = entries.iter().filter_map(|entry| Some((stepped(entry)?.no, entry.seq)));
        let steps: Vec<_> = steps.collect();
        if steps.is_empty() {
            return Ok(FxHashMap::default());
        }
        let read = ledger.steps_read(partition, &steps).await?;
        Ok(read.into_iter().map(|step| (step.seq, step)).collect())
    }
}

/// What belongs together: from, until, and the last sequence number of it.
fn spans(page: &Behind) -> Vec<(usize, usize, Seq)> {
    let mut spans: Vec<(usize, usize, Seq)> = Vec::new();
    let mut from = 0;
    while let Some(rest) = page.entries.get(from..).filter(|rest| !rest.is_empty()) {
        let until = from + belonging(rest);
        let end = page.entries.get(until).map_or(page.last, |next| next.seq - 1);
        spans.push((from, until, end));
        from = until;
    }
    if spans.is_empty() && page.last > 0 {
        // Nothing of it made sense.
        spans.push((0, 0, page.last));
    }
    if page.last < page.head && spans.len() > 1 {
        spans.pop();
    }
    spans
}

async fn skus(
    ledger: &Ledger,
    steps: &FxHashMap<Seq, StepRead>,
) -> Result<FxHashMap<ItemNo, String>, Fault> {
    let made = steps.values().filter_map(|step| step.after.as_ref());
    let items: FxHashSet<_> =
        made.flat_map(|made| made.lines.iter().map(|line| line.item)).collect();
    let directory = ledger.directory();
    let unknown: Vec<_> = {
        let known = directory.known();
        items.iter().filter(|item| known.sku_of(**item).is_none()).copied().collect()
    };
    if !unknown.is_empty() {
        directory.find_numbered_items(&unknown).await?;
    }
    let known = directory.known();
    let named = |item: ItemNo| known.sku_of(item).map(|sku| (item, sku.to_string()));
    Ok(items.into_iter().filter_map(named).collect())
}

/// Whom a shortfall hits, newest first.
async fn hit(
    ledger: &Ledger,
    event: &Event,
    entry: &Entry<'_>,
) -> Result<Vec<(Reservation, i64)>, Fault> {
    if event.event_type != EventType::Shortfall {
        return Ok(Vec::new());
    }
    let newest = PromiseOrder::NewestFirst;
    let made = ledger.promises(entry.position(), newest, PROMISES_MAX as i64).await?;
    let made = made.into_iter().filter(|made| made.id.no <= entry.seq).map(|made| {
        let units = made.reserved(entry.item);
        (made, units)
    });
    Ok(unserved(event.after.shortfall(), made))
}

fn undelivered(told: &Told<'_>) -> Undelivered {
    let (event_id, body) = told.envelope();
    let tells_of = stepped(told.entry).filter(|_| told.event.event_type.of_reservation());
    Undelivered {
        seq: told.entry.seq,
        event_type: told.event.event_type,
        event_id,
        location: told.entry.location,
        item: told.entry.item,
        reservation: tells_of.map(|id| id.no),
        body,
        attempt: Attempt::default(),
    }
}
