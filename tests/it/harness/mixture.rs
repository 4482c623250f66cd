//! A ledger with a bit of everything: every kind of movement, in order and out of order, within and
//! across partitions.

mod promises;

use std::{collections::BTreeMap, time::Duration};

use stockroom::{
    ledger::{
        Ledger, Options,
        network::{Channel, Location},
    },
    stock::{
        calendar::Opening,
        draft::Draft,
        ids::Partition,
        kind::{Kind, StockState},
        live::Live,
        time::{SECOND, Timestamp},
    },
    writer::{Barred, DEADLINE_DEFAULT, Report, Verdict, Writer},
};
use tokio::time::Instant;

use crate::harness::redis::nowhere;

/// Who reports, unless a test says otherwise.
pub const SOURCE: &str = "till-1";

/// A ledger, its writer and four shops: the first two and the last two share a partition.
pub struct Mixture {
    pub ledger: Ledger,
    pub writer: Writer,
    pub shops: [String; 4],
    now: Timestamp,
}

/// A fact without anything that is not mandatory.
pub fn draft(kind: Kind, key: &str, location_id: &str, sku: &str, quantity: i64) -> Draft {
    Draft {
        key: key.to_owned(),
        kind: kind as i32,
        location_id: location_id.to_owned(),
        sku: sku.to_owned(),
        quantity,
        ..Draft::default()
    }
}

/// What `source` posted under `key` is what the draft refers to.
pub fn about(key: &str, draft: Draft) -> Draft {
    Draft { original: Some((SOURCE.to_owned(), key.to_owned())), ..draft }
}

impl Mixture {
    /// Shops in a database that was prepared.
    pub async fn new(url: &str) -> Mixture {
        let options = Options {
            url: url.to_owned(),
            writers_max: 8,
            readers_max: 4,
            acquire_timeout: Duration::from_secs(30),
        };
        let ledger = Ledger::new(&options).unwrap();
        let shops = shops(&ledger).await;
        let web = Channel { channel_id: "web".to_owned(), name: "Web".to_owned() };
        ledger.put_channel(&web).await.unwrap();
        let writer = Writer::start(ledger.clone(), nowhere()).await.unwrap();
        let now = Timestamp(jiff::Timestamp::now().as_microsecond());
        Mixture { ledger, writer, shops, now }
    }

    /// This many seconds before the test began.
    pub fn ago(&self, seconds: i64) -> Option<Timestamp> {
        Some(Timestamp(self.now.0 - seconds * SECOND))
    }

    /// Reports all at once and returns what became of each.
    pub async fn report(&self, drafts: Vec<Draft>) -> Vec<Verdict> {
        self.report_by("", drafts).await
    }

    async fn report_by(&self, actor: &str, drafts: Vec<Draft>) -> Vec<Verdict> {
        let report = Report {
            source: SOURCE.to_owned(),
            sent_at: None,
            actor: actor.to_owned(),
            drafts,
            up_to: false,
            barred: Barred::default(),
            deadline: Instant::now() + 4 * DEADLINE_DEFAULT,
        };
        let answers = self.writer.record(report).await.unwrap().answers;
        answers.into_iter().map(|answer| answer.verdict).collect()
    }

    /// A clerk reports one after the other; each must be recorded.
    pub async fn post(&self, drafts: Vec<Draft>) {
        for draft in drafts {
            let answers = self.report_by("clerk", vec![draft]).await;
            assert!(matches!(*answers, [Verdict::Recorded(_)]), "{answers:?}");
        }
    }

    /// Everything.
    pub async fn fill(&self) {
        self.goods_come_and_go().await;
        self.counts_and_late_facts().await;
        self.transfers().await;
        self.returns().await;
        self.corrections_that_wait().await;
        self.groups().await;
        self.promises().await;
    }

    async fn goods_come_and_go(&self) {
        let [a, b, c, d] = &self.shops;
        let line = |draft: Draft, line| Draft {
            document: "ASN-1".to_owned(),
            document_line: line,
            expected_at: (draft.kind == Kind::Expect as i32).then_some(Timestamp::Y2000),
            ..draft
        };
        let why = |draft: Draft, from, to| Draft {
            reason: "found".to_owned(),
            note: "behind the shelf".to_owned(),
            from_state: from as i32,
            to_state: to as i32,
            utc_offset_minutes: 60,
            ..draft
        };
        self.post(vec![
            line(draft(Kind::Expect, "e1", a, "tea", 20), 1),
            line(draft(Kind::Expect, "e2", a, "tea", 5), 2),
            line(draft(Kind::Receipt, "r1", a, "tea", 15), 1),
            correct("e2", draft(Kind::Correct, "c-e2", a, "tea", 0)),
            line(draft(Kind::Expect, "e3", b, "tea", 8), 1),
            line(draft(Kind::Receipt, "r3", b, "tea", 9), 1),
            correct("r3", draft(Kind::Correct, "c-r3", b, "tea", 9)),
            draft(Kind::Receipt, "r4", b, "tea", 100),
            draft(Kind::Receipt, "r5", c, "tea", 100),
            draft(Kind::Receipt, "r6", d, "milk", 50),
            Draft {
                channel_id: "web".to_owned(),
                reservation_id: "R1".to_owned(),
                hold_id: "H1".to_owned(),
                ..draft(Kind::ShipOut, "o1", a, "tea", 3)
            },
            draft(Kind::Block, "k1", d, "milk", 10),
            draft(Kind::Unblock, "k2", d, "milk", 4),
            why(draft(Kind::Adjust, "j1", d, "milk", 2), StockState::External, StockState::Staged),
            why(draft(Kind::Adjust, "j2", d, "milk", 1), StockState::Blocked, StockState::External),
            Draft {
                from_state: StockState::Staged as i32,
                ..draft(Kind::Sale, "s1", d, "milk", 1)
            },
            correct("j1", draft(Kind::Correct, "c-j1", d, "milk", 2)),
        ])
        .await;
    }

    async fn counts_and_late_facts(&self) {
        let [a, b, ..] = &self.shops;
        let at = |seconds, draft| Draft { occurred_at: self.ago(seconds), ..draft };
        self.post(vec![
            at(900, draft(Kind::Receipt, "lr", b, "jam", 40)),
            at(500, draft(Kind::Count, "n1", b, "jam", 30)),
            at(800, draft(Kind::Sale, "late1", b, "jam", 2)),
            at(700, draft(Kind::Sale, "late2", b, "jam", 3)),
            at(300, draft(Kind::Sale, "s2", b, "jam", 4)),
            at(400, draft(Kind::Count, "n2", b, "jam", 28)),
            at(600, draft(Kind::Count, "n0", b, "jam", 77)),
            correct("late1", draft(Kind::Correct, "c-late1", b, "jam", 0)),
            correct("s2", draft(Kind::Correct, "c-s2", b, "jam", 0)),
            correct("n2", draft(Kind::Correct, "c-n2", b, "jam", 28)),
            at(200, draft(Kind::Count, "n3", a, "jam", 6)),
            correct("n3", draft(Kind::Correct, "c-n3", a, "jam", 0)),
            at(100, draft(Kind::Count, "n4", a, "rice", 0)),
            at(150, draft(Kind::Sale, "late3", a, "rice", 2)),
        ])
        .await;
    }

    async fn transfers(&self) {
        let [a, b, c, _] = &self.shops;
        let ship = |key, from, to: &String, quantity| Draft {
            to_location_id: to.clone(),
            ..draft(Kind::TransferShip, key, from, "tea", quantity)
        };
        self.post(vec![
            ship("t1", b, c, 10),
            draft(Kind::TransferReceive, "t1r", c, "tea", 9),
            ship("t2", c, a, 5),
            ship("t3", b, a, 7),
            correct("t2", draft(Kind::Correct, "c-t2", c, "tea", 5)),
            correct("t3", draft(Kind::Correct, "c-t3", b, "tea", 0)),
            Draft { occurred_at: self.ago(400), ..draft(Kind::Count, "n5", b, "tea", 80) },
            Draft { occurred_at: self.ago(450), ..ship("t4", b, c, 2) },
            correct("t4", draft(Kind::Correct, "c-t4", b, "tea", 0)),
        ])
        .await;
    }

    async fn returns(&self) {
        let [a, b, c, d] = &self.shops;
        self.post(vec![
            draft(Kind::Sale, "s10", a, "tea", 4),
            about("s10", draft(Kind::Return, "b1", a, "tea", 1)),
            about("s10", draft(Kind::Return, "b2", c, "tea", 2)),
            about("s10", draft(Kind::Return, "b3", d, "tea", 5)),
            correct("b3", draft(Kind::Correct, "c-b3", d, "tea", 5)),
            about("s10", draft(Kind::Return, "b4", b, "tea", 1)),
            about("s11", draft(Kind::Return, "b5", c, "tea", 3)),
            draft(Kind::Sale, "s11", c, "tea", 2),
            about("s12", draft(Kind::Return, "b6", c, "tea", 1)),
            about("s13", draft(Kind::Return, "b7", c, "tea", 1)),
            correct("b7", draft(Kind::Correct, "c-b7", c, "tea", 0)),
            Draft {
                reason: "unwanted".to_owned(),
                to_state: StockState::Blocked as i32,
                ..draft(Kind::Return, "b8", d, "tea", 1)
            },
        ])
        .await;
    }

    async fn corrections_that_wait(&self) {
        let [a, b, c, d] = &self.shops;
        self.post(vec![
            correct("s20", draft(Kind::Correct, "c-s20", a, "tea", 0)),
            draft(Kind::Sale, "s20", a, "tea", 3),
            correct("t20", draft(Kind::Correct, "c-t20", b, "tea", 0)),
            Draft { to_location_id: d.clone(), ..draft(Kind::TransferShip, "t20", b, "tea", 3) },
            correct("n20", draft(Kind::Correct, "c-n20", c, "tea", 0)),
            draft(Kind::Count, "n20", c, "tea", 1),
            // It does not fit what comes, so it has no effect.
            correct("s21", draft(Kind::Correct, "c-s21", a, "tea", 9)),
            draft(Kind::Sale, "s21", a, "tea", 1),
            correct("s21", draft(Kind::Correct, "d-s21", a, "tea", 1)),
            // Nothing ever comes.
            correct("s22", draft(Kind::Correct, "c-s22", d, "milk", 0)),
        ])
        .await;
    }

    async fn groups(&self) {
        let [a, b, c, _] = &self.shops;
        let together = |draft| Draft { group: "exchange".to_owned(), ..draft };
        let answers = self
            .report(vec![
                together(about("s10", draft(Kind::Return, "x1", c, "tea", 1))),
                together(draft(Kind::Sale, "x2", c, "jam", 1)),
                together(draft(Kind::Sale, "x3", b, "jam", 1)),
                // A replay and one that is refused cost no other line.
                draft(Kind::Sale, "s10", a, "tea", 4),
                correct("c-s20", draft(Kind::Correct, "x4", a, "tea", 0)),
            ])
            .await;
        let [one, two, three, replay, refused] = &*answers else { panic!("{answers:?}") };
        assert!([one, two, three].iter().all(|answer| matches!(answer, Verdict::Recorded(_))));
        assert!(matches!(replay, Verdict::Duplicate(_)), "{replay:?}");
        assert!(matches!(refused, Verdict::Refused(_)), "{refused:?}");
    }
}

/// Takes back what was posted under `key`.
pub fn correct(key: &str, draft: Draft) -> Draft {
    about(key, Draft { reason: "did_not_occur".to_owned(), ..draft })
}

/// Two shops in one partition and two in another.
async fn shops(ledger: &Ledger) -> [String; 4] {
    let mut shops: BTreeMap<Partition, Vec<String>> = BTreeMap::new();
    for number in 0.. {
        let location = Location {
            location_id: format!("shop-{number}"),
            name: String::new(),
            time_zone: "Europe/Berlin".to_owned(),
            coordinates: None,
            pickup_enabled: false,
            partition: Partition(0),
            opening: Opening::default(),
            preparation: 0,
            pickups_per_quarter_hour: 0,
            live: Live::default(),
        };
        let Location { location_id, partition, .. } = ledger.put_location(location).await.unwrap();
        shops.entry(partition).or_default().push(location_id);
        let mut pairs = shops.values().filter_map(|shops| shops.first_chunk::<2>());
        if let (Some([a, b]), Some([c, d])) = (pairs.next(), pairs.next()) {
            return [a, b, c, d].map(String::clone);
        }
    }
    unreachable!("some locations share a partition")
}
