//! A server with a Redis that is as it should be, and a look behind its back.

use std::time::Duration;

use stockroom::{
    availability::{Availability, Bucket, Row, rebuild::State, scrub::Repair},
    feed::verify::{Compared, compare},
    ledger::Ledger,
    stock::ids::{ItemNo, LocationNo, Partition, Place, PositionKey},
};

use crate::harness::{
    databases,
    movements::receipt,
    raw_redis::Raw,
    redis::Redis,
    server::{Server, eventually, migrated_database, prefix_of},
};

/// What a repair may take in a test.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// For a comparison that shall fail.
pub const AT_ONCE: Duration = Duration::from_millis(100);

/// A ledger, its Redis, and a server that keeps them equal.
pub struct Scene {
    pub server: Server,
    pub redis: Availability,
    pub raw: Raw,
    pub database_url: String,
    pub redis_url: String,
}

impl Scene {
    pub async fn start() -> Scene {
        Scene::start_on(&migrated_database().await, &databases::redis_url().await).await
    }

    pub async fn start_on(database_url: &str, redis_url: &str) -> Scene {
        let reached = Redis::Real.reach(redis_url).await;
        let server = Server::start_with(database_url, database_url, reached).await;
        Scene {
            server,
            redis: Availability::new(redis_url, prefix_of(database_url)).unwrap(),
            raw: Raw::new(redis_url),
            database_url: database_url.to_owned(),
            redis_url: redis_url.to_owned(),
        }
    }

    /// Another server beside it.
    pub async fn second_server(&self) -> Server {
        let reached = Redis::Real.reach(&self.redis_url).await;
        Server::start_with(&self.database_url, &self.database_url, reached).await
    }

    /// Ten of each of some items at each of some locations.
    pub async fn stock(&self, locations: &[&str], items: usize) {
        self.server.put_locations(locations).await;
        for location in locations {
            let skus: Vec<_> = (0..items).map(|item| format!("sku-{item}")).collect();
            for part in skus.chunks(1_000) {
                let line = |sku: &String| receipt(&format!("open-{sku}"), location, sku, 10);
                let response = self.server.record(part.iter().map(line).collect()).await;
                assert!(response.results.iter().all(|result| result.error.is_none()));
            }
        }
    }

    /// Waits until Redis is what the ledger says, and compares everything.
    pub async fn equal(&self) -> Compared {
        let compared = self.compare(PATIENCE).await;
        assert_eq!(compared.difference, None);
        compared
    }

    pub async fn compare(&self, patience: Duration) -> Compared {
        // Right after Redis came back the connection still has to be found again.
        eventually("a comparison", || async {
            compare(&self.server.ledger, &self.redis, patience).await.ok()
        })
        .await
    }

    /// Stops the server; from now on nobody mends anything. The ledger can still be read.
    pub async fn without_server(self) -> Still {
        let ledger = Ledger::new(&stockroom::ledger::Options {
            url: self.database_url.clone(),
            writers_max: 2,
            readers_max: 2,
            acquire_timeout: PATIENCE,
        })
        .unwrap();
        self.server.stop().await;
        Still {
            ledger,
            redis: self.redis,
            raw: self.raw,
            prefix: prefix_of(&self.database_url).to_owned(),
        }
    }

    pub async fn state(&self, partition: Partition) -> State {
        state(&self.redis, partition).await
    }

    /// Where some position is; the only one of a location.
    pub async fn position(&self, location: &str, sku: &str) -> PositionKey {
        position(&self.server.ledger, location, sku).await
    }
}

/// What is left when the server has gone.
pub struct Still {
    pub ledger: Ledger,
    pub redis: Availability,
    pub raw: Raw,
    pub prefix: String,
}

impl Still {
    pub async fn compare(&self) -> Compared {
        compare(&self.ledger, &self.redis, AT_ONCE).await.unwrap()
    }

    pub async fn difference(&self) -> String {
        self.compare().await.difference.expect("something differs")
    }
}

pub async fn state(redis: &Availability, partition: Partition) -> State {
    redis.states(&[partition]).await.unwrap().remove(0)
}

pub async fn position(ledger: &Ledger, location: &str, sku: &str) -> PositionKey {
    ledger.directory().find_locations(&[location]).await.unwrap();
    ledger.directory().find_items(&[sku]).await.unwrap();
    let known = ledger.directory().known();
    let place = known.location(location).expect("it is there").place;
    PositionKey { place, item: known.item(sku).expect("it is there").item }
}

/// Puts a row in the place of another, whatever it says. None: removes it.
pub async fn spoil(redis: &Availability, key: PositionKey, row: Option<(i64, Row)>) {
    let bucket = Bucket::of(key);
    let found = redis.bucket(bucket).await.unwrap();
    let repair = Repair { item: key.item, found: found.rows.get(&key.item).cloned(), row };
    assert_eq!(redis.repair(bucket, &found, &[repair]).await.unwrap(), 1);
}

/// The row of a position, and its epoch.
pub async fn stored(redis: &Availability, key: PositionKey) -> (i64, Row) {
    let found = redis.bucket(Bucket::of(key)).await.unwrap();
    found.rows[&key.item].row.expect("it can be read")
}

/// A place that no ledger of the tests has.
pub fn nowhere(partition: Partition) -> PositionKey {
    PositionKey { place: Place { partition, location: LocationNo(9_999) }, item: ItemNo(1) }
}
