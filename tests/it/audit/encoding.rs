//! What is hashed: every field, and nothing twice.

use std::borrow::Cow;

use proptest::prelude::*;
use stockroom::{
    ledger::chain::{Chain, Link},
    stock::{
        entry::{Counter, Entry, Flags, Legs},
        ids::{ChannelNo, ItemNo, LocationNo, Partition, Place, SourceNo},
        kind::{Kind, StockState},
        reservation::State,
        time::Timestamp,
    },
};

type Texts = [String; 10];
type Text = for<'e> fn(&'e mut Entry<'static>) -> &'e mut Cow<'static, str>;

prop_compose! {
    fn an_entry()(
        numbers in any::<[i64; 12]>(),
        small in any::<[i32; 8]>(),
        texts in proptest::array::uniform10("[a-c]{0,3}"),
        options in any::<[Option<i32>; 5]>(),
        states in proptest::option::of((1..=6_i32, 1..=6_i32)),
        reservation_state in proptest::option::of(1..=11_i16),
        legs in 0..=3_i16,
        kind in proptest::sample::select(vec![Kind::Sale, Kind::Count, Kind::Reserve]),
    ) -> Entry<'static> {
        let [seq, quantity, sellable_after, reserved_change, reserved_after, ..] = numbers;
        let [.., occurred, effective, recorded, fingerprint, other, refers, expected] = numbers;
        let texts: Texts = texts;
        let [key, actor, reason, document, note, group, reservation_id, hold_id, ..] =
            texts.clone().map(Cow::Owned);
        let [.., original_source, original_key] = texts.map(Cow::Owned);
        let state = |number| StockState::of(number).unwrap();
        Entry {
            partition: Partition(small[0] as i16),
            seq,
            kind,
            location: LocationNo(small[1]),
            item: ItemNo(small[2]),
            legs: Legs::of(legs).unwrap(),
            states: states.map(|(from, to)| (state(from), state(to))),
            quantity,
            sellable_after,
            reserved_change,
            reserved_after,
            source: SourceNo(small[3]),
            key,
            fingerprint,
            channel: options[0].map(ChannelNo),
            actor,
            reason,
            document,
            document_line: small[4].unsigned_abs(),
            note,
            reservation_id,
            hold_id,
            original_source,
            original_key,
            group,
            counter: options[1].map(|location| Counter {
                place: Place { partition: Partition(0), location: LocationNo(location) },
                seq: other,
            }),
            refers_to: options[2].map(|_| refers),
            expected_at: options[3].map(|_| Timestamp(expected)),
            occurred_at: Timestamp(occurred),
            utc_offset_minutes: small[5] as i16,
            effective_at: Timestamp(effective),
            recorded_at: Timestamp(recorded),
            flags: Flags(small[6] as i16),
            reservation_state: reservation_state.and_then(State::of),
        }
    }
}

/// An entry with each of its fields changed, one at a time.
fn changed(entry: &Entry<'static>) -> Vec<Entry<'static>> {
    [changed_numbers(entry), changed_states(entry), changed_texts(entry)].concat()
}

fn changed_numbers(entry: &Entry<'static>) -> Vec<Entry<'static>> {
    let with = |change: fn(&mut Entry<'static>)| {
        let mut entry = entry.clone();
        change(&mut entry);
        entry
    };
    vec![
        with(|entry| entry.partition.0 ^= 1),
        with(|entry| entry.seq ^= 1),
        with(|entry| entry.kind = if entry.kind == Kind::Sale { Kind::Return } else { Kind::Sale }),
        with(|entry| entry.location.0 ^= 1),
        with(|entry| entry.item.0 ^= 1),
        with(|entry| entry.legs = Legs::of(entry.legs as i16 ^ 1).unwrap()),
        with(|entry| entry.quantity ^= 1),
        with(|entry| entry.sellable_after ^= 1),
        with(|entry| entry.reserved_change ^= 1),
        with(|entry| entry.reserved_after ^= 1),
        with(|entry| entry.source.0 ^= 1),
        with(|entry| entry.fingerprint ^= 1),
        with(|entry| entry.document_line ^= 1),
        with(|entry| entry.occurred_at.0 ^= 1),
        with(|entry| entry.utc_offset_minutes ^= 1),
        with(|entry| entry.effective_at.0 ^= 1),
        with(|entry| entry.recorded_at.0 ^= 1),
        with(|entry| entry.flags.0 ^= 1),
        with(|entry| entry.channel = entry.channel.xor(Some(ChannelNo(0)))),
        with(|entry| entry.refers_to = entry.refers_to.xor(Some(0))),
        with(|entry| entry.expected_at = entry.expected_at.xor(Some(Timestamp(0)))),
        with(|entry| entry.reservation_state = entry.reservation_state.xor(State::of(1))),
        with(|entry| {
            let place = Place { partition: Partition(0), location: LocationNo(0) };
            entry.counter = entry.counter.xor(Some(Counter { place, seq: 0 }));
        }),
    ]
}

fn changed_states(entry: &Entry<'static>) -> Vec<Entry<'static>> {
    let other = |state: StockState| match state {
        StockState::Sellable => StockState::Staged,
        _ => StockState::Sellable,
    };
    let mut all = vec![Entry {
        states: match entry.states {
            None => Some((StockState::Sellable, StockState::Staged)),
            Some((from, to)) => Some((other(from), to)),
        },
        ..entry.clone()
    }];
    all.extend(
        entry.states.map(|(from, to)| Entry { states: Some((from, other(to))), ..entry.clone() }),
    );
    all.extend(entry.counter.map(|mut counter| {
        counter.seq ^= 1;
        Entry { counter: Some(counter), ..entry.clone() }
    }));
    all
}

fn changed_texts(entry: &Entry<'static>) -> Vec<Entry<'static>> {
    let mut all = Vec::new();
    let texts: [Text; 10] = [
        |entry| &mut entry.key,
        |entry| &mut entry.actor,
        |entry| &mut entry.reason,
        |entry| &mut entry.document,
        |entry| &mut entry.note,
        |entry| &mut entry.reservation_id,
        |entry| &mut entry.hold_id,
        |entry| &mut entry.original_source,
        |entry| &mut entry.original_key,
        |entry| &mut entry.group,
    ];
    for (text, next) in texts.iter().zip(texts.iter().skip(1)) {
        let mut longer = entry.clone();
        text(&mut longer).to_mut().push('x');
        all.push(longer);
        // What moves from one text to the next is not the same either.
        let mut moved = entry.clone();
        if let Some(last) = text(&mut moved).to_mut().pop() {
            next(&mut moved).to_mut().insert(0, last);
            all.push(moved);
        }
    }
    let mut longer = entry.clone();
    longer.group.to_mut().push('x');
    all.push(longer);
    all
}

fn link(entry: &Entry<'static>, from: Chain, epoch: i64) -> Link {
    let chained = from.extend(Partition(0), epoch, from.seq, std::slice::from_ref(entry));
    chained.links.into_iter().last().unwrap()
}

proptest! {
    #[test]
    fn any_changed_field_changes_the_digest_and_the_hash(entry in an_entry()) {
        let digest = entry.digest();
        let chain = Chain { seq: 7, hash: [9; 32] };
        let hash = link(&entry, chain, 1).hash;
        for other in changed(&entry) {
            prop_assert_ne!(digest, other.digest(), "{:?} and {:?}", entry, other);
            prop_assert_ne!(entry.checksum(), other.checksum());
            prop_assert_ne!(hash, link(&other, chain, 1).hash);
        }
        prop_assert_ne!(hash, link(&entry, chain, 2).hash);
        prop_assert_ne!(hash, link(&entry, Chain { seq: 8, ..chain }, 1).hash);
        prop_assert_ne!(hash, link(&entry, Chain { hash: [8; 32], ..chain }, 1).hash);
    }

    #[test]
    fn a_batch_is_not_two_of_the_same_entries(one in an_entry(), other in an_entry()) {
        let both = Chain::default().extend(Partition(0), 1, 0, &[one.clone(), other.clone()]);
        let first = Chain::default().extend(Partition(0), 1, 0, std::slice::from_ref(&one));
        let second = first.chain.extend(Partition(0), 1, 1, std::slice::from_ref(&other));
        prop_assert_eq!(both.chain.seq, second.chain.seq);
        prop_assert_ne!(both.chain.hash, second.chain.hash);
        let swapped = Chain::default().extend(Partition(0), 1, 0, &[other.clone(), one.clone()]);
        prop_assert!(one == other || both.chain.hash != swapped.chain.hash);
    }
}
