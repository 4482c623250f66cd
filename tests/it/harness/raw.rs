//! Calls whose messages are bytes, so that they may be anything.
#![expect(clippy::disallowed_types, reason = "a client of its own kind")]

use prost::bytes::{Buf as _, BufMut as _, Bytes};
use tonic::{
    Request, Status,
    body::Body,
    client::{Grpc, GrpcService},
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{Body as HttpBody, StdError, http::uri::PathAndQuery},
    transport::Channel,
};

#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Plain;
    type Decoder = Plain;

    fn encoder(&mut self) -> Plain {
        Plain
    }

    fn decoder(&mut self) -> Plain {
        Plain
    }
}

impl Encoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Sends bytes to a method such as `/stockroom.v1.MovementService/RecordMovements`.
pub async fn call<S>(channel: S, method: &str, message: Vec<u8>) -> Result<Bytes, Status>
where
    S: GrpcService<Body, Error: Into<StdError>>,
    S::ResponseBody: HttpBody<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
{
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unknown(error.into().to_string()))?;
    let path = PathAndQuery::try_from(method).unwrap();
    Ok(client.unary(Request::new(message), path, Plain).await?.into_inner())
}

/// Sends bytes as the one message of a stream; returns how the stream ends.
pub async fn call_stream(
    channel: Channel,
    method: &str,
    message: Vec<u8>,
) -> Result<Option<Bytes>, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let path = PathAndQuery::try_from(method).unwrap();
    let messages = futures::stream::iter([message]);
    let response = client.streaming(Request::new(messages), path, Plain).await?;
    response.into_inner().message().await
}
