//! What lies outside of a caller's reach is neither told nor changed, by any method.
#![expect(clippy::disallowed_types, reason = "a client of its own kind")]

mod calls;
mod promises;
mod streams;

use std::collections::BTreeSet;

use stockroom::access::METHODS;
use tonic::{Code, Status};

use self::calls::{Names, calls};
use crate::{
    harness::raw,
    security::scene::{CHANNELS, Client, Promised, SHOPS, Scene},
};

/// Methods whose answers are streams: see `streams`.
const STREAMS: [&str; 5] = [
    "MovementService/SyncMovements",
    "MovementService/ApplySnapshot",
    "LedgerService/ExportPositions",
    "AvailabilityService/WatchAvailability",
    "ReservationService/WatchReservations",
];

type Answer = Result<Vec<u8>, Status>;

async fn call(client: &Client, method: &str, message: Vec<u8>) -> Answer {
    let path = format!("/stockroom.v1.{method}");
    raw::call(client.0.clone(), &path, message).await.map(|answer| answer.to_vec())
}

fn contains(answer: &[u8], word: &str) -> bool {
    answer.windows(word.len()).any(|bytes| bytes == word.as_bytes())
}

/// A refusal, with names that were only repeated replaced by others of the same length.
fn refusal(status: &Status, from: &Names, to: &Names) -> (Code, String, String) {
    let replace = |text: String| {
        let pairs = from.all().into_iter().zip(to.all());
        pairs.fold(text, |text, (from, to)| text.replace(from, to))
    };
    let details = String::from_utf8_lossy(status.details()).into_owned();
    (status.code(), replace(status.message().to_owned()), replace(details))
}

/// Names that belong to a shop and a channel, or that nobody has heard of.
fn names(shop: &str, channel: &str, promised: &Promised) -> Names {
    Names {
        location_id: shop.to_owned(),
        channel_id: channel.to_owned(),
        reservation_id: promised.reservation_id.clone(),
        hold_id: promised.hold_id.clone(),
        webhook_id: format!("hook-{shop}"),
    }
}

fn unheard_of(names: &Names) -> Names {
    // The same length, so that the frames of a message are the same.
    let changed = |id: &str| {
        let last = if id.ends_with('7') { "8" } else { "7" };
        format!("{}{last}", &id[..id.len() - 1])
    };
    Names {
        location_id: "shop-zzzzz".to_owned()[..names.location_id.len()].to_owned(),
        channel_id: "channel-zzzzz"[..names.channel_id.len()].to_owned(),
        reservation_id: changed(&names.reservation_id),
        hold_id: changed(&names.hold_id),
        webhook_id: "hook-shop-zzzzz"[..names.webhook_id.len()].to_owned(),
    }
}

#[tokio::test]
async fn what_is_out_of_reach_is_answered_like_what_nobody_has_heard_of() {
    let scene = Scene::start().await;
    let promised = scene.fill().await;
    let reach = (Some(&SHOPS[..1]), Some(&CHANNELS[..1]));
    let caller = scene.reaching("restricted", reach.0, reach.1).await;
    let before = scene.entries().await;
    // Of the other shop through the other channel.
    let hidden = names(SHOPS[1], CHANNELS[1], &promised[3]);
    let unheard = unheard_of(&hidden);
    let mut asked = BTreeSet::new();
    for ((method, hidden_call), (_, unheard_call)) in
        calls(&hidden).into_iter().zip(calls(&unheard))
    {
        asked.insert(method);
        let one = call(&caller, method, hidden_call).await;
        let other = call(&caller, method, unheard_call).await;
        match (one, other) {
            (Err(one), Err(other)) => {
                let one = refusal(&one, &hidden, &unheard);
                assert_eq!(one, refusal(&other, &unheard, &unheard), "{method}");
                assert_ne!(one.0, Code::Internal, "{method}: {one:?}");
            }
            (Ok(one), Ok(other)) => assert_eq!(one.len(), other.len(), "{method}"),
            (one, other) => panic!("{method}: {one:?} and {other:?}"),
        }
    }
    let all: BTreeSet<_> = METHODS.iter().map(|(method, _)| *method).collect();
    let left: Vec<_> = all.difference(&asked).collect();
    assert_eq!(left, STREAMS.iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
    assert_eq!(scene.entries().await, before);
    scene.server.stop().await;
}

#[tokio::test]
async fn no_answer_tells_of_what_is_out_of_reach() {
    let scene = Scene::start().await;
    let promised = scene.fill().await;
    let everything = (SHOPS.map(Some), CHANNELS.map(Some));
    let mut number = 0;
    for shops in [&[0][..], &[1], &[0, 1]] {
        for channels in [&[0][..], &[1], &[0, 1]] {
            number += 1;
            let ids = |all: [Option<&'static str>; 2], numbers: &[usize]| -> Vec<&'static str> {
                numbers.iter().filter_map(|&number| all[number]).collect()
            };
            let (own_shops, own_channels) = (ids(everything.0, shops), ids(everything.1, channels));
            // All of them may also be said as such.
            let reach = |own: &[&'static str]| (own.len() < 2).then(|| own.to_vec());
            let (locations, channel_ids) = (reach(&own_shops), reach(&own_channels));
            let name = format!("caller-{number}");
            let caller = scene.reaching(&name, locations.as_deref(), channel_ids.as_deref()).await;
            let words = SHOPS.iter().filter(|shop| !own_shops.contains(shop));
            let words: Vec<_> = words
                .chain(CHANNELS.iter().filter(|channel| !own_channels.contains(channel)))
                .filter_map(|name| name.split('-').nth(1))
                .collect();
            let promise = &promised[2 * shops[0] + channels[0]];
            let own = names(own_shops[0], own_channels[0], promise);
            let mut answered = 0;
            for (method, message) in calls(&own).into_iter().chain(calls(&Names::default())) {
                let Ok(answer) = call(&caller, method, message).await else { continue };
                answered += 1;
                for word in &words {
                    let text = String::from_utf8_lossy(&answer);
                    assert!(!contains(&answer, word), "{method} tells {words:?}: {text}");
                }
            }
            assert!(answered > 15, "{answered}");
            for told in streams::told(&caller, &own).await {
                assert!(words.iter().all(|word| !told.contains(word)), "{words:?}: {told}");
            }
        }
    }
    scene.server.stop().await;
}
