//! The stage of a run: both databases, and servers that run the production code over them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::tz::TimeZone;
use stockroom::{
    availability::{Availability, Server},
    feed::Feed,
    ledger::{
        Ledger,
        directory::{KnownChannel, KnownLocation},
        simulated::Network,
    },
    stock::{
        calendar::{Calendar, Opening},
        channel_policy::Policy,
        ids::{ChannelNo, LocationNo, Partition, Place, SourceNo},
        live::Live,
    },
    writer::{Writer, sweep::Sweeper},
};
use tokio::time::sleep;

use crate::{
    database::{DatabaseLink, Postgres},
    link::{Link, RedisLink},
    mutants::Rewrite,
    redis::Redis,
    world::{World, lock},
};

/// What all keys in Redis begin with.
pub const PREFIX: &str = "sim";
/// Partitions of the ledger.
pub const PARTITIONS: [Partition; 3] = [Partition(0), Partition(1), Partition(2)];
/// Locations, each with the partition that it is in.
pub const LOCATIONS: [(&str, Partition); 4] = [
    ("north", PARTITIONS[0]),
    ("south", PARTITIONS[0]),
    ("east", PARTITIONS[1]),
    ("west", PARTITIONS[2]),
];
/// Items that there are from the beginning.
pub const SKUS: [&str; 3] = ["tea", "milk", "jam"];
/// Who reports and asks, besides the sweeper.
pub const CALLERS: usize = 8;
/// Servers that run at the same time.
pub const SERVERS: usize = 2;
/// A server that does not reach its database tries again after this time.
const START_PAUSE: Duration = Duration::from_millis(100);

/// Both databases, and the servers.
pub struct Stage {
    pub world: Arc<World>,
    pub postgres: Arc<Postgres>,
    pub redis: Arc<Redis>,
    network: Network,
    servers: Mutex<Vec<Process>>,
    last: Mutex<u64>,
}

/// One server.
pub struct Process {
    pub writer: Writer,
    pub link: Arc<Link>,
    _feed: Feed,
    _sweeper: Sweeper,
}

impl Stage {
    pub async fn new(world: Arc<World>, rewrite: Option<Rewrite>) -> Arc<Stage> {
        let stage = Arc::new(Stage {
            postgres: Postgres::new(world.clone(), &PARTITIONS),
            redis: Redis::new(world.clone(), rewrite),
            network: network(),
            servers: Mutex::default(),
            last: Mutex::default(),
            world,
        });
        for _ in 0..SERVERS {
            let process = stage.start().await;
            lock(&stage.servers).push(process);
        }
        stage
    }

    /// The writer of one of the servers.
    pub fn writer(&self) -> Writer {
        let at = self.world.below(SERVERS as u64) as usize;
        lock(&self.servers)[at].writer.clone()
    }

    /// The link of one of the servers.
    pub fn link(&self) -> Arc<Link> {
        let at = self.world.below(SERVERS as u64) as usize;
        lock(&self.servers)[at].link.clone()
    }

    /// Kills a server, and starts another one in its place.
    pub async fn replace_server(&self) {
        let at = self.world.below(SERVERS as u64) as usize;
        let link = lock(&self.servers)[at].link.clone();
        link.kill();
        self.postgres.abandon(link.server);
        let process = self.start().await;
        // What the old one still does reaches nobody.
        lock(&self.servers)[at] = process;
    }

    /// A layer of its own, over a link that nobody cuts.
    pub fn availability(&self, link: Arc<Link>) -> Availability {
        let server: Arc<dyn Server> = Arc::new(RedisLink { redis: self.redis.clone(), link });
        Availability::simulated(&server, PREFIX)
    }

    async fn start(&self) -> Process {
        let number = {
            let mut last = lock(&self.last);
            *last += 1;
            *last
        };
        let link = Link::new(number);
        let database = DatabaseLink { server: self.postgres.clone(), link: link.clone() };
        let ledger = Ledger::simulated(Arc::new(database), &self.network).expect("a sound URL");
        let availability = self.availability(link.clone());
        // The program waits for its database, too.
        let writer = loop {
            match Writer::start(ledger.clone(), availability.clone()).await {
                Ok(writer) => break writer,
                Err(_) => sleep(START_PAUSE).await,
            }
        };
        let feed = Feed::start(ledger, availability, writer.committed());
        let sweeper = Sweeper::start(&writer);
        Process { writer, link, _feed: feed, _sweeper: sweeper }
    }
}

/// Where a location's stock is.
pub fn place(location_id: &str) -> Place {
    let mut numbered = LOCATIONS.iter().zip(1..);
    let found = numbered.find(|((name, _), _)| *name == location_id);
    let ((_, partition), number) = found.expect("a location of this stage");
    Place { partition: *partition, location: LocationNo(number) }
}

/// The name of a caller.
pub fn caller(number: usize) -> String {
    format!("till-{number}")
}

fn network() -> Network {
    let calendar = Arc::new(Calendar::new(TimeZone::UTC, Opening::default()));
    let location = |(location_id, _): &(&str, Partition)| KnownLocation {
        location_id: (*location_id).into(),
        place: place(location_id),
        calendar: Arc::clone(&calendar),
        preparation: 0,
        spot: None,
        pickup_enabled: true,
        live: Live::default(),
        pickups_per_quarter_hour: 0,
        revision: 0,
    };
    let web = KnownChannel {
        channel_id: "web".into(),
        channel: ChannelNo(1),
        policy: Arc::new(Policy::default()),
        revision: 0,
    };
    let callers = (0..CALLERS).map(caller).chain(["stockroom".to_owned(), "setup".to_owned()]);
    Network {
        partitions: PARTITIONS.to_vec(),
        locations: LOCATIONS.iter().map(location).collect(),
        channels: vec![web],
        sources: callers.zip(1..).map(|(source, number)| (source, SourceNo(number))).collect(),
    }
}
