//! The work list of a location: its present state, then every change.

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use tokio::{
    sync::{broadcast, mpsc},
    time::MissedTickBehavior,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{
    access::Caller,
    api::{
        Api,
        proto::{ReservationTask, WatchReservationsRequest, WatchReservationsResponse, WorkItem},
    },
    feed::follow::News,
    stock::{
        ids::{Place, Seq},
        reservation::{Reservation, ReservationId, Task},
        time::Timestamp,
    },
};

/// Reservations of one message.
const ITEMS_MAX: i64 = 200;
/// How often it is looked for what has become overdue.
const OVERDUE_EVERY: Duration = Duration::from_secs(1);

/// A watcher of one location.
struct Watcher {
    api: Api,
    caller: Arc<Caller>,
    place: Place,
    answers: mpsc::Sender<Result<WatchReservationsResponse, Status>>,
    /// What was told last of everything that is on the list.
    told: BTreeMap<ReservationId, (Seq, Timestamp, Task)>,
}

/// Why a stream ends.
enum End {
    /// Nobody listens any more, or the server stops.
    Quiet,
    /// Something failed.
    Failed(Status),
}

impl From<Status> for End {
    fn from(status: Status) -> End {
        End::Failed(status)
    }
}

impl Api {
    pub(super) async fn watch(
        &self,
        caller: Arc<Caller>,
        sent: WatchReservationsRequest,
    ) -> Result<Pin<Box<dyn Stream<Item = Result<WatchReservationsResponse, Status>> + Send>>, Status>
    {
        let place = self.place(&caller, &sent.location_id).await?;
        // Interest is registered before anything is looked at, so that nothing falls in between.
        let news = self.follow.subscribe(place.partition).await?.news;
        let (answers, stream) = mpsc::channel(1);
        let (api, told) = (self.clone(), BTreeMap::new());
        let watcher = Watcher { api, caller, place, answers, told };
        tokio::spawn(watcher.run(news));
        Ok(Box::pin(ReceiverStream::new(stream)))
    }
}

impl Watcher {
    async fn run(mut self, news: broadcast::Receiver<Arc<News>>) {
        let mut stopped = self.api.stopped.clone();
        let answers = self.answers.clone();
        let ended = tokio::select! {
            ended = self.follow(news) => ended,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        if let Err(End::Failed(status)) = ended {
            // A listener that went away needs no reason.
            let _ = answers.send(Err(status)).await;
        }
    }

    async fn follow(&mut self, mut news: broadcast::Receiver<Arc<News>>) -> Result<(), End> {
        self.tell_all().await?;
        let mut ticks = tokio::time::interval(OVERDUE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                next = news.recv() => match next {
                    Ok(next) => {
                        let mut all = vec![next];
                        while let Ok(more) = news.try_recv() {
                            all.push(more);
                        }
                        self.tell_news(&all).await?;
                    }
                    // A reader this slow gets the present state instead of what it missed.
                    Err(broadcast::error::RecvError::Lagged(_)) => self.tell_all().await?,
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                },
                _ = ticks.tick() => self.tell_overdue().await?,
                () = self.answers.closed() => return Err(End::Quiet),
            }
        }
    }

    /// The present state, page by page.
    async fn tell_all(&mut self) -> Result<(), End> {
        let mut after = 0;
        loop {
            let ledger = &self.api.ledger;
            let page = ledger.work_list(self.place, after, ITEMS_MAX).await;
            let page = page.map_err(Status::from)?;
            let complete = (page.len() as i64) < ITEMS_MAX;
            after = page.last().map_or(after, |last| last.id.no);
            self.tell(page, complete).await?;
            if complete {
                return Ok(());
            }
        }
    }

    async fn tell_news(&mut self, news: &[Arc<News>]) -> Result<(), End> {
        let mut numbers = Vec::new();
        for news in news {
            match &**news {
                News::Recorded(changes, _) => {
                    let moved = changes.iter().filter_map(|change| change.step_of);
                    numbers.extend(moved.filter(|id| id.place == self.place).map(|id| id.no));
                }
                News::Reset(_) => return self.tell_all().await,
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        for numbers in numbers.chunks(ITEMS_MAX as usize) {
            let found = self.api.ledger.reservations_of(self.place.partition, numbers).await;
            let mut found = found.map_err(Status::from)?;
            found.retain(|made| {
                let told = self.told.get(&made.id).map(|(version, ..)| *version);
                made.held_as.is_none() && told.is_none_or(|version| version < made.version)
            });
            if !found.is_empty() {
                self.tell(found, false).await?;
            }
        }
        Ok(())
    }

    async fn tell_overdue(&mut self) -> Result<(), End> {
        let now = now();
        let overdue = self
            .told
            .iter()
            .filter(|(_, (_, ready_by, task))| *task == Task::Pick && *ready_by < now);
        let moved: Vec<_> = overdue.map(|(id, _)| *id).take(ITEMS_MAX as usize).collect();
        if moved.is_empty() {
            return Ok(());
        }
        let numbers: Vec<_> = moved.iter().map(|id| id.no).collect();
        let found = self.api.ledger.reservations_of(self.place.partition, &numbers).await;
        self.tell(found.map_err(Status::from)?, false).await
    }

    async fn tell(&mut self, found: Vec<Reservation>, complete: bool) -> Result<(), End> {
        let now = now();
        let mut reservations = Vec::with_capacity(found.len());
        for made in found {
            if self.api.reaches_channel(&self.caller, made.channel).await? {
                reservations.push(made);
            }
        }
        if reservations.is_empty() && !complete {
            return Ok(());
        }
        let mut items = Vec::with_capacity(reservations.len());
        let told = self.api.told(&reservations).await?;
        for (made, told) in reservations.iter().zip(told) {
            let task = made.task(now);
            match task {
                None => self.told.remove(&made.id),
                Some(task) => self.told.insert(made.id, (made.version, made.ready_by, task)),
            };
            let task = task.map_or(ReservationTask::Unspecified, self::told) as i32;
            items.push(WorkItem { reservation: Some(told), task });
        }
        let answer = Ok(WatchReservationsResponse { items, complete });
        self.answers.send(answer).await.map_err(|_| End::Quiet)
    }
}

fn told(task: Task) -> ReservationTask {
    match task {
        Task::Pick => ReservationTask::ToPick,
        Task::PickAtOnce => ReservationTask::Overdue,
        Task::HandOver => ReservationTask::Ready,
        Task::Shelve => ReservationTask::ToShelve,
    }
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}
