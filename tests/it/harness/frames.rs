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
const CONTINUATION: u8 = 9;
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

/// A connection of which only frames are known.
pub struct Frames(TcpStream);

/// A frame that was received.
#[derive(Debug)]
pub struct Received {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frames {
    /// Begins to speak HTTP/2.
    pub async fn connect(server: SocketAddr) -> Frames {
        let mut connection = TcpStream::connect(server).await.unwrap();
        let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        connection.write_all(&begin).await.unwrap();
        Frames(connection)
    }

    /// Sends what there is; a server that has enough closes the connection before it has read
    /// everything.
    pub async fn send(&mut self, frames: &[u8]) {
        let _ = self.0.write_all(frames).await;
    }

    /// What comes until the answer to a ping, and whether that came.
    pub async fn ping(&mut self) -> (Vec<Received>, bool) {
        self.send(&frame(PING, 0, 0, PING_DATA)).await;
        let mut all = Vec::new();
        loop {
            match receive(&mut self.0).await {
                Ok(it) if (it.kind, it.flags) == (PING, ACK) && it.payload == PING_DATA => {
                    return (all, true);
                }
                Ok(it) => all.push(it),
                Err(_) => return (all, false),
            }
        }
    }
}

impl Received {
    /// Whether it refuses a call.
    pub fn is_reset(&self) -> bool {
        self.kind == RST_STREAM
    }

    /// Whether it ends the connection.
    pub fn is_goaway(&self) -> bool {
        self.kind == GOAWAY
    }
}

/// POST and http, as they stand in the static table, a path, an authority, and more.
fn fields(path: &str, more: &[u8]) -> Vec<u8> {
    [&[0x83, 0x86], &*field(4, path), &field(1, "server"), more].concat()
}

/// A field of any name and value, not indexed.
pub fn plain_field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let text = |text: &[u8]| [&length(0, 7, text.len()), text].concat();
    [&[0], &*text(name), &text(value)].concat()
}

/// A field that is put into the table of the connection, where it is number 62.
pub fn remembered_field(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0x40], &plain_field(name, value)[1..]].concat()
}

/// The field that was remembered last.
pub const REMEMBERED: u8 = 0x80 | 62;

/// An integer behind `bits` bits of a first byte (RFC 7541, 5.1).
fn length(first: u8, bits: u32, length: usize) -> Vec<u8> {
    let most = (1 << bits) - 1;
    if length < most {
        return vec![first | u8::try_from(length).unwrap()];
    }
    let mut bytes = vec![first | u8::try_from(most).unwrap()];
    let mut rest = length - most;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

/// The headers of a call whose message is still to come.
pub fn call_frame(stream: u32, path: &str, more: &[u8]) -> Vec<u8> {
    let fields = fields(path, more);
    let mut parts = fields.chunks(16_384);
    let last = |rest: &std::slice::Chunks<'_, u8>| if rest.len() == 0 { END_HEADERS } else { 0 };
    let first = parts.next().unwrap();
    let mut frames = frame(HEADERS, last(&parts), stream, first);
    while let Some(part) = parts.next() {
        frames.extend(frame(CONTINUATION, last(&parts), stream, part));
    }
    frames
}

/// The beginning of headers, and then parts of them without an end.
pub fn endless_headers(stream: u32, path: &str, part: &[u8], parts: usize) -> Vec<u8> {
    let first = frame(HEADERS, 0, stream, &fields(path, &[]));
    let more = frame(CONTINUATION, 0, stream, part);
    [first, more.repeat(parts)].concat()
}

/// Sends the headers of calls and gives each up at once, all in one piece. Returns whether the
/// connection still answers.
pub async fn answers_after_resets(server: SocketAddr, path: &str, calls: u32) -> bool {
    let fields = fields(path, &[]);
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
            Ok(it) if (it.kind, it.flags) == (PING, ACK) => return it.payload == PING_DATA,
            Ok(it) if it.is_goaway() => return false,
            Err(_) => return false,
            Ok(_) => {}
        }
    }
}

/// The next frame.
async fn receive(connection: &mut TcpStream) -> std::io::Result<Received> {
    let mut head = [0; 9];
    connection.read_exact(&mut head).await?;
    let [high, middle, low, kind, flags, stream @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
    connection.read_exact(&mut payload).await?;
    Ok(Received { kind, flags, stream: u32::from_be_bytes(stream), payload })
}
