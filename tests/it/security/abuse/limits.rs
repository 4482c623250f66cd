//! Every number of every request at its limits, every text as something that is none.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt as _, stream};
use prost::Message as _;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet, field_descriptor_proto::Type,
};
use stockroom::api::proto::DESCRIPTORS;
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    fuzz::fields::{Field, Value, encode},
    harness::{
        errors::explained,
        movements::{Became as _, receipt},
        raw::{call, call_stream},
        server::Server,
    },
};

/// Messages within messages that are filled in.
const DEPTH_MAX: usize = 5;
/// A stream that says nothing within this time has nothing to say.
const STREAM_PATIENCE: Duration = Duration::from_millis(50);
/// Calls at once.
const AT_ONCE: usize = 16;

const INTEGERS: [u64; 8] = [
    0,
    1 << 53,
    i64::MAX.cast_unsigned(),
    i64::MIN.cast_unsigned(),
    u64::MAX,
    2_147_483_647,
    // i32::MIN, as it is written.
    0xffff_ffff_8000_0000,
    // The first second of the year 10000.
    253_402_300_800,
];
const FLOATS: [f64; 7] =
    [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, -0.0, f64::MIN_POSITIVE];

/// Types of messages by their full names.
struct Schema(BTreeMap<String, DescriptorProto>);

/// A method: its path, the type of its request, and whether it is a stream.
type Method = (String, String, bool);

/// What of a message is replaced, field by field from the outside, and by what.
struct Odd {
    path: Vec<u64>,
    value: Value,
}

impl Schema {
    fn read() -> (Schema, Vec<Method>) {
        let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let (mut types, mut methods) = (BTreeMap::new(), Vec::new());
        for file in &set.file {
            let package = format!(".{}", file.package());
            file.message_type.iter().for_each(|message| know(&mut types, &package, message));
            for service in &file.service {
                methods.extend(service.method.iter().map(|method| {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let streams = method.client_streaming() || method.server_streaming();
                    (path, method.input_type().to_owned(), streams)
                }));
            }
        }
        (Schema(types), methods)
    }

    /// A message of this type as it might be sent, but for one thing; `path` leads there.
    fn message(&self, type_name: &str, path: &[u64], odd: &Value, depth: usize) -> Vec<u8> {
        let mut fields = Vec::new();
        for field in &self.0[type_name].field {
            let number = u64::try_from(field.number()).unwrap();
            let is_deep = field.r#type() == Type::Message && depth == DEPTH_MAX;
            let value = match path {
                [last] if *last == number => odd.clone(),
                [first, rest @ ..] if *first == number => self.usual(field, rest, odd, depth),
                // Of a choice at most the one that is odd.
                _ if field.oneof_index.is_some() || is_deep => continue,
                _ => self.usual(field, &[], odd, depth),
            };
            fields.push(Field { number, value });
        }
        encode(&fields)
    }

    fn usual(
        &self,
        field: &FieldDescriptorProto,
        path: &[u64],
        odd: &Value,
        depth: usize,
    ) -> Value {
        match field.r#type() {
            Type::Message => Value::Bytes(self.message(field.type_name(), path, odd, depth + 1)),
            Type::String => Value::Bytes(usual_text(field.name()).as_bytes().to_vec()),
            Type::Bytes => Value::Bytes(Vec::new()),
            Type::Double => Value::Eight(1.0_f64.to_le_bytes()),
            Type::Enum => Value::Varint(0),
            _ => Value::Varint(1),
        }
    }

    /// Everything odd that a message of this type can have in it.
    fn oddities(&self, type_name: &str, above: &[u64]) -> Vec<Odd> {
        let mut all = Vec::new();
        for field in &self.0[type_name].field {
            let path = [above, &[u64::try_from(field.number()).unwrap()]].concat();
            let values = match field.r#type() {
                Type::Message if path.len() < DEPTH_MAX => {
                    all.extend(self.oddities(field.type_name(), &path));
                    Vec::new()
                }
                Type::Message => Vec::new(),
                Type::String => {
                    [&b"\xff\xfe"[..], b"a\0b"].map(|it| Value::Bytes(it.to_vec())).into()
                }
                Type::Bytes => vec![Value::Bytes(vec![0xff; 64])],
                Type::Double => FLOATS.map(|float| Value::Eight(float.to_le_bytes())).into(),
                Type::Float | Type::Fixed32 | Type::Fixed64 => {
                    panic!("no odd value is known for {field:?}")
                }
                _ => INTEGERS.map(Value::Varint).into(),
            };
            all.extend(values.into_iter().map(|value| Odd { path: path.clone(), value }));
        }
        all
    }
}

fn know(types: &mut BTreeMap<String, DescriptorProto>, above: &str, message: &DescriptorProto) {
    let name = format!("{above}.{}", message.name());
    message.nested_type.iter().for_each(|nested| know(types, &name, nested));
    types.insert(name, message.clone());
}

fn usual_text(field: &str) -> &'static str {
    match field {
        "location_id" | "location_ids" => "berlin",
        "to_location_id" => "hamburg",
        "channel_id" | "channel_ids" => "web",
        "sku" | "skus" => "jam",
        "source" | "key" | "request_id" => "k",
        "time_zone" => "Europe/Berlin",
        _ => "",
    }
}

/// Neither a defect nor without details.
fn is_typed(path: &str, odd: &Odd, status: &Status) {
    let what = || format!("{path} {:?} {:?}: {status:?}", odd.path, odd.value);
    let reason = status.get_details_error_info().map(|info| info.reason);
    let reason = reason.unwrap_or_else(|| panic!("no ErrorInfo: {}", what()));
    assert!(!matches!(status.code(), Code::Internal | Code::Unknown), "{}", what());
    assert!(!matches!(&*reason, "INTERNAL" | "TRANSPORT"), "{}", what());
    explained(status, status.code(), &reason);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_number_at_its_limits_and_every_text_that_is_none_gets_a_typed_answer() {
    let server = Server::start_honest().await;
    server.put_locations(&["berlin", "hamburg"]).await;
    server.put_channel("web").await;
    server.record_one(receipt("r", "berlin", "jam", 5)).await.recorded();
    let (schema, methods) = Schema::read();
    let ours = methods.iter().filter(|(path, ..)| path.starts_with("/stockroom."));
    let calls = ours.flat_map(|(path, input, streams)| {
        schema.oddities(input, &[]).into_iter().map(move |odd| (path, input, *streams, odd))
    });
    let calls: Vec<_> = calls.collect();
    assert!(calls.len() > 1_500, "{}", calls.len());
    let (connection, schema) = (server.connection(), &schema);
    let made = stream::iter(calls).map(|(path, input, streams, odd)| {
        let (message, connection) =
            (schema.message(input, &odd.path, &odd.value, 0), connection.clone());
        async move {
            let answer = match streams {
                true => timeout(STREAM_PATIENCE, call_stream(connection, path, message))
                    .await
                    .unwrap_or(Ok(None)),
                false => call(connection, path, message).await.map(Some),
            };
            if let Err(status) = answer {
                is_typed(path, &odd, &status);
            }
        }
    });
    made.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    let verified = server.ledger.verify(None, |_| ()).await.unwrap();
    assert_eq!(verified.difference, None);
}
