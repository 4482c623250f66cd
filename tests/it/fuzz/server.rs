//! Calls of every method with messages that may be anything, to a whole server: each is answered,
//! with an effect or with a documented refusal, and the ledger adds up afterwards.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

mod documented;
mod seeds;

use std::time::Duration;

use prost::{Message as _, bytes::Bytes};
use stockroom::{
    api::proto::{
        DESCRIPTORS, MovementResult, RecordMovementsResponse, ResubmitMovementResponse,
        SyncMovementsResponse,
    },
    stock::{hold::HoldId, reservation::ReservationId},
};
use tokio::{runtime::Builder, time::timeout};
use tonic::Status;
use uuid::Uuid;

use self::documented::Documented;
use super::{
    behaviours::Behaviours,
    fields::{Field, Value, encode, parse},
    runner::{Target, fuzz},
};
use crate::harness::{
    raw::{call, call_stream},
    reservations::line,
    server::Server,
    web,
};

/// Calls of one input.
const CALLS_MAX: usize = 8;
/// A stream that says nothing within this time has nothing to say.
const STREAM_PATIENCE: Duration = Duration::from_millis(200);

/// A method, as its path.
struct Method {
    path: String,
    streams: bool,
}

/// What calls may name, in place of `$r` and the like.
#[derive(Default)]
struct Known {
    /// Of the input, so that its keys are its own.
    number: u64,
    reservation: String,
    hold: String,
    token: String,
    rejected: String,
}

/// Every method of the contract.
fn methods() -> Vec<Method> {
    let files = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let services = files.iter().flat_map(|file| {
        file.service.iter().map(|service| format!("/{}.{}", file.package(), service.name()))
    });
    let methods = files.iter().flat_map(|file| &file.service).zip(services);
    methods
        .flat_map(|(service, name)| {
            service.method.iter().map(move |method| Method {
                path: format!("{name}/{}", method.name()),
                streams: method.client_streaming() || method.server_streaming(),
            })
        })
        .collect()
}

async fn shop() -> Server {
    let server = Server::start_honest().await;
    server.put_locations(&["a", "b"]).await;
    server.put_channel("web").await;
    server
}

/// Every story once, to another server: nothing in it may end in a defect.
pub async fn tell_stories(server: &Server) {
    let (methods, documented, mut seen) = (methods(), Documented::read(), Behaviours::default());
    for (number, input) in seeds::seeds(&methods).iter().enumerate() {
        let known = Known { number: number as u64, ..Known::default() };
        session(server, &methods, &documented, input, known, &mut seen).await;
    }
}

#[test]
fn server() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(shop());
    let methods = methods();
    let documented = Documented::read();
    let mut number = 0;
    let target = Target {
        name: "server",
        seeds: seeds::seeds(&methods),
        words: &seeds::WORDS,
        message: true,
        floor: 160,
    };
    fuzz(target, |input, seen| {
        number += 1;
        let known = Known { number, ..Known::default() };
        runtime.block_on(session(&server, &methods, &documented, input, known, seen));
    });
    runtime.block_on(async {
        let verified = server.ledger.verify(None, |_| ()).await.unwrap();
        assert_eq!(verified.difference, None);
        assert_eq!(verified.oversold, 0);
        server.caught_up().await;
        server.stop().await;
    });
}

/// The calls of one input, one after the other: field 1 of it, again and again. Of each field 1 is
/// the number of the method, 2 the message, and 3 a time limit, with which it is sent as a browser
/// would.
async fn session(
    server: &Server,
    methods: &[Method],
    documented: &Documented,
    input: &[u8],
    mut known: Known,
    seen: &mut Behaviours,
) {
    let calls = parse(input).unwrap_or_default().into_iter().filter(|field| field.number == 1);
    for field in calls.take(CALLS_MAX) {
        let Value::Bytes(inner) = field.value else { continue };
        let inner = parse(&inner).unwrap_or_default();
        let number = inner.iter().find_map(|field| match field.value {
            Value::Varint(number) if field.number == 1 => Some(number),
            _ => None,
        });
        let method = &methods[number.unwrap_or_default() as usize % methods.len()];
        let message = filled(text(&inner, 2).unwrap_or_default(), &known);
        let limit = text(&inner, 3).and_then(|text| std::str::from_utf8(text).ok());
        if let Some(limit) = limit.filter(|_| !method.streams) {
            in_a_browser(server, method, &message, limit, seen).await;
            continue;
        }
        let answer = match method.streams {
            true => {
                timeout(STREAM_PATIENCE, call_stream(server.connection(), &method.path, message))
                    .await
                    .unwrap_or(Ok(None))
            }
            false => call(server.connection(), &method.path, message).await.map(Some),
        };
        judge(method, answer, documented, &mut known, seen);
    }
}

fn text(fields: &[Field], number: u64) -> Option<&[u8]> {
    fields.iter().find_map(|field| match &field.value {
        Value::Bytes(text) if field.number == number => Some(&**text),
        _ => None,
    })
}

/// The message, with what it names filled in.
fn filled(message: &[u8], known: &Known) -> Vec<u8> {
    let Some(mut fields) = parse(message) else { return message.to_vec() };
    for field in &mut fields {
        let Value::Bytes(text) = &mut field.value else { continue };
        *text = match &**text {
            b"$r" => known.reservation.clone().into_bytes(),
            b"$h" => known.hold.clone().into_bytes(),
            b"$t" => known.token.clone().into_bytes(),
            b"$m" => known.rejected.clone().into_bytes(),
            [b'$', b'k', rest @ ..] => [format!("k{}-", known.number).as_bytes(), rest].concat(),
            _ => filled(text, known),
        };
    }
    encode(&fields)
}

/// An answer is a message, or a refusal that the documents know.
fn judge(
    method: &Method,
    answer: Result<Option<Bytes>, Status>,
    documented: &Documented,
    known: &mut Known,
    seen: &mut Behaviours,
) {
    let name = method.path.rsplit('/').next().unwrap_or_default();
    match answer {
        Err(status) => seen.saw(format!("{name} {}", documented.judge(&status))),
        Ok(None) => seen.saw(format!("{name} says nothing")),
        Ok(Some(message)) => {
            seen.saw(format!("{name} done"));
            learn(&parse(&message).expect("an answer is a message"), known);
            for result in results(name, &message) {
                let Some(error) = &result.error else {
                    seen.saw(format!("{name} {}", result.status().as_str_name()));
                    continue;
                };
                documented.judge_line(error);
                let field = error.metadata.get("field").cloned().unwrap_or_default();
                seen.saw(format!("{name} line {} {field}", error.reason));
            }
        }
    }
}

fn results(name: &str, message: &[u8]) -> Vec<MovementResult> {
    match name {
        "RecordMovements" => RecordMovementsResponse::decode(message).unwrap().results,
        "SyncMovements" => SyncMovementsResponse::decode(message).unwrap().results,
        "ResubmitMovement" => {
            ResubmitMovementResponse::decode(message).unwrap().result.into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Names that an answer told, for the calls that follow.
fn learn(fields: &[Field], known: &mut Known) {
    for field in fields {
        let Value::Bytes(bytes) = &field.value else { continue };
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        if text.parse::<ReservationId>().is_ok() {
            text.clone_into(&mut known.reservation);
        } else if text.parse::<HoldId>().is_ok() {
            text.clone_into(&mut known.hold);
        } else if field.number == 2 && text.starts_with("AQ") {
            text.clone_into(&mut known.token);
        } else if field.number == 1 && text.parse::<Uuid>().is_ok() {
            text.clone_into(&mut known.rejected);
        } else if let Some(inner) = parse(bytes) {
            learn(&inner, known);
        }
    }
}

/// The same over gRPC-Web, with whatever is said to be a time limit.
async fn in_a_browser(
    server: &Server,
    method: &Method,
    message: &[u8],
    limit: &str,
    seen: &mut Behaviours,
) {
    if limit.contains(|c: char| !c.is_ascii_graphic()) {
        return;
    }
    let answer = web::call(server.address, &method.path, message, Some(limit)).await;
    let status = answer.headers.get("grpc-status").map_or("none", |status| status);
    // 2 and 13 are defects; 1 would be a time limit that was not noticed.
    assert!(!["1", "2", "13"].contains(&status), "{} {limit:?}: {answer:?}", method.path);
    seen.saw(format!("in a browser {status}"));
}

#[test]
fn what_a_message_names_is_filled_in() {
    use stockroom::api::proto::AmendReservationRequest;

    let request = AmendReservationRequest {
        request_id: "$k1".to_owned(),
        reservation_id: "$r".to_owned(),
        lines: vec![line("$k", 5)],
        reason: String::new(),
    };
    let known = Known { number: 7, reservation: "r0.1.1.1".to_owned(), ..Known::default() };
    let filled = filled(&request.encode_to_vec(), &known);
    let filled = AmendReservationRequest::decode(&*filled).unwrap();
    assert_eq!((&*filled.request_id, &*filled.reservation_id), ("k7-1", "r0.1.1.1"));
    assert_eq!(filled.lines, [line("k7-", 5)]);
}
