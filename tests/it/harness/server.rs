//! A whole server in this process: a database of its own, port 0, and typed clients.

use std::{future::Future, net::SocketAddr, time::Duration};

use stockroom::{
    api::{
        self, Api,
        health::Health,
        proto::{
            Channel, Entry, GetPositionRequest, Item, ListEntriesRequest,
            ListRejectedMovementsRequest, Location, Movement, MovementResult, Position,
            PutChannelRequest, PutItemRequest, PutLocationRequest, RecordMovementsRequest,
            RecordMovementsResponse, RejectedMovement, ledger_service_client::LedgerServiceClient,
            movement_service_client::MovementServiceClient,
            network_service_client::NetworkServiceClient,
            reservation_service_client::ReservationServiceClient,
        },
    },
    availability::Availability,
    feed::Feed,
    ledger::{Ledger, Options},
    writer::{Writer, counted::Counting, reschedule::Rescheduler, sweep::Sweeper},
};
use tokio::{
    net::TcpListener,
    sync::{OnceCell, watch},
    task::JoinHandle,
};
use tonic::transport::{Channel as Connection, Endpoint};

use crate::harness::{
    credentials::Guard,
    databases,
    movements::put_request,
    redis::{Reached, Redis},
};

/// Who sends, where a test does not care.
pub const SOURCE: &str = "till-1";
/// Partitions of every ledger of the tests.
pub const PARTITIONS: u16 = 4;
/// Nothing that a test waits for may take longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// A connection of the pool that is not to be had within this time counts as away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// A server of this process, and connections to it.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its database, past any proxy.
    pub database_url: String,
    /// Its ledger.
    pub ledger: Ledger,
    /// Its Redis.
    pub redis: Reached,
    connection: Connection,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Starts on a database of its own.
    pub async fn start() -> Server {
        let url = migrated_database().await;
        Server::start_on(&url).await
    }

    /// Starts on a database of its own, with a Redis that does not lie.
    pub async fn start_honest() -> Server {
        Server::start_as(Redis::honest()).await
    }

    /// Starts on a database of its own, with such a Redis.
    pub async fn start_as(redis: Redis) -> Server {
        let url = migrated_database().await;
        let reached = redis.reach(&databases::redis_url().await).await;
        Server::start_with(&url, &url, reached).await
    }

    /// Starts beside others on a database that was migrated.
    pub async fn start_on(database_url: &str) -> Server {
        Server::start_through(database_url, database_url).await
    }

    /// Starts on a database that it reaches by another address than the tests.
    pub async fn start_through(database_url: &str, server_url: &str) -> Server {
        let redis = Redis::of_this_run().reach(&databases::redis_url().await).await;
        Server::start_with(database_url, server_url, redis).await
    }

    /// Starts on a database of its own, with other settings.
    pub async fn start_set(set: impl FnOnce(Api) -> Api) -> Server {
        let url = migrated_database().await;
        let redis = Redis::of_this_run().reach(&databases::redis_url().await).await;
        Server::start_with_set(&url, &url, redis, &Guard::default(), set).await
    }

    /// Starts with a Redis of the test's choice.
    pub async fn start_with(database_url: &str, server_url: &str, redis: Reached) -> Server {
        Server::start_guarded(database_url, server_url, redis, &Guard::default()).await
    }

    /// The same for known callers only.
    pub async fn start_guarded(
        database_url: &str,
        server_url: &str,
        redis: Reached,
        guard: &Guard,
    ) -> Server {
        Server::start_with_set(database_url, server_url, redis, guard, |api| api).await
    }

    /// The same with other settings.
    pub async fn start_with_set(
        database_url: &str,
        server_url: &str,
        redis: Reached,
        guard: &Guard,
        set: impl FnOnce(Api) -> Api,
    ) -> Server {
        let options = Options {
            url: server_url.to_owned(),
            writers_max: 4,
            readers_max: 4,
            acquire_timeout: ACQUIRE_TIMEOUT,
        };
        let ledger = Ledger::new(&options).unwrap();
        let availability = Availability::new(&redis.url, prefix_of(database_url)).unwrap();
        let writer = Writer::start(ledger.clone(), availability.clone()).await.unwrap();
        let feed = Feed::start(ledger.clone(), availability.clone(), writer.committed());
        let (health, drain) = Health::start(ledger.clone(), availability.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (credentials, tls) = guard.start(&ledger).await;
        let api = Api::new(ledger.clone(), availability, writer.clone(), stopped.clone())
            .with_credentials(credentials)
            .with_tls(tls)
            .with_private_webhooks(true);
        let api = set(api);
        let sweeper = Sweeper::start(&writer);
        let rescheduler = Rescheduler::start(&writer);
        let counting = Counting::start(&writer);
        let serving = tokio::spawn(async move {
            let mut shutdown = stopped;
            let shutdown = async move {
                let _ = shutdown.wait_for(|stopped| *stopped).await;
            };
            api::run(listener, shutdown, api, health).await;
            sweeper.stop();
            drop(rescheduler);
            drop(feed);
            writer.resume_points().flush().await.unwrap();
            // A test may have taken its database away.
            let _ = counting.tell().await;
            drop(drain);
        });
        let connection = connect(address);
        let database_url = database_url.to_owned();
        Server { address, database_url, ledger, redis, connection, stop, serving }
    }

    /// Stops in good order.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        drop(self.connection);
        let stopped = async {
            self.serving.await.unwrap();
            self.ledger.close().await;
        };
        tokio::time::timeout(PATIENCE, stopped).await.expect("it stops");
    }

    pub fn movements(&self) -> MovementServiceClient<Connection> {
        MovementServiceClient::new(self.connection.clone())
    }

    pub fn ledger(&self) -> LedgerServiceClient<Connection> {
        LedgerServiceClient::new(self.connection.clone())
    }

    pub fn network(&self) -> NetworkServiceClient<Connection> {
        NetworkServiceClient::new(self.connection.clone())
    }

    pub fn reservations(&self) -> ReservationServiceClient<Connection> {
        ReservationServiceClient::new(self.connection.clone())
    }

    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    pub async fn put_locations(&self, location_ids: &[&str]) {
        for &id in location_ids {
            let location = Location { location_id: id.to_owned(), ..Location::default() };
            let request = PutLocationRequest { location: Some(location) };
            self.network().put_location(request).await.unwrap();
        }
    }

    pub async fn put_channel(&self, channel_id: &str) {
        let channel = Channel { channel_id: channel_id.to_owned(), name: String::new() };
        self.network().put_channel(PutChannelRequest { channel: Some(channel) }).await.unwrap();
    }

    pub async fn put_item(&self, sku: &str, stock_item: bool) {
        let item = Item { sku: sku.to_owned(), stock_item: Some(stock_item), ..Item::default() };
        self.network().put_item(PutItemRequest { item: Some(item) }).await.unwrap();
    }

    /// Records movements of [`SOURCE`].
    pub async fn record(&self, movements: Vec<Movement>) -> RecordMovementsResponse {
        self.record_as(SOURCE, movements).await
    }

    pub async fn record_as(
        &self,
        source: &str,
        movements: Vec<Movement>,
    ) -> RecordMovementsResponse {
        let request = put_request(source, movements);
        self.movements().record_movements(request).await.unwrap().into_inner()
    }

    /// Records one movement of [`SOURCE`], whatever becomes of it.
    pub async fn record_one(&self, movement: Movement) -> MovementResult {
        let mut response = self.record(vec![movement]).await;
        response.results.pop().unwrap()
    }

    /// As [`Server::record_one`], with the source's clock.
    pub async fn record_at(
        &self,
        sent_at: prost_types::Timestamp,
        movement: Movement,
    ) -> MovementResult {
        let request = RecordMovementsRequest {
            source: SOURCE.to_owned(),
            sent_at: Some(sent_at),
            movements: vec![movement],
        };
        let mut client = self.movements();
        client.record_movements(request).await.unwrap().into_inner().results.pop().unwrap()
    }

    pub async fn position(&self, location_id: &str, sku: &str) -> Position {
        let request = GetPositionRequest {
            location_id: location_id.to_owned(),
            sku: sku.to_owned(),
            ..GetPositionRequest::default()
        };
        self.ledger().get_position(request).await.unwrap().into_inner().position.unwrap()
    }

    pub async fn sellable(&self, location_id: &str, sku: &str) -> i64 {
        self.position(location_id, sku).await.sellable
    }

    /// Every entry, ordered by partition and sequence number.
    pub async fn entries(&self) -> Vec<Entry> {
        let request = ListEntriesRequest { page_size: 1_000, ..ListEntriesRequest::default() };
        let response = self.ledger().list_entries(request).await.unwrap().into_inner();
        assert_eq!(response.next_page_token, "", "a test of this size fits one page");
        response.entries
    }

    /// Every entry of one item at one location.
    pub async fn entries_of(&self, location_id: &str, sku: &str) -> Vec<Entry> {
        let mut entries = self.entries().await;
        entries.retain(|entry| entry.location_id == location_id && entry.sku == sku);
        entries
    }

    /// The open list of rejected movements.
    pub async fn rejected(&self) -> Vec<RejectedMovement> {
        let request = ListRejectedMovementsRequest::default();
        let response = self.ledger().list_rejected_movements(request).await.unwrap();
        response.into_inner().rejected_movements
    }
}

/// An empty ledger: a copy of one that was migrated once for all tests.
pub async fn migrated_database() -> String {
    static MIGRATED: OnceCell<String> = OnceCell::const_new();
    let migrated = MIGRATED.get_or_init(|| async {
        let url = databases::fresh_database().await;
        Ledger::migrate(&url, PARTITIONS).await.unwrap();
        url
    });
    databases::copy_of(migrated.await).await
}

/// What the keys of a ledger begin with in a Redis that it shares with others.
pub fn prefix_of(database_url: &str) -> &str {
    let name = database_url.rsplit('/').next().unwrap_or_default();
    name.split('?').next().unwrap_or_default()
}

/// A connection that is made when it is needed first.
pub fn connect(address: SocketAddr) -> Connection {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

/// Looks again and again until there is something to see.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    look: impl FnMut() -> F,
) -> T {
    eventually_within(PATIENCE, what, look).await
}

/// The same for what takes its time.
pub async fn eventually_within<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let seen = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let seen = tokio::time::timeout(patience, seen).await;
    seen.unwrap_or_else(|_| panic!("never came: {what}"))
}
