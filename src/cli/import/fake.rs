//! A server for tests of the importer: it keeps keys in a map, and breaks when it is told to.
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::api::proto::{
    ApplySnapshotRequest, ApplySnapshotResponse, BlockItemRequest, BlockItemResponse,
    CloseLocationRequest, CloseLocationResponse, GetChannelPolicyRequest, GetChannelPolicyResponse,
    GetChannelRequest, GetChannelResponse, GetItemRequest, GetItemResponse, GetLocationRequest,
    GetLocationResponse, ListChannelPoliciesRequest, ListChannelPoliciesResponse,
    ListChannelPolicyVersionsRequest, ListChannelPolicyVersionsResponse, ListChannelsRequest,
    ListChannelsResponse, ListItemsRequest, ListItemsResponse, ListLocationsRequest,
    ListLocationsResponse, ListQuotasRequest, ListQuotasResponse, Location, Movement,
    MovementError, MovementResult, MovementStatus, PreviewChannelPolicyRequest,
    PreviewChannelPolicyResponse, PutChannelPolicyRequest, PutChannelPolicyResponse,
    PutChannelRequest, PutChannelResponse, PutItemRequest, PutItemResponse, PutLocationRequest,
    PutLocationResponse, PutQuotasRequest, PutQuotasResponse, RecordMovementsRequest,
    RecordMovementsResponse, SetLocationStatusRequest, SetLocationStatusResponse,
    SyncMovementsRequest, SyncMovementsResponse, UnblockItemRequest, UnblockItemResponse,
    movement_service_server::{MovementService, MovementServiceServer},
    network_service_server::{NetworkService, NetworkServiceServer},
};

/// What a message can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Recorded, and the answer lost.
    AfterRecording,
    /// Not recorded, and refused for now.
    BeforeRecording,
    /// The stream ends as if it were complete.
    EarlyEnd,
    /// Refused for good.
    Invalid,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) locations: BTreeMap<String, Location>,
    pub(super) channels: BTreeMap<String, String>,
    pub(super) unstocked: Vec<String>,
    /// First fact of each key.
    pub(super) facts: HashMap<(String, String, String), Movement>,
    /// Keys in the order of recording, by location.
    pub(super) order: BTreeMap<String, Vec<String>>,
    /// Messages seen, over all streams.
    pub(super) messages: usize,
    /// Streams seen.
    pub(super) streams: usize,
    /// What the message of this number meets.
    pub(super) faults: BTreeMap<usize, Fault>,
    /// Sizes of the messages.
    pub(super) sizes: Vec<usize>,
}

impl State {
    fn record(&mut self, source: &str, movement: Movement) -> MovementResult {
        let key = movement.key.clone();
        let scope = (source.to_owned(), movement.location_id.clone(), key.clone());
        let reject = |reason: &str| {
            (
                MovementStatus::Rejected,
                Some(MovementError { reason: reason.into(), ..Default::default() }),
            )
        };
        let (status, error) = match self.facts.get(&scope) {
            Some(first) if *first == movement => (MovementStatus::Duplicate, None),
            Some(_) => reject("ALREADY_EXISTS"),
            None if !self.locations.contains_key(&movement.location_id) => {
                reject("LOCATION_NOT_FOUND")
            }
            None if self.unstocked.contains(&movement.sku) => reject("NOT_A_STOCK_ITEM"),
            None if movement.quantity <= 0 => reject("QUANTITY_OUT_OF_RANGE"),
            None => {
                self.order.entry(movement.location_id.clone()).or_default().push(key.clone());
                self.facts.insert(scope, movement);
                (MovementStatus::Recorded, None)
            }
        };
        MovementResult { key, status: status.into(), error, entry: None }
    }

    fn answer(
        &mut self,
        request: SyncMovementsRequest,
    ) -> Result<SyncMovementsResponse, Option<Status>> {
        self.messages += 1;
        let fault = self.faults.remove(&self.messages);
        match fault {
            Some(Fault::BeforeRecording) => return Err(Some(Status::unavailable("away"))),
            Some(Fault::EarlyEnd) => return Err(None),
            Some(Fault::Invalid) => return Err(Some(Status::invalid_argument("no source"))),
            Some(Fault::AfterRecording) | None => {}
        }
        self.sizes.push(request.movements.len());
        let record = |movement| self.record(&request.source, movement);
        let results = request.movements.into_iter().map(record).collect();
        if fault.is_some() {
            return Err(Some(Status::unavailable("lost")));
        }
        Ok(SyncMovementsResponse { results, ..Default::default() })
    }

    /// Units by which a position stands, from what was recorded.
    pub(super) fn units(&self) -> i64 {
        use crate::api::proto::{
            MovementKind::{Receipt, Return, Sale},
            StockState,
        };
        self.facts.values().fold(0, |sum, fact| {
            sum + match fact.kind() {
                Sale => -fact.quantity,
                Receipt | Return => fact.quantity,
                _ if fact.to_state() == StockState::External => -fact.quantity,
                _ => fact.quantity,
            }
        })
    }
}

#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<State>>);

impl Fake {
    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Serves at `at` (port 0: any) until the result is dropped.
    pub(super) fn serve(&self, at: SocketAddr) -> Serving {
        let runtime = Runtime::new().unwrap();
        let listener = std::net::TcpListener::bind(at).unwrap();
        listener.set_nonblocking(true).unwrap();
        let at = listener.local_addr().unwrap();
        let serving = Server::builder()
            .add_service(MovementServiceServer::new(self.clone()))
            .add_service(NetworkServiceServer::new(self.clone()));
        runtime.spawn(async move {
            let listener = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            serving.serve_with_incoming(listener).await.unwrap();
        });
        Serving { at, runtime: Some(runtime) }
    }
}

/// A server with a runtime of its own. Dropped, it is gone like a killed process: with its port and
/// in the middle of every connection.
pub(super) struct Serving {
    pub(super) at: SocketAddr,
    runtime: Option<Runtime>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            let stop = std::thread::spawn(|| runtime.shutdown_timeout(Duration::from_secs(10)));
            stop.join().unwrap();
        }
    }
}

#[tonic::async_trait]
impl MovementService for Fake {
    type SyncMovementsStream =
        Pin<Box<dyn Stream<Item = Result<SyncMovementsResponse, Status>> + Send>>;

    async fn record_movements(
        &self,
        _: Request<RecordMovementsRequest>,
    ) -> Result<Response<RecordMovementsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn sync_movements(
        &self,
        request: Request<Streaming<SyncMovementsRequest>>,
    ) -> Result<Response<Self::SyncMovementsStream>, Status> {
        self.state().streams += 1;
        let fake = self.clone();
        let answers = futures::stream::unfold(Some(request.into_inner()), move |requests| {
            let fake = fake.clone();
            async move {
                let mut requests = requests?;
                let request = requests.message().await.ok()??;
                let answer = fake.state().answer(request);
                match answer {
                    Ok(response) => Some((Ok(response), Some(requests))),
                    Err(status) => status.map(|status| (Err(status), None)),
                }
            }
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn apply_snapshot(
        &self,
        _: Request<Streaming<ApplySnapshotRequest>>,
    ) -> Result<Response<ApplySnapshotResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

#[tonic::async_trait]
impl NetworkService for Fake {
    async fn put_location(
        &self,
        request: Request<PutLocationRequest>,
    ) -> Result<Response<PutLocationResponse>, Status> {
        let location = request.into_inner().location.unwrap();
        self.state().locations.insert(location.location_id.clone(), location);
        Ok(Response::new(PutLocationResponse::default()))
    }

    async fn get_location(
        &self,
        request: Request<GetLocationRequest>,
    ) -> Result<Response<GetLocationResponse>, Status> {
        let location = self.state().locations.get(&request.into_inner().location_id).cloned();
        location
            .map(|location| Response::new(GetLocationResponse { location: Some(location) }))
            .ok_or_else(|| Status::not_found(""))
    }

    async fn close_location(
        &self,
        _: Request<CloseLocationRequest>,
    ) -> Result<Response<CloseLocationResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn set_location_status(
        &self,
        _: Request<SetLocationStatusRequest>,
    ) -> Result<Response<SetLocationStatusResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn block_item(
        &self,
        _: Request<BlockItemRequest>,
    ) -> Result<Response<BlockItemResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn unblock_item(
        &self,
        _: Request<UnblockItemRequest>,
    ) -> Result<Response<UnblockItemResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn put_channel(
        &self,
        request: Request<PutChannelRequest>,
    ) -> Result<Response<PutChannelResponse>, Status> {
        let channel = request.into_inner().channel.unwrap();
        self.state().channels.insert(channel.channel_id, channel.name);
        Ok(Response::new(PutChannelResponse::default()))
    }

    async fn get_channel(
        &self,
        request: Request<GetChannelRequest>,
    ) -> Result<Response<GetChannelResponse>, Status> {
        match self.state().channels.get(&request.into_inner().channel_id) {
            Some(_) => Ok(Response::new(GetChannelResponse::default())),
            None => Err(Status::not_found("")),
        }
    }

    async fn put_item(
        &self,
        request: Request<PutItemRequest>,
    ) -> Result<Response<PutItemResponse>, Status> {
        let item = request.into_inner().item.unwrap();
        if item.stock_item == Some(false) {
            self.state().unstocked.push(item.sku);
        }
        Ok(Response::new(PutItemResponse::default()))
    }

    async fn get_item(
        &self,
        _: Request<GetItemRequest>,
    ) -> Result<Response<GetItemResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_items(
        &self,
        _: Request<ListItemsRequest>,
    ) -> Result<Response<ListItemsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_channels(
        &self,
        _: Request<ListChannelsRequest>,
    ) -> Result<Response<ListChannelsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_locations(
        &self,
        _: Request<ListLocationsRequest>,
    ) -> Result<Response<ListLocationsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn put_channel_policy(
        &self,
        _: Request<PutChannelPolicyRequest>,
    ) -> Result<Response<PutChannelPolicyResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_channel_policy(
        &self,
        _: Request<GetChannelPolicyRequest>,
    ) -> Result<Response<GetChannelPolicyResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_channel_policies(
        &self,
        _: Request<ListChannelPoliciesRequest>,
    ) -> Result<Response<ListChannelPoliciesResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn put_quotas(
        &self,
        _: Request<PutQuotasRequest>,
    ) -> Result<Response<PutQuotasResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_quotas(
        &self,
        _: Request<ListQuotasRequest>,
    ) -> Result<Response<ListQuotasResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn preview_channel_policy(
        &self,
        _: Request<PreviewChannelPolicyRequest>,
    ) -> Result<Response<PreviewChannelPolicyResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_channel_policy_versions(
        &self,
        _: Request<ListChannelPolicyVersionsRequest>,
    ) -> Result<Response<ListChannelPolicyVersionsResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}
