//! Reservations of many lines at one shop, made to cost the load as little as they can: what they ask
//! for is put together and encoded before, and answers are not looked into.
#![expect(clippy::disallowed_types, reason = "speaks gRPC without its generated clients")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _, Bytes};
use rand::{Rng as _, SeedableRng as _, seq::index::sample};
use rand_chacha::ChaCha8Rng;
use stockroom::api::proto::{CreateReservationRequest, Line};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

use crate::{
    load::Client,
    open::{Answer, Work},
    sales::{self, CHANNEL, ITEMS, LOCATIONS},
    scenario::flow::judge,
};

const METHOD: &str = "/stockroom.v1.ReservationService/CreateReservation";
const RESERVATION_SECONDS: i64 = 86_400;
/// Different baskets; each is asked for again and again, by requests of their own.
const DIFFERENT: u64 = 1_024;

/// Requests that were put together before, but for their ids.
#[derive(Clone, Debug)]
pub(super) struct Prepared(Arc<[Bytes]>);

/// Everybody who asks for baskets.
#[derive(Debug)]
pub(super) struct Basket {
    /// What the ids of its requests begin with.
    pub name: &'static str,
    pub channels: Vec<Channel>,
    pub lines: u32,
    pub prepared: Prepared,
    pub deadline: Duration,
    /// Units.
    pub granted: AtomicI64,
    /// Units of which nobody knows.
    pub unknown: AtomicI64,
}

impl Prepared {
    pub(super) fn new(lines: u32) -> Prepared {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut basket = |_| {
            let location = rng.random_range(0..LOCATIONS);
            let items = sample(&mut rng, ITEMS, lines as usize);
            let line = |item| Line { sku: sales::own_sku(location, item), quantity: 1 };
            let request = CreateReservationRequest {
                channel_id: CHANNEL.to_owned(),
                location_id: sales::location_id(location),
                lines: items.iter().map(line).collect(),
                ttl: Some(prost_types::Duration { seconds: RESERVATION_SECONDS, nanos: 0 }),
                ..CreateReservationRequest::default()
            };
            Bytes::from(request.encode_to_vec())
        };
        Prepared((0..DIFFERENT).map(&mut basket).collect())
    }

    /// Two messages one after the other are one with the fields of both.
    fn request(&self, request_id: String, number: u64) -> [Bytes; 2] {
        let id = CreateReservationRequest { request_id, ..CreateReservationRequest::default() };
        let rest = self.0[(number % DIFFERENT) as usize].clone();
        [Bytes::from(id.encode_to_vec()), rest]
    }
}

impl Work for Basket {
    async fn call(&self, number: u64) -> Answer {
        let channel = self.channels[number as usize % self.channels.len()].clone();
        let message = self.prepared.request(format!("{}-{number:09}", self.name), number);
        let mut request = Request::new(message);
        request.set_timeout(self.deadline);
        let mut client = Grpc::new(channel);
        let answer = match client.ready().await {
            Ok(()) => client.unary(request, PathAndQuery::from_static(METHOD), Encoded).await,
            Err(error) => Err(Status::unavailable(error.to_string())),
        };
        let units = i64::from(self.lines);
        match answer {
            Ok(_) => {
                self.granted.fetch_add(units, Ordering::Relaxed);
                Answer::Done
            }
            Err(status) => {
                let answer = judge(&status);
                if matches!(answer, Answer::Late | Answer::Failed) {
                    self.unknown.fetch_add(units, Ordering::Relaxed);
                }
                answer
            }
        }
    }
}

/// Who waits for one answer before the next call.
pub(super) struct Customer {
    pub basket: Arc<Basket>,
    pub next: u64,
    pub step: u64,
}

impl Client for Customer {
    async fn call(&mut self) -> anyhow::Result<()> {
        let answer = self.basket.call(self.next).await;
        self.next += self.step;
        ensure!(answer == Answer::Done, "a reservation was not made: {answer:?}");
        Ok(())
    }
}

/// Messages that are encoded already, and answers that nobody reads.
#[derive(Clone, Copy, Debug)]
struct Encoded;

impl Codec for Encoded {
    type Encode = [Bytes; 2];
    type Decode = ();
    type Encoder = Encoded;
    type Decoder = Encoded;

    fn encoder(&mut self) -> Encoded {
        Encoded
    }

    fn decoder(&mut self) -> Encoded {
        Encoded
    }
}

impl Encoder for Encoded {
    type Item = [Bytes; 2];
    type Error = Status;

    fn encode(&mut self, parts: [Bytes; 2], to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        parts.into_iter().for_each(|part| to.put(part));
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        from.advance(from.remaining());
        Ok(Some(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_reads_as_one_request_with_an_id_of_its_own() {
        let prepared = Prepared::new(3);
        let sent = |number| {
            let parts = prepared.request(format!("id-{number}"), number);
            CreateReservationRequest::decode(&*parts.concat()).unwrap()
        };
        let (first, again) = (sent(7), sent(7 + DIFFERENT));
        assert_eq!([&*first.request_id, &*again.request_id], ["id-7", "id-1031"]);
        assert_eq!((first.lines.len(), &*first.channel_id), (3, CHANNEL));
        assert_eq!(
            CreateReservationRequest { request_id: first.request_id.clone(), ..again },
            first
        );
        assert_ne!(sent(8).lines, first.lines);
    }
}
