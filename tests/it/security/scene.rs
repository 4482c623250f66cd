//! Two shops, two channels, and callers for some of them.

use std::sync::atomic::{AtomicU8, Ordering};

use stockroom::{
    access::{KeyText, Scope, Scopes},
    api::proto::{
        Channel, CreateReservationRequest, Entry, HoldStockRequest, Item, ListEntriesRequest,
        Location, Movement, Quota, RecordMovementsRequest, RecordMovementsResponse, Webhook,
        availability_service_client::AvailabilityServiceClient,
        event_service_client::EventServiceClient, ledger_service_client::LedgerServiceClient,
        movement_service_client::MovementServiceClient,
        network_service_client::NetworkServiceClient,
        reservation_service_client::ReservationServiceClient,
    },
    api::proto::{
        PutChannelRequest, PutItemRequest, PutLocationRequest, PutQuotasRequest, PutWebhookRequest,
    },
    ledger::api_key::NewApiKey,
};

use crate::harness::{
    credentials::{Guard, Holder, bearer},
    holds::hold,
    movements::{receipt, sale},
    reservations::{create, line},
    server::Server,
};

/// Each name tells where it belongs.
pub const SHOPS: [&str; 2] = ["shop-alpha", "shop-beta"];
pub const CHANNELS: [&str; 2] = ["channel-gamma", "channel-delta"];
/// What all shops sell.
pub const SKU: &str = "bolt";

/// A server that asks who calls.
pub struct Scene {
    pub server: Server,
    /// Who may do everything.
    pub admin: Client,
}

/// A caller, and its connection.
#[derive(Clone)]
pub struct Client(pub Holder);

impl Scene {
    /// Shops, channels and one item, of which each shop has a hundred.
    pub async fn start() -> Scene {
        let server = Server::start_for(&Guard::keys()).await;
        let admin = client(&server, "admin", Scopes::ALL, None, None).await;
        let scene = Scene { server, admin };
        scene.furnish().await;
        scene
    }

    async fn furnish(&self) {
        let mut network = self.admin.network();
        for (location_id, latitude) in SHOPS.into_iter().zip([52.5, 52.6]) {
            let location = Location {
                location_id: location_id.to_owned(),
                latitude: Some(latitude),
                longitude: Some(13.4),
                pickup_enabled: true,
                ..Location::default()
            };
            let request = PutLocationRequest { location: Some(location) };
            network.put_location(request).await.unwrap();
        }
        for channel_id in CHANNELS {
            let channel = Channel { channel_id: channel_id.to_owned(), name: String::new() };
            network.put_channel(PutChannelRequest { channel: Some(channel) }).await.unwrap();
        }
        let item = Item { sku: SKU.to_owned(), ..Item::default() };
        network.put_item(PutItemRequest { item: Some(item) }).await.unwrap();
        let receipts = SHOPS.map(|shop| receipt(&format!("first-{shop}"), shop, SKU, 100));
        self.admin.record("opening", receipts.into()).await;
    }

    /// Something of every shop through every channel, and of everything that is kept.
    pub async fn fill(&self) -> Vec<Promised> {
        let mut promised = Vec::new();
        for shop in SHOPS {
            for channel in CHANNELS {
                promised.push(self.fill_one(shop, channel).await);
            }
            let webhook = Webhook {
                webhook_id: format!("hook-{shop}"),
                url: format!("http://127.0.0.1:9/{shop}"),
                location_ids: vec![shop.to_owned()],
                ..Webhook::default()
            };
            let request = PutWebhookRequest { webhook: Some(webhook), ..Default::default() };
            self.admin.events().put_webhook(request).await.unwrap();
        }
        promised
    }

    async fn fill_one(&self, shop: &str, channel: &str) -> Promised {
        let about = format!("{shop}-{channel}");
        let named = |sent: Movement| Movement {
            channel_id: channel.to_owned(),
            document: format!("bon-{about}"),
            ..sent
        };
        let sold = named(sale(&format!("sold-{about}"), shop, SKU, 1));
        let bad = Movement { note: "\u{7}".to_owned(), ..named(sale(&about, shop, SKU, 1)) };
        self.admin.record(&format!("till-{shop}"), vec![sold, bad]).await;
        let quota = Quota {
            channel_id: channel.to_owned(),
            sku: SKU.to_owned(),
            location_id: shop.to_owned(),
            units: 2,
            ..Quota::default()
        };
        let request = PutQuotasRequest { quotas: vec![quota] };
        self.admin.network().put_quotas(request).await.unwrap();
        let held = HoldStockRequest {
            channel_id: channel.to_owned(),
            customer_ref: "jo".to_owned(),
            ..hold(&format!("hold-{about}"), shop, vec![line(SKU, 1)])
        };
        let held = self.admin.reservations().hold_stock(held).await.unwrap().into_inner();
        let request = CreateReservationRequest {
            channel_id: channel.to_owned(),
            order_ref: format!("order-{about}"),
            customer_ref: "jo".to_owned(),
            ..create(&format!("reserve-{about}"), shop, vec![line(SKU, 1)])
        };
        let made = self.admin.reservations().create_reservation(request).await.unwrap();
        let made = made.into_inner().reservation.unwrap();
        Promised {
            hold_id: held.hold.unwrap().hold_id,
            reservation_id: made.reservation_id,
            pickup_code: made.pickup_code,
        }
    }

    /// Everything that the ledger has.
    pub async fn entries(&self) -> Vec<Entry> {
        let request = ListEntriesRequest { page_size: 1_000, ..ListEntriesRequest::default() };
        let answer = self.admin.ledger().list_entries(request).await.unwrap();
        answer.into_inner().entries
    }

    /// A caller of certain locations and channels; `None`: of all.
    pub async fn caller(
        &self,
        name: &str,
        scopes: &[Scope],
        locations: Option<&[&str]>,
        channels: Option<&[&str]>,
    ) -> Client {
        client(&self.server, name, Scopes::of(scopes), locations, channels).await
    }

    /// A caller that may do everything with some locations and channels.
    pub async fn reaching(
        &self,
        name: &str,
        locations: Option<&[&str]>,
        channels: Option<&[&str]>,
    ) -> Client {
        client(&self.server, name, Scopes::ALL, locations, channels).await
    }
}

/// What was promised of one shop through one channel.
pub struct Promised {
    pub hold_id: String,
    pub reservation_id: String,
    pub pickup_code: String,
}

async fn client(
    server: &Server,
    name: &str,
    scopes: Scopes,
    locations: Option<&[&str]>,
    channels: Option<&[&str]>,
) -> Client {
    static KEYS: AtomicU8 = AtomicU8::new(1);
    let number = KEYS.fetch_add(1, Ordering::Relaxed);
    let text = KeyText::new([number; 6], [number ^ 0xa5; 32]);
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    let key = NewApiKey {
        prefix: text.prefix().to_owned(),
        secret_sha256: text.secret_sha256(),
        name: name.to_owned(),
        scopes: scopes.iter().map(|scope| scope.to_string()).collect(),
        location_ids: locations.map(ids),
        channel_ids: channels.map(ids),
        expires_at: None,
    };
    assert!(server.ledger.create_api_key(&key).await.unwrap());
    Client(server.shows(&bearer(&text)))
}

impl Client {
    pub fn movements(&self) -> MovementServiceClient<Holder> {
        MovementServiceClient::new(self.0.clone())
    }

    pub fn ledger(&self) -> LedgerServiceClient<Holder> {
        LedgerServiceClient::new(self.0.clone())
    }

    pub fn network(&self) -> NetworkServiceClient<Holder> {
        NetworkServiceClient::new(self.0.clone())
    }

    pub fn reservations(&self) -> ReservationServiceClient<Holder> {
        ReservationServiceClient::new(self.0.clone())
    }

    pub fn availability(&self) -> AvailabilityServiceClient<Holder> {
        AvailabilityServiceClient::new(self.0.clone())
    }

    pub fn events(&self) -> EventServiceClient<Holder> {
        EventServiceClient::new(self.0.clone())
    }

    pub async fn record(&self, source: &str, movements: Vec<Movement>) -> RecordMovementsResponse {
        let source = source.to_owned();
        let request = RecordMovementsRequest { source, sent_at: None, movements };
        self.movements().record_movements(request).await.unwrap().into_inner()
    }
}
