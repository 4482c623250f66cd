//! Reservations and holds in every state, by every way there.

use stockroom::stock::{
    channel_policy::Policy,
    draft::Draft,
    hold::HoldId,
    ids::{ItemNo, Place},
    kind::Kind,
    movement::Command,
    reservation::{CancelledBy, ReservationId, Settlement},
    step::{Action, Change, Create, Found, ShortCause, Target},
    time::SECOND,
};

use super::{Mixture, draft};
use crate::harness::steps::{Steps, amend, create, elsewhere, move_to, terms, wanted};

const HOUR: i64 = 3_600 * SECOND;

/// What the stories share.
struct Story<'m> {
    mixture: &'m Mixture,
    steps: Steps<'m>,
    places: [Place; 4],
    soap: ItemNo,
    salt: ItemNo,
}

impl Mixture {
    pub(super) async fn promises(&self) {
        let shops = self.shops.iter();
        let receipts = shops.flat_map(|shop| {
            let receipt = |sku| draft(Kind::Receipt, &format!("{sku}-{shop}"), shop, sku, 100);
            [receipt("soap"), receipt("salt")]
        });
        self.post(receipts.collect()).await;
        let steps = Steps { ledger: &self.ledger };
        let [a, b, c, d] = &self.shops;
        let places = [
            steps.place(a).await,
            steps.place(b).await,
            steps.place(c).await,
            steps.place(d).await,
        ];
        let (soap, salt) = (steps.item("soap").await, steps.item("salt").await);
        let story = Story { mixture: self, steps, places, soap, salt };
        story.picked_and_never_collected().await;
        story.amended_and_cancelled().await;
        story.moved().await;
        story.short_picks().await;
        story.holds().await;
        story.sold_at_the_till().await;
        story.ended_by_the_store().await;
        story.still_open().await;
    }
}

impl Story<'_> {
    fn referring(&self, lines: &[(ItemNo, i64)]) -> Create {
        Create {
            order_ref: "order-1".to_owned(),
            customer_ref: "customer-1".to_owned(),
            ..create(lines)
        }
    }

    async fn make(&self, key: &str, place: Place, lines: &[(ItemNo, i64)]) -> ReservationId {
        self.steps.create(key, place, create(lines)).await.id
    }

    async fn change(&self, key: &str, id: ReservationId, change: Change) {
        self.steps.change(key, id, change).await;
    }

    async fn picked_and_never_collected(&self) {
        let soon = Create { ttl: Some(1), ..self.referring(&[(self.soap, 5)]) };
        let action = Action::Create(Box::new(soon));
        let mut step = self.steps.step("p1", self.places[0], action).await;
        step.channel = self.mixture.ledger.directory().known().channel("web");
        let id = self.steps.one(step).await.id;
        self.change("p2", id, Change::StartPicking).await;
        self.change("p3", id, self.found(self.soap, 3, ShortCause::NotFound)).await;
        self.change("p4", id, Change::MarkReady).await;
        self.change("p5", id, self.collect(&[(self.soap, 1)])).await;
        self.change("p6", id, Change::Expire).await;
        self.change("p7", id, Change::ReturnToShelf).await;
    }

    async fn amended_and_cancelled(&self) {
        let [a, ..] = self.places;
        let id = self.make("a1", a, &[(self.soap, 2), (self.salt, 2)]).await;
        self.change("a2", id, amend(wanted(&[(self.salt, 5)]))).await;
        self.change("a3", id, amend(wanted(&[(self.salt, 4), (self.soap, 1)]))).await;
        let pick = Change::ReportPick {
            lines: vec![
                self.line(self.soap, 0, ShortCause::Mismatch),
                self.line(self.salt, 2, ShortCause::Mismatch),
            ],
            elsewhere: None,
        };
        self.change("a4", id, pick).await;
        self.change("a5", id, amend(wanted(&[(self.salt, 6)]))).await;
        self.change("a6", id, Change::Cancel { by: CancelledBy::Store }).await;
        let whole = self.make("a7", a, &[(self.salt, 4)]).await;
        self.change("a8", whole, self.collect(&[(self.salt, 3)])).await;
        self.change("a9", whole, amend(wanted(&[(self.salt, 3)]))).await;
        // What was counted is no longer doubtful.
        self.mixture
            .post(vec![draft(Kind::Count, "salt-n", &self.mixture.shops[0], "salt", 80)])
            .await;
    }

    async fn moved(&self) {
        let [a, b, c, d] = self.places;
        let far =
            self.steps.create("m1", a, self.referring(&[(self.soap, 4), (self.salt, 1)])).await.id;
        self.change("m2", far, Change::ConfirmPayment { terms: terms(Policy::default()) }).await;
        self.change("m3", far, self.found(self.soap, 2, ShortCause::NotFound)).await;
        let moved = self.steps.change("m4", far, move_to(c)).await;
        self.change("m5", far, Change::ReturnToShelf).await;
        self.change("m6", moved.id, Change::StartPicking).await;
        let near = self.make("m7", a, &[(self.soap, 1)]).await;
        let moved = self.steps.change("m8", near, move_to(b)).await;
        self.change("m9", moved.id, move_to(d)).await;
    }

    async fn short_picks(&self) {
        let [_, b, c, _] = self.places;
        let none = self.make("s1", b, &[(self.soap, 2)]).await;
        self.change("s2", none, self.found(self.soap, 0, ShortCause::NotFound)).await;
        let none = self.make("s6", b, &[(self.soap, 2)]).await;
        let nothing = Change::ReportPick {
            lines: vec![self.line(self.soap, 0, ShortCause::NotFound)],
            elsewhere: Some(elsewhere(c)),
        };
        self.change("s7", none, nothing).await;
        let damaged = self.make("s3", c, &[(self.salt, 3)]).await;
        self.change("s4", damaged, self.found(self.salt, 1, ShortCause::Damaged)).await;
        self.change("s5", damaged, self.collect(&[])).await;
    }

    async fn holds(&self) {
        let [_, b, ..] = self.places;
        let consumed = self.steps.hold("h1", b, self.soap, HOUR).await;
        let longer = Change::Extend { ttl: HOUR, terms: terms(Policy::default()) };
        self.steps.change_hold("h2", consumed, longer).await;
        let made = Create { hold: Some(consumed), ..create(&[(self.soap, 2)]) };
        self.steps.create("h3", b, made).await;
        let released = self.steps.hold("h4", b, self.soap, HOUR).await;
        self.steps.change_hold("h5", released, Change::Release).await;
        let expired = self.steps.hold("h6", b, self.soap, 1).await;
        self.steps.change_hold("h7", expired, Change::Expire).await;
        let sold = self.steps.hold("h8", b, self.soap, HOUR).await;
        let sale = |key, quantity| Draft {
            hold_id: sold.to_string(),
            ..draft(Kind::Sale, key, &self.mixture.shops[1], "soap", quantity)
        };
        self.mixture.post(vec![sale("h-s1", 1), sale("h-s2", 4)]).await;
        let fewer = self.steps.hold("h9", b, self.soap, HOUR).await;
        let sale = Draft { hold_id: fewer.to_string(), ..sale("h-s3", 1) };
        self.mixture.post(vec![sale]).await;
        let lines = wanted(&[(self.soap, 1)]);
        self.steps.change_hold("h10", fewer, amend(lines)).await;
        self.steps.hold("h11", b, self.soap, HOUR).await;
        // One that only the reservation layer knew.
        let elsewhere = HoldId::of("shop-app", b, "elsewhere");
        let made = Create { hold: Some(elsewhere), ..create(&[(self.soap, 1)]) };
        self.steps.create("h12", b, made).await;
    }

    /// Also late, with units that are aside and units that are not.
    async fn sold_at_the_till(&self) {
        let [.., d] = self.places;
        let shop = &self.mixture.shops[3];
        let sale = |key, id: ReservationId, quantity| Draft {
            reservation_id: id.to_string(),
            ..draft(Kind::Sale, key, shop, "soap", quantity)
        };
        let id = self.make("t1", d, &[(self.soap, 6), (self.salt, 1)]).await;
        self.change("t2", id, self.found(self.soap, 5, ShortCause::Mismatch)).await;
        self.change("t3", id, amend(wanted(&[(self.soap, 8), (self.salt, 1)]))).await;
        let staged = Draft { from_state: 2, ..sale("t-s1", id, 1) };
        let count = draft(Kind::Count, "t-n", shop, "soap", 90);
        let late = Draft { occurred_at: self.mixture.ago(900), ..sale("t-s2", id, 6) };
        self.mixture.post(vec![staged, count, late]).await;
        let all = self.make("t4", d, &[(self.soap, 2)]).await;
        self.mixture.post(vec![sale("t-s3", all, 3)]).await;
    }

    async fn ended_by_the_store(&self) {
        let [_, _, c, d] = self.places;
        let rejected = self.make("e1", c, &[(self.soap, 1)]).await;
        self.change("e2", rejected, Change::Cancel { by: CancelledBy::Store }).await;
        let impatient = Policy { answer_timeout: Some(1), ..Policy::default() };
        let create = Create { terms: terms(impatient), ..create(&[(self.soap, 1)]) };
        let unanswered = self.steps.create("e3", c, create.clone()).await.id;
        self.change("e4", unanswered, Change::Unanswered { elsewhere: None }).await;
        let unanswered = self.steps.create("e10", c, create.clone()).await.id;
        let moves = Change::Unanswered { elsewhere: Some(elsewhere(d)) };
        self.change("e11", unanswered, moves).await;
        self.steps.create("e5", d, create).await;
        let ready = self.make("e6", c, &[(self.salt, 1)]).await;
        self.change("e7", ready, Change::StartPicking).await;
        self.change("e8", ready, Change::MarkReady).await;
        self.change("e9", ready, Change::Cancel { by: CancelledBy::Customer }).await;
    }

    async fn still_open(&self) {
        let [a, _, c, _] = self.places;
        let mut basket = Vec::new();
        for place in [a, c] {
            let lines = [(self.soap, 3), (self.salt, 2)];
            let create = Create { settlement: Settlement::PayInStore, ..self.referring(&lines) };
            basket.push(self.steps.step("o1", place, Action::Create(Box::new(create))).await);
        }
        self.steps.take(&[Command::Basket(basket)], |_| ()).await;
        let id = self.make("o2", c, &[(self.soap, 2)]).await;
        let longer = Change::Extend { ttl: HOUR, terms: terms(Policy::default()) };
        let mut step =
            self.steps.step("o3", c, Action::Change(Target::Reservation(id), longer)).await;
        step.actor.clear();
        self.steps.one(step).await;
    }

    fn line(&self, item: ItemNo, found: i64, cause: ShortCause) -> Found {
        Found { item, sku: String::new(), found, cause }
    }

    fn found(&self, item: ItemNo, found: i64, cause: ShortCause) -> Change {
        Change::ReportPick { lines: vec![self.line(item, found, cause)], elsewhere: None }
    }

    fn collect(&self, lines: &[(ItemNo, i64)]) -> Change {
        Change::Collect { lines: wanted(lines), code_fits: true }
    }
}
