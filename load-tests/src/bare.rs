//! The limit of the transport: a tonic server that decodes a request and answers a constant, in a
//! process of its own, so that its CPU time can be told from the load's.
//!
//! The constant is an answer that Stockroom gave, so that both have the same shape.
#![expect(clippy::disallowed_types, reason = "a server of its own")]

use std::{
    convert::Infallible,
    future::ready,
    io::{BufRead as _, Write as _},
    process::Stdio,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use prost::Message;
use serde::{Deserialize, Serialize};
use stockroom::api::proto::{
    CheckAvailabilityRequest, CheckAvailabilityResponse, CreateReservationRequest,
    CreateReservationResponse, HoldStockRequest, HoldStockResponse,
    availability_service_server::SERVICE_NAME as AVAILABILITY,
    reservation_service_server::SERVICE_NAME as RESERVATIONS,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    process::{Child, ChildStdin, Command},
    time::timeout,
};
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService, UnaryService},
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

use crate::server::{block_on, connect};

/// It starts in milliseconds, or does not.
const START_MAX: Duration = Duration::from_secs(10);
/// It has nothing to finish.
const STOP_MAX: Duration = Duration::from_secs(10);

/// An answer that Stockroom gave, and the bare server gives to every call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    method: Method,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Method {
    CheckAvailability,
    CreateReservation,
    HoldStock,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Outcome {
    /// The encoded message.
    Answer(Vec<u8>),
    Refusal {
        code: i32,
        message: String,
        details: Vec<u8>,
    },
}

impl Sample {
    /// What a call was answered.
    pub fn of<A: Answer>(answer: &Result<Response<A>, Status>) -> Sample {
        let outcome = match answer {
            Ok(answer) => Outcome::Answer(answer.get_ref().encode_to_vec()),
            Err(status) => Outcome::Refusal {
                code: status.code() as i32,
                message: status.message().to_owned(),
                details: status.details().to_vec(),
            },
        };
        Sample { method: A::METHOD, outcome }
    }

    fn read<A: Answer>(self) -> anyhow::Result<Constant<A>> {
        let answer = match self.outcome {
            Outcome::Answer(bytes) => Ok(A::decode(&*bytes)?),
            Outcome::Refusal { code, message, details } => {
                Err(Status::with_details(Code::from_i32(code), message, details.into()))
            }
        };
        Ok(Constant(answer))
    }
}

/// A message that can be answered to every call of its method.
#[expect(private_interfaces, reason = "nobody else names a method")]
pub trait Answer: Message + Default + Clone + 'static {
    /// What is decoded.
    type Request: Message + Default + 'static;
    /// Which of its methods.
    const METHOD: Method;
    /// The service's full name.
    const SERVICE: &'static str;
}

#[expect(private_interfaces, reason = "nobody else names a method")]
impl Answer for CheckAvailabilityResponse {
    type Request = CheckAvailabilityRequest;
    const METHOD: Method = Method::CheckAvailability;
    const SERVICE: &'static str = AVAILABILITY;
}

#[expect(private_interfaces, reason = "nobody else names a method")]
impl Answer for CreateReservationResponse {
    type Request = CreateReservationRequest;
    const METHOD: Method = Method::CreateReservation;
    const SERVICE: &'static str = RESERVATIONS;
}

#[expect(private_interfaces, reason = "nobody else names a method")]
impl Answer for HoldStockResponse {
    type Request = HoldStockRequest;
    const METHOD: Method = Method::HoldStock;
    const SERVICE: &'static str = RESERVATIONS;
}

/// What generated code makes of a service with one method.
#[derive(Clone, Debug)]
struct Constant<A>(Result<A, Status>);

impl<A: Answer> NamedService for Constant<A> {
    const NAME: &'static str = A::SERVICE;
}

impl<A: Answer> UnaryService<A::Request> for Constant<A> {
    type Response = A;
    type Future = BoxFuture<Response<A>, Status>;

    fn call(&mut self, _: Request<A::Request>) -> Self::Future {
        Box::pin(ready(self.0.clone().map(Response::new)))
    }
}

impl<A: Answer> Service<http::Request<Body>> for Constant<A> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.unary(method, request).await)
        })
    }
}

/// Reads a sample from the first line of its input and serves it until the input ends.
///
/// # Errors
/// It is no sample, or there is no port.
pub fn run() -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let sample: Sample = serde_json::from_str(&line).context("not a sample")?;
    block_on(async {
        match sample.method {
            Method::CheckAvailability => serve(sample.read::<CheckAvailabilityResponse>()?).await,
            Method::CreateReservation => serve(sample.read::<CreateReservationResponse>()?).await,
            Method::HoldStock => serve(sample.read::<HoldStockResponse>()?).await,
        }
    })
}

async fn serve<A: Answer>(constant: Constant<A>) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut output = std::io::stdout();
    writeln!(output, "{}", listener.local_addr()?)?;
    output.flush()?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let ended = async {
        let mut rest = Vec::new();
        // However the input ends, nobody needs this server any longer.
        let _ = tokio::io::stdin().read_to_end(&mut rest).await;
    };
    let server = Server::builder().add_service(constant);
    tokio::select! {
        served = server.serve_with_incoming(incoming) => Ok(served?),
        () = ended => Ok(()),
    }
}

/// A bare server that runs.
#[derive(Debug)]
pub struct Bare {
    child: Child,
    input: ChildStdin,
    address: String,
    /// Of its process.
    pub pid: u32,
}

impl Bare {
    /// Starts one that answers `sample`.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(sample: &Sample) -> anyhow::Result<Bare> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start the bare server")?;
        let pid = child.id().context("the bare server ended at once")?;
        let mut input = child.stdin.take().context("the bare server has no input")?;
        let line = serde_json::to_string(sample)? + "\n";
        input.write_all(line.as_bytes()).await?;
        let output = child.stdout.take().context("the bare server has no output")?;
        let mut lines = BufReader::new(output).lines();
        let address = timeout(START_MAX, lines.next_line()).await??;
        let address = format!("http://{}", address.context("the bare server did not start")?);
        Ok(Bare { child, input, address, pid })
    }

    /// One connection of its own.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn connect(&self) -> anyhow::Result<Channel> {
        connect(&self.address).await
    }

    /// Stops it.
    ///
    /// # Errors
    /// It failed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.input);
        let stopped = timeout(STOP_MAX, self.child.wait()).await;
        let status = stopped.context("the bare server does not stop")??;
        anyhow::ensure!(status.success(), "the bare server ended with {status}");
        Ok(())
    }
}
