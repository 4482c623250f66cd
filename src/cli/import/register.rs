//! Creates the master data that a file rests on, before its lines are sent.
use futures::{StreamExt as _, TryStreamExt as _};
use tonic::{Code, Status};

use super::{
    feed::Feed,
    retry::Patience,
    send::{Connections, SendError},
};
use crate::{
    api::proto::{
        Channel, GetChannelRequest, GetLocationRequest, Item, Location, PutChannelRequest,
        PutItemRequest, PutLocationRequest, network_service_client::NetworkServiceClient,
    },
    cli::client::Connection,
};

/// Enough to hide the round trips of some hundred shops.
const CALLS_AT_ONCE_MAX: usize = 32;

type Client = NetworkServiceClient<Connection>;

/// Creates locations and channels that do not exist, and registers the codes that are not stock.
/// What exists is left as it is: an import must not undo what an administrator wrote.
///
/// # Errors
/// The first row that the server does not take.
pub(crate) async fn register(
    connections: &Connections,
    feed: &Feed,
    patience: &Patience,
) -> Result<(), SendError> {
    let locations = feed.locations.iter().cloned().map(Box::new).map(Row::Location);
    let channels = feed.channels.iter().cloned().map(Row::Channel);
    let items = feed.unstocked.iter().cloned().map(Row::Unstocked);
    let rows = locations.chain(channels).chain(items).enumerate();
    let calls = rows.map(|(number, row)| {
        put(NetworkServiceClient::new(connections.channel(number)), row, patience)
    });
    futures::stream::iter(calls).buffer_unordered(CALLS_AT_ONCE_MAX).try_collect().await
}

#[derive(Clone)]
enum Row {
    Location(Box<Location>),
    Channel(String),
    Unstocked(String),
}

impl Row {
    fn doing(&self) -> &'static str {
        match self {
            Self::Location(_) => "creating a location",
            Self::Channel(_) => "creating a channel",
            Self::Unstocked(_) => "registering a code that is not stock",
        }
    }
}

async fn put(mut client: Client, row: Row, patience: &Patience) -> Result<(), SendError> {
    let mut attempt = 0;
    loop {
        let answer = match row.clone() {
            Row::Location(location) => put_location(&mut client, *location).await,
            Row::Channel(channel_id) => put_channel(&mut client, channel_id).await,
            Row::Unstocked(sku) => put_unstocked(&mut client, sku).await,
        };
        let Err(status) = answer else {
            patience.progressed();
            return Ok(());
        };
        let Some(pause) = patience.pause(attempt, &status) else {
            return Err(SendError::refused(row.doing(), status));
        };
        tokio::time::sleep(pause).await;
        attempt += 1;
    }
}

async fn put_location(client: &mut Client, location: Location) -> Result<(), Status> {
    let location_id = location.location_id.clone();
    if exists(client.get_location(GetLocationRequest { location_id }).await)? {
        return Ok(());
    }
    client.put_location(PutLocationRequest { location: Some(location) }).await.map(drop)
}

async fn put_channel(client: &mut Client, channel_id: String) -> Result<(), Status> {
    let request = GetChannelRequest { channel_id: channel_id.clone() };
    if exists(client.get_channel(request).await)? {
        return Ok(());
    }
    let channel = Channel { name: channel_id.clone(), channel_id };
    client.put_channel(PutChannelRequest { channel: Some(channel) }).await.map(drop)
}

async fn put_unstocked(client: &mut Client, sku: String) -> Result<(), Status> {
    let item = Item { name: sku.clone(), sku, stock_item: Some(false), ..Item::default() };
    client.put_item(PutItemRequest { item: Some(item) }).await.map(drop)
}

fn exists<T>(answer: Result<T, Status>) -> Result<bool, Status> {
    match answer {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(status),
    }
}
