//! Sends lines over streams, and over again when a stream breaks.
use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _};
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    feed::Lines,
    order::{Lane, Step},
    retry::Patience,
    tally::Tally,
};
use crate::{
    api::proto::{
        Movement, MovementKind, SyncMovementsRequest, SyncMovementsResponse,
        movement_service_client::MovementServiceClient,
    },
    cli::client::{ClientConfig, Connection},
};

/// The most that the contract allows in one message.
const MESSAGE_LINES_MAX: usize = 1_000;
/// As many as the server works on at once: more would only wait in memory.
const WINDOW_MESSAGES: usize = 16;
/// Streams at once, however many sources a file names: a server allows 200 on a connection.
const LANES_MAX: usize = 128;
/// A server that hangs is noticed after both, like one that is gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Several connections to one server; each is made when it is first used, and again when it broke.
#[derive(Clone)]
pub(crate) struct Connections(Vec<Connection>);

impl Connections {
    /// Connects nothing yet.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub(crate) fn new(client: &ClientConfig, count: usize) -> anyhow::Result<Self> {
        let credential = client.credential()?;
        let endpoint = client
            .endpoint()?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        let connection = |_| Connection::new(endpoint.connect_lazy(), credential.clone());
        Ok(Self((0..count.max(1)).map(connection).collect()))
    }

    /// One of them, the same for the same number.
    pub(crate) fn channel(&self, number: usize) -> Connection {
        self.0[number % self.0.len()].clone()
    }
}

/// A server that will not take what is sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// It did not answer in time, or refused.
    #[error(
        "the server refused or did not answer while {doing}: {status}; mend the cause and run the \
         same import again, nothing is counted twice"
    )]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// The last answer.
        status: Box<Status>,
    },
    /// It broke the contract.
    #[error("the server answered {results} results to {movements} lines; is it the same version")]
    Answer {
        /// Results in its answer.
        results: usize,
        /// Lines that were sent.
        movements: usize,
    },
    /// It broke the contract for one line.
    #[error("the server neither recorded `{key}` nor said why not; is it the same version")]
    NoReason {
        /// Key of the line.
        key: String,
    },
    /// It rejected a fact that it must take.
    #[error("the server rejected the return `{key}` of what was sold in another shop: {reason}")]
    NotTakenBack {
        /// Key of the return.
        key: String,
        /// Its reason.
        reason: String,
    },
    /// A promise outlived its deadline.
    #[error("the reservation `{reservation_id}` does not expire; does the server's sweeper run")]
    NotExpired {
        /// Which.
        reservation_id: String,
    },
}

impl SendError {
    /// With what was being done.
    pub(crate) fn refused(doing: &'static str, status: Status) -> Self {
        Self::Refused { doing, status: Box::new(status) }
    }
}

/// Sends every lane over a stream of its own, and counts the answers.
///
/// # Errors
/// The first stream that fails for good ends them all.
pub(crate) async fn send(
    connections: &Connections,
    lines: Arc<dyn Lines>,
    lanes: Vec<Lane>,
    patience: &Patience,
    progress: &ProgressBar,
) -> Result<Tally, SendError> {
    patience.progressed();
    let sending = lanes.into_iter().enumerate().map(|(number, lane)| {
        let stream = Stream {
            client: MovementServiceClient::new(connections.channel(number)),
            lines: Arc::clone(&lines),
            lane,
            answered: 0,
            tally: Tally::default(),
            patience,
            progress,
        };
        stream.run()
    });
    let tallies = futures::stream::iter(sending).buffer_unordered(LANES_MAX);
    let add = |mut sum: Tally, tally| async move {
        sum.merge(tally);
        Ok(sum)
    };
    tallies.try_fold(Tally::default(), add).await
}

/// A lane on its way, and how far it got.
struct Stream<'a> {
    client: MovementServiceClient<Connection>,
    lines: Arc<dyn Lines>,
    lane: Lane,
    /// Steps that were answered; a new stream begins behind them.
    answered: usize,
    tally: Tally,
    patience: &'a Patience,
    progress: &'a ProgressBar,
}

/// A message without an answer yet.
struct Unanswered {
    /// Of each line, its kind and whether it is a resend.
    lines: Vec<(MovementKind, bool)>,
    /// Steps behind it.
    steps_end: usize,
}

enum Broken {
    Status(Status),
    Fatal(SendError),
}

impl Stream<'_> {
    async fn run(mut self) -> Result<Tally, SendError> {
        let mut attempt = 0;
        loop {
            let answered = self.answered;
            match self.session().await {
                Ok(()) => return Ok(self.tally),
                Err(Broken::Fatal(error)) => return Err(error),
                Err(Broken::Status(status)) => {
                    if self.answered > answered {
                        attempt = 0;
                    }
                    let Some(pause) = self.patience.pause(attempt, &status) else {
                        return Err(SendError::refused("sending lines", status));
                    };
                    tracing::debug!(%status, ?pause, "stream broke");
                    tokio::time::sleep(pause).await;
                    attempt += 1;
                }
            }
        }
    }

    /// One stream, from the first step without an answer to the end or to the break.
    async fn session(&mut self) -> Result<(), Broken> {
        let (requests, receiver) = mpsc::channel(WINDOW_MESSAGES);
        let mut window = VecDeque::with_capacity(WINDOW_MESSAGES);
        let mut next = self.answered;
        // Filled before the call, because a server may answer the call with its first result only.
        self.fill(&mut window, &mut next, &requests);
        let answers = self.client.sync_movements(ReceiverStream::new(receiver)).await;
        let mut answers: Streaming<SyncMovementsResponse> =
            answers.map_err(Broken::Status)?.into_inner();
        while let Some(unanswered) = window.pop_front() {
            match answers.message().await.map_err(Broken::Status)? {
                Some(response) => self.take(&unanswered, &response)?,
                None => return Err(Broken::Status(Status::unavailable("the stream ended early"))),
            }
            self.fill(&mut window, &mut next, &requests);
        }
        Ok(())
    }

    /// Sends until the window is full or nothing is left.
    fn fill(
        &self,
        window: &mut VecDeque<Unanswered>,
        next: &mut usize,
        requests: &mpsc::Sender<SyncMovementsRequest>,
    ) {
        while window.len() < WINDOW_MESSAGES && *next < self.lane.steps.len() {
            let (unanswered, movements) = self.message(*next);
            *next = unanswered.steps_end;
            window.push_back(unanswered);
            let source = self.lines.sources()[self.lane.source as usize].clone();
            // The channel holds a whole window and is never full. If it is closed the stream broke,
            // which the next answer says.
            let _ = requests.try_send(SyncMovementsRequest { source, sent_at: None, movements });
        }
    }

    /// As many whole groups from step `first` on as one message takes.
    fn message(&self, first: usize) -> (Unanswered, Vec<Movement>) {
        let mut movements = Vec::with_capacity(MESSAGE_LINES_MAX);
        let mut lines = Vec::with_capacity(MESSAGE_LINES_MAX);
        let mut groups: Vec<String> = Vec::new();
        let mut steps_end = first;
        for &Step { line, resend } in &self.lane.steps[first..] {
            let first = line as usize;
            let end = self.lines.block_end(first);
            if movements.len() + (end - first) > MESSAGE_LINES_MAX {
                break;
            }
            let movement = self.lines.movement(first);
            if !movement.group.is_empty() {
                // Twice in one request, it would be one group of twice the size.
                if groups.contains(&movement.group) {
                    break;
                }
                groups.push(movement.group.clone());
            }
            let rest = (first + 1..end).map(|line| self.lines.movement(line));
            for movement in std::iter::once(movement).chain(rest) {
                lines.push((movement.kind(), resend));
                movements.push(movement);
            }
            steps_end += 1;
        }
        (Unanswered { lines, steps_end }, movements)
    }

    fn take(
        &mut self,
        unanswered: &Unanswered,
        response: &SyncMovementsResponse,
    ) -> Result<(), Broken> {
        let (lines, results) = (&unanswered.lines, &response.results);
        if lines.len() != results.len() {
            let (results, movements) = (results.len(), lines.len());
            return Err(Broken::Fatal(SendError::Answer { results, movements }));
        }
        for (&(kind, resend), result) in lines.iter().zip(results) {
            if !self.tally.count(kind, result, resend) {
                return Err(Broken::Fatal(SendError::NoReason { key: result.key.clone() }));
            }
        }
        self.answered = unanswered.steps_end;
        self.patience.progressed();
        self.progress.inc(lines.len() as u64);
        Ok(())
    }
}
