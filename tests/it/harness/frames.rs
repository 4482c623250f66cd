//! HTTP/2 by hand, frame by frame (RFC 9113), for what no well-behaved client sends.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const CANCEL: u32 = 8;
const PING_DATA: &[u8; 8] = b"stillon?";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that is not indexed and whose name is number `name` of the static table (RFC 7541).
fn field(name: u8, value: &str) -> Vec<u8> {
    [&[name, u8::try_from(value.len()).unwrap()], value.as_bytes()].concat()
}

/// Sends the headers of calls and gives each up at once, all in one piece. Returns whether the
/// connection still answers.
pub async fn answers_after_resets(server: SocketAddr, path: &str, calls: u32) -> bool {
    // POST and http, as they stand in the static table.
    let fields = [vec![0x83, 0x86], field(4, path), field(1, "server")].concat();
    let mut sent = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    for call in 0..calls {
        let stream = 2 * call + 1;
        sent.extend(frame(HEADERS, END_HEADERS, stream, &fields));
        sent.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
    }
    sent.extend(frame(PING, 0, 0, PING_DATA));
    let mut connection = TcpStream::connect(server).await.unwrap();
    // A server that has enough closes the connection before it has read everything.
    let _ = connection.write_all(&sent).await;
    loop {
        match receive(&mut connection).await {
            Ok((PING, ACK, payload)) => return payload == PING_DATA,
            Ok((GOAWAY, ..)) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

/// Kind, flags and payload of the next frame.
async fn receive(connection: &mut TcpStream) -> std::io::Result<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    connection.read_exact(&mut head).await?;
    let [high, middle, low, kind, flags, ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
    connection.read_exact(&mut payload).await?;
    Ok((kind, flags, payload))
}
