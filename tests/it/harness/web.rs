//! gRPC-Web by hand: HTTP/1.1 over a socket, as a browser's client would send it, without timers of
//! a client's own.

use std::{collections::HashMap, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Of HTTP, with those of gRPC wherever they stood; names in lower case.
    pub headers: HashMap<String, String>,
    /// The message; empty: none.
    pub message: Vec<u8>,
}

/// Calls a unary method such as `/stockroom.v1.LedgerService/GetPosition`.
pub async fn call(
    address: SocketAddr,
    method: &str,
    message: &[u8],
    timeout: Option<&str>,
) -> Answer {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let timeout = timeout.map_or_else(String::new, |text| format!("grpc-timeout: {text}\r\n"));
    let head = format!(
        "POST {method} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nx-grpc-web: 1\r\n\
         content-type: application/grpc-web+proto\r\n{timeout}content-length: {}\r\n\r\n",
        message.len() + 5
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&[0]).await.unwrap();
    socket.write_all(&(message.len() as u32).to_be_bytes()).await.unwrap();
    socket.write_all(message).await.unwrap();
    let mut response = Vec::new();
    socket.read_to_end(&mut response).await.unwrap();
    read(&response)
}

/// What a browser is answered that asks whether a page of `origin` may call a method.
pub async fn may_call(address: SocketAddr, method: &str, origin: &str) -> HashMap<String, String> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "OPTIONS {method} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\norigin: {origin}\r\n\
         access-control-request-method: POST\r\n\
         access-control-request-headers: content-type,x-grpc-web\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    fields(response.split_once("\r\n\r\n").map_or(&*response, |(head, _)| head))
}

fn read(response: &[u8]) -> Answer {
    let end = response.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = std::str::from_utf8(&response[..end]).expect("text");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut headers = fields(head);
    let body = match headers.contains_key("transfer-encoding") {
        true => unchunked(&response[end + 4..]),
        false => response[end + 4..].to_vec(),
    };
    let (mut message, mut rest) = (Vec::new(), &body[..]);
    while let [kind, a, b, c, d, after @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (frame, after) = after.split_at(length);
        match kind {
            0 => message = frame.to_vec(),
            _ => headers.extend(fields(std::str::from_utf8(frame).expect("text"))),
        }
        rest = after;
    }
    Answer { headers, message }
}

fn fields(text: &str) -> HashMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect()
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&body[..end]).expect("a length");
        let length = usize::from_str_radix(length, 16).expect("a length");
        let chunk = &body[end + 2..];
        if length == 0 {
            break;
        }
        whole.extend(&chunk[..length]);
        body = &chunk[length + 2..];
    }
    whole
}
