//! Random sequences of batches. A line is twelve bytes, so that a failing sequence shrinks towards
//! few and plain lines; [`batches`] says what the bytes mean.

use proptest::{collection::vec, prelude::*};
use stockroom::stock::{
    draft::Draft,
    kind::Kind,
    refusal::Refusal,
    time::{SECOND, Timestamp},
};

use super::network::{ITEMS, LOCATIONS, SOURCES, Sent};

/// One line.
pub type Genes = [u8; 12];

/// When the first batch is recorded.
pub const NOW: Timestamp = Timestamp(1_700_000_000 * SECOND);
/// Facts happen in slots of a minute: few, so that they collide.
pub const SLOT: i64 = 60 * SECOND;

const KINDS: [Kind; 16] = [
    Kind::Receipt,
    Kind::Sale,
    Kind::Count,
    Kind::Expect,
    Kind::ShipOut,
    Kind::Return,
    Kind::TransferShip,
    Kind::TransferReceive,
    Kind::Adjust,
    Kind::Block,
    Kind::Unblock,
    Kind::Sale,
    Kind::Count,
    Kind::Receipt,
    Kind::TransferShip,
    Kind::Receipt,
];

/// Up to `lines_max` lines.
pub fn genes(lines_max: usize) -> impl Strategy<Value = Vec<Genes>> {
    vec(any::<Genes>(), 1..=lines_max)
}

/// What the bytes mean: batches of lines.
pub fn batches(genes: &[Genes]) -> Vec<Vec<Sent>> {
    let mut sent: Vec<_> = genes.iter().enumerate().map(|(n, genes)| plain(n, genes)).collect();
    let shape = |genes: &Genes| genes[0] % 32;
    for (n, genes) in genes.iter().enumerate() {
        let other = sent[usize::from(genes[8]) % sent.len()].clone();
        match shape(genes) {
            17..=19 => refer(&mut sent[n], genes, Kind::Return, &other),
            20..=25 => refer(&mut sent[n], genes, Kind::Correct, &other),
            _ => {}
        }
    }
    for (n, genes) in genes.iter().enumerate() {
        let other = sent[usize::from(genes[8]) % sent.len()].clone();
        match shape(genes) {
            26 | 27 => sent[n] = other,
            28 => {
                sent[n] = other;
                sent[n].draft.note.push('!');
            }
            29 => spoil_time(&mut sent[n], genes),
            30 => spoil_item(&mut sent[n], genes),
            31 => break_rule(&mut sent[n], usize::from(genes[9])),
            _ => {}
        }
    }
    let mut batches = vec![Vec::new()];
    for (line, genes) in sent.into_iter().zip(genes) {
        if genes[10] % 4 == 0 {
            batches.push(Vec::new());
        }
        batches.last_mut().unwrap().push(line);
    }
    batches
}

/// Lines of which every order must end the same, so none of which any order refuses: every moment
/// once, every original corrected once at most, returns of sales of the same item, some lines twice.
pub fn facts(genes: &[Genes]) -> Vec<Sent> {
    let mut sent: Vec<_> = genes.iter().enumerate().map(|(n, genes)| plain(n, genes)).collect();
    let last = sent.len() as i64;
    for (n, line) in sent.iter_mut().enumerate() {
        let slot = (i64::from(genes[n][7]) * 1_000 + n as i64) % 24_000;
        line.draft.occurred_at = Some(Timestamp(NOW.0 - 30 * SLOT - last + slot * SLOT / 1_000));
        line.draft.group.clear();
        line.source = "t0";
    }
    let mut corrected = vec![false; sent.len()];
    for (n, genes) in genes.iter().enumerate() {
        let m = usize::from(genes[8]) % sent.len();
        let other = sent[m].clone();
        let kind = Kind::of(other.draft.kind).unwrap();
        let free = m != n && !sent.iter().any(|line| refers_to(line, n));
        match genes[0] % 32 {
            13..=16 if free && [Kind::Sale, Kind::ShipOut].contains(&kind) => {
                refer(&mut sent[n], genes, Kind::Return, &other);
                sent[n].draft.sku = other.draft.sku;
            }
            17..=25 if free && kind != Kind::Correct && !corrected[m] => {
                refer(&mut sent[n], &[0; 12], Kind::Correct, &other);
                sent[n].draft.occurred_at = other.draft.occurred_at;
                corrected[m] = true;
            }
            _ => {}
        }
    }
    for (n, genes) in genes.iter().enumerate() {
        if genes[0] % 32 >= 28 {
            let again = sent[usize::from(genes[8]) % (n + 1)].clone();
            sent.push(again);
        }
    }
    sent
}

fn refers_to(line: &Sent, n: usize) -> bool {
    line.draft.original.as_ref().is_some_and(|(_, key)| *key == format!("k{n}"))
}

fn plain(n: usize, genes: &Genes) -> Sent {
    let kind = KINDS[usize::from(genes[1]) % KINDS.len()];
    let location = [0, 0, 0, 1, 2, 3][usize::from(genes[2]) % 6];
    let to_location = (location + 1 + usize::from(genes[3]) % 3) % LOCATIONS.len();
    let item = [0, 0, 0, 1, 0, 2][usize::from(genes[4]) % 6];
    let slot = i64::from(genes[7] % 24);
    let mut draft = Draft {
        key: format!("k{n}"),
        kind: kind as i32,
        location_id: LOCATIONS[location].0.to_owned(),
        sku: ITEMS[item].0.to_owned(),
        quantity: i64::from(genes[6] % 4) + i64::from(kind != Kind::Count),
        occurred_at: (genes[7] < 240).then_some(Timestamp(NOW.0 - 20 * SLOT + slot * SLOT)),
        ..Draft::default()
    };
    state(&mut draft, kind, usize::from(genes[11]));
    match kind {
        Kind::TransferShip => draft.to_location_id = LOCATIONS[to_location].0.to_owned(),
        Kind::Expect | Kind::Receipt | Kind::Adjust => {
            draft.document = ["d1", "", "d2", "d1"][usize::from(genes[9]) % 4].to_owned();
            draft.document_line = u32::from(genes[9] & 12 == 0);
        }
        Kind::Sale if genes[9] & 3 == 0 => draft.hold_id = "h1".to_owned(),
        Kind::Sale if genes[9] & 3 == 1 => draft.channel_id = "web".to_owned(),
        _ => {}
    }
    if genes[10] >= 160 {
        draft.group = format!("g{}", n / 3);
    }
    Sent { source: SOURCES[usize::from(genes[5] % 4 == 3)].0, draft, broken: None }
}

fn state(draft: &mut Draft, kind: Kind, pick: usize) {
    let (from, to, reason) = match kind {
        Kind::Receipt => [(0, 0, ""), (5, 0, ""), (6, 3, ""), (0, 3, "")][pick % 4],
        Kind::Sale | Kind::ShipOut => [(0, 0, ""), (2, 0, ""), (1, 6, "")][pick % 3],
        Kind::Return => [(0, 0, "unwanted"), (0, 3, "broken")][pick % 2],
        Kind::Adjust => [
            (1, 0, "damage"),
            (0, 1, "found"),
            (0, 2, "found"),
            (3, 6, "scrap"),
            (4, 0, "lost_in_transit"),
            (5, 6, "correction"),
            (6, 5, "correction"),
        ][pick % 7],
        _ => (0, 0, ""),
    };
    (draft.from_state, draft.to_state) = (from, to);
    draft.reason = reason.to_owned();
}

/// Makes a linked return or a correction of `other`, now and then a wrong one.
fn refer(sent: &mut Sent, genes: &Genes, kind: Kind, other: &Sent) {
    let draft = &mut sent.draft;
    let (key, occurred_at, group) =
        (draft.key.clone(), draft.occurred_at, std::mem::take(&mut draft.group));
    let location_id = match kind {
        Kind::Return => draft.location_id.clone(),
        _ => other.draft.location_id.clone(),
    };
    *draft = Draft {
        key,
        kind: kind as i32,
        location_id,
        sku: other.draft.sku.clone(),
        quantity: draft.quantity.max(1),
        occurred_at,
        original: Some((other.source.to_owned(), other.draft.key.clone())),
        group,
        ..Draft::default()
    };
    let detail = genes[9] % 16;
    if detail == 15 {
        draft.sku = ITEMS[1].0.to_owned();
    }
    if kind == Kind::Correct {
        if detail & 3 == 1 {
            (draft.document, draft.document_line) = ("d1".to_owned(), 1);
        }
        draft.reason = ["did_not_occur", "incorrect_data"][usize::from(detail % 2)].to_owned();
        let wrong = other.draft.quantity + 1;
        draft.quantity = [other.draft.quantity, 0, wrong]
            [usize::from(detail.saturating_sub(12)).min(1) + usize::from(detail == 14)];
    }
}

fn spoil_time(sent: &mut Sent, genes: &Genes) {
    let at = [Timestamp(0), Timestamp(NOW.0 + 60 * SLOT)][usize::from(genes[9] % 2)];
    sent.draft.occurred_at = Some(at);
}

fn spoil_item(sent: &mut Sent, genes: &Genes) {
    let (sku, location) = [("service", None), ("full", Some("s0"))][usize::from(genes[9] % 2)];
    sent.draft.sku = sku.to_owned();
    if let Some(location) = location.filter(|_| sent.draft.to_location_id.is_empty()) {
        sent.draft.location_id = location.to_owned();
    }
}

/// Breaks a static rule, or names what does not exist; the rules are in order of precedence.
pub fn break_rule(sent: &mut Sent, rule: usize) {
    let draft = &mut sent.draft;
    let rules: [Rule; RULES] = [
        (Refusal::KeyInvalid, |draft| draft.key = "\n".to_owned()),
        (Refusal::KindInvalid { kind: 13 }, |draft| draft.kind = 13),
        (Refusal::LocationIdInvalid, |draft| draft.location_id = "s 0".to_owned()),
        (Refusal::SkuInvalid, |draft| draft.sku = "i  0".to_owned()),
        (Refusal::FieldInvalid { field: "note" }, |draft| draft.note = "\u{7}".to_owned()),
        (Refusal::QuantityOutOfRange { quantity: -1 }, |draft| draft.quantity = -1),
        (Refusal::StateInvalid, |draft| {
            (draft.from_state, draft.to_state) = (6, 6);
        }),
        (Refusal::ReasonRequired, |draft| {
            (draft.kind, draft.reason) = (Kind::Correct as i32, "because".to_owned());
            (draft.from_state, draft.to_state, draft.expected_at) = (0, 0, None);
        }),
        (Refusal::OriginalRequired, |draft| {
            (draft.kind, draft.reason) = (Kind::Correct as i32, "did_not_occur".to_owned());
            (draft.from_state, draft.to_state, draft.original) = (0, 0, None);
        }),
        (Refusal::ToLocationInvalid, |draft| {
            draft.to_location_id = match draft.kind {
                6 => draft.location_id.clone(),
                _ => "s1".to_owned(),
            };
        }),
        (Refusal::LocationUnknown { location_id: "s9".to_owned() }, |draft| {
            draft.location_id = "s9".to_owned();
        }),
        (Refusal::ChannelUnknown { channel_id: "c9".to_owned() }, |draft| {
            draft.channel_id = "c9".to_owned();
        }),
    ];
    let (refusal, spoil) = rules[rule % RULES].clone();
    spoil(draft);
    sent.broken = Some(refusal);
}

/// What is refused, and how to break it.
type Rule = (Refusal, fn(&mut Draft));

/// How many rules [`break_rule`] can break.
pub const RULES: usize = 12;
