//! Names to numbers: what must be known of a movement before its partition can decide on it.

use std::collections::{BTreeSet, HashMap, hash_map::Entry};

use crate::{
    ambient,
    availability::hold::{HoldStatus, KnownHold},
    ledger::{
        directory::{Known, KnownItem},
        fault::Fault,
        queries::FoundRequest,
    },
    stock::{
        draft::Draft,
        hash::Digest,
        ids::{ChannelNo, ItemNo, Place, SourceNo},
        kind::Kind,
        movement::{Command, Movement, Original},
        refusal::Refusal,
        time::{Micros, SECOND, Timestamp},
    },
    writer::{Answer, Report, Verdict, Writer},
};

/// Clocks that differ by less agree: the difference is the network's.
const CLOCK_OFFSET_MIN: Micros = 2 * SECOND;

/// A report, ready for the lanes.
#[derive(Debug)]
pub(super) struct Resolved {
    /// One slot per line; filled where the line is answered already.
    pub answers: Vec<Option<Answer>>,
    /// The others, with the lines of their movements.
    pub commands: Vec<(Vec<usize>, Command)>,
}

/// The names of one line, resolved.
struct Names {
    place: Place,
    to_place: Option<Place>,
    channel: Option<ChannelNo>,
    item: KnownItem,
}

/// What all lines of a report share.
struct Sender {
    source: String,
    source_no: SourceNo,
    actor: String,
    clock_offset: Micros,
    /// As [`Movement::up_to`].
    up_to: bool,
}

impl Writer {
    /// Judges what can be judged line by line, finds the names of the rest, and forms commands.
    pub(super) async fn resolve(&self, report: Report) -> Result<Resolved, Fault> {
        let Report { source, sent_at, actor, drafts, up_to, barred, .. } = report;
        let mut checked: Vec<_> = drafts.iter().map(Draft::check).collect();
        for (line, refusal) in barred.refused {
            if let Some(good @ Ok(_)) = checked.get_mut(line) {
                *good = Err(refusal);
            }
        }
        let good = || drafts.iter().zip(&checked).filter(|(_, checked)| checked.is_ok());
        self.find_names(|| good().map(|(draft, _)| draft)).await?;
        let sender = Sender {
            source_no: self.stores.ledger.directory().source(&source).await?,
            clock_offset: sent_at.map_or(0, clock_offset),
            source,
            actor,
            up_to,
        };
        let mut originals = self.find_originals(&drafts).await?;
        let mut answers: Vec<_> = drafts.iter().map(|_| None).collect();
        let mut movements = Vec::with_capacity(drafts.len());
        {
            let known = self.stores.ledger.directory().known();
            for (line, (draft, checked)) in drafts.into_iter().zip(checked).enumerate() {
                let named = checked.and_then(|kind| Ok((kind, names(&known, &draft)?)));
                match named {
                    Ok((kind, names)) => {
                        let mut movement = sender.movement(draft, kind, &names);
                        movement.promise_unseen = barred.unseen.binary_search(&line).is_ok();
                        originals.resolve(&mut movement);
                        movements.push((line, movement));
                    }
                    Err(refusal) => {
                        answers[line] = Some(refused(draft, refusal));
                    }
                }
            }
        }
        originals.resolve_within(&mut movements, &sender.source);
        self.find_holds(&mut movements).await;
        let commands = group(movements, &answers);
        Ok(Resolved { answers, commands })
    }

    /// Makes every name known that exists. An item that does not is numbered when the first line of it
    /// is recorded, so that bad input leaves nothing behind.
    async fn find_names<'d, I: Iterator<Item = &'d Draft>>(
        &self,
        drafts: impl Fn() -> I,
    ) -> Result<(), Fault> {
        let directory = self.stores.ledger.directory();
        let unknown = |names: &dyn Fn(&'d Draft) -> [&'d str; 2], known: &dyn Fn(&str) -> bool| {
            let names = drafts().flat_map(names);
            let unknown = names.filter(|name| !name.is_empty() && !known(name));
            unknown.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
        };
        let locations = unknown(&|draft| [&draft.location_id, &draft.to_location_id], &|name| {
            directory.known().place(name).is_some()
        });
        if !locations.is_empty() {
            directory.find_locations(&locations).await?;
        }
        let channels = unknown(&|draft| [&draft.channel_id, ""], &|name| {
            directory.known().channel(name).is_some()
        });
        if !channels.is_empty() {
            directory.find_channels(&channels).await?;
        }
        let items =
            unknown(&|draft| [&draft.sku, ""], &|name| directory.known().item(name).is_some());
        if items.is_empty() { Ok(()) } else { directory.find_items(&items).await }
    }

    /// Marks sales whose hold, as Redis is sure, promises nothing of their item. A basket names one hold
    /// on every line, so each is looked up once.
    async fn find_holds(&self, movements: &mut [(usize, Movement)]) {
        let named =
            |movement: &Movement| movement.hold().filter(|_| movement.reservation().is_none());
        let mut found = HashMap::new();
        for (_, movement) in movements {
            let Some(id) = named(movement) else { continue };
            let hold = match found.entry(id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    unknown.insert(self.stores.availability.get(id).await.ok())
                }
            };
            movement.hold_unknown = match hold {
                Some(KnownHold::Here(hold, HoldStatus::Live)) => {
                    !hold.lines.iter().any(|line| line.item == movement.item)
                }
                Some(KnownHold::Here(..) | KnownHold::Unknown) => true,
                Some(KnownHold::InLedger) | None => false,
            };
        }
    }

    /// Where the originals are that the drafts refer to. Without a lock: what moves meanwhile is
    /// noticed under the lock.
    async fn find_originals(&self, drafts: &[Draft]) -> Result<Originals, Fault> {
        let refers = drafts.iter().filter_map(|draft| draft.original.as_ref());
        let digests: BTreeSet<_> = refers.map(|(source, key)| Digest::of(source, key)).collect();
        let mut found: HashMap<Digest, Vec<FoundRequest>> = HashMap::new();
        if !digests.is_empty() {
            let digests: Vec<_> = digests.into_iter().collect();
            for request in self.stores.ledger.find_requests(&digests).await? {
                found.entry(request.digest).or_default().push(request);
            }
        }
        Ok(Originals { found })
    }
}

impl Sender {
    fn movement(&self, draft: Draft, kind: Kind, names: &Names) -> Movement {
        let original = draft.original.as_ref().map(|(source, key)| Original {
            digest: Digest::of(source, key),
            place: None,
            counter_place: None,
        });
        Movement {
            actor: self.actor.clone(),
            digest: Digest::of(&self.source, &draft.key),
            fingerprint: draft.fingerprint(),
            source: self.source_no,
            kind,
            place: names.place,
            to_place: names.to_place,
            item: names.item.item,
            stock_item: names.item.stock_item,
            up_to: self.up_to,
            channel: names.channel,
            clock_offset: self.clock_offset,
            original,
            hold_unknown: false,
            promise_unseen: false,
            draft,
        }
    }
}

/// Requests that something refers to, by digest; the same key may be at several locations.
struct Originals {
    found: HashMap<Digest, Vec<FoundRequest>>,
}

impl Originals {
    /// A correction is about its own location; a return may be about any, its own first.
    fn resolve(&mut self, movement: &mut Movement) {
        let (kind, own) = (movement.kind, movement.place);
        let Some(original) = &mut movement.original else { return };
        let Some(found) = self.found.get(&original.digest) else { return };
        let here = found.iter().find(|request| request.place == own);
        let posted = || found.iter().find(|request| request.posted);
        let request = if kind == Kind::Return { here.or_else(posted) } else { here };
        if let Some(request) = request.filter(|_| kind != Kind::TransferReceive) {
            original.place = Some(request.place);
            original.counter_place = request.counter_place;
        }
    }

    /// A return may come in the same report as its sale.
    fn resolve_within(&self, movements: &mut [(usize, Movement)], source: &str) {
        let unresolved = |movement: &Movement| {
            let original = movement.original.filter(|_| movement.kind == Kind::Return);
            original.filter(|original| original.place.is_none()).map(|original| original.digest)
        };
        if !movements.iter().any(|(_, movement)| unresolved(movement).is_some()) {
            return;
        }
        let places: HashMap<_, _> =
            movements.iter().map(|(_, movement)| (movement.digest, movement.place)).collect();
        for (_, movement) in movements {
            let Some(digest) = unresolved(movement) else { continue };
            let sent_by = movement.draft.original.as_ref().map(|(source, _)| &**source);
            if let (Some(&place), Some(original)) = (places.get(&digest), &mut movement.original)
                && sent_by == Some(source)
            {
                original.place = Some(place);
            }
        }
    }
}

fn places(
    known: &Known,
    draft: &Draft,
) -> Result<(Place, Option<Place>, Option<ChannelNo>), Refusal> {
    let place = |location_id: &str| {
        let unknown = || Refusal::LocationUnknown { location_id: location_id.to_owned() };
        known.place(location_id).ok_or_else(unknown)
    };
    let own = place(&draft.location_id)?;
    let stated = |text| Some(text).filter(|text: &&String| !text.is_empty());
    let to_place = stated(&draft.to_location_id).map(|id| place(id)).transpose()?;
    let unknown = |id: &String| Refusal::ChannelUnknown { channel_id: id.clone() };
    let channel = stated(&draft.channel_id);
    let channel = channel.map(|id| known.channel(id).ok_or_else(|| unknown(id))).transpose()?;
    Ok((own, to_place, channel))
}

fn names(known: &Known, draft: &Draft) -> Result<Names, Refusal> {
    let (place, to_place, channel) = places(known, draft)?;
    let unnumbered = || KnownItem {
        item: ItemNo::provisional(&draft.sku),
        stock_item: true,
        recalled: false,
        revision: 0,
    };
    let item = known.item(&draft.sku).unwrap_or_else(unnumbered);
    Ok(Names { place, to_place, channel, item })
}

/// Lines with the same group become one command; one bad line spoils it.
fn group(
    movements: Vec<(usize, Movement)>,
    answers: &[Option<Answer>],
) -> Vec<(Vec<usize>, Command)> {
    // So far only refusals are answered.
    let groups = answers.iter().flatten().map(|answer| &*answer.draft.group);
    let spoiled: BTreeSet<_> = groups.filter(|group| !group.is_empty()).collect();
    let mut commands = Vec::with_capacity(movements.len());
    let mut groups: HashMap<String, usize> = HashMap::new();
    for (line, movement) in movements {
        let group = &movement.draft.group;
        if group.is_empty() {
            commands.push((vec![line], Command::One(movement)));
        } else if let Some(&index) = groups.get(group) {
            let (lines, command): &mut (Vec<usize>, Command) = &mut commands[index];
            lines.push(line);
            if let Command::Group(movements) | Command::Spoiled(movements) = command {
                movements.push(movement);
            }
        } else {
            groups.insert(group.clone(), commands.len());
            let command = match spoiled.contains(&**group) {
                true => Command::Spoiled(vec![movement]),
                false => Command::Group(vec![movement]),
            };
            commands.push((vec![line], command));
        }
    }
    commands
}

fn refused(draft: Draft, refusal: Refusal) -> Answer {
    Answer { draft, verdict: Verdict::Refused(refusal) }
}

/// How far the source's clock is behind ours.
fn clock_offset(sent_at: Timestamp) -> Micros {
    let offset = ambient::now().0.saturating_sub(sent_at.0);
    if offset.abs() < CLOCK_OFFSET_MIN { 0 } else { offset }
}
