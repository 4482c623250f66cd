//! What streams tell, up to where they have told everything that there is.

use stockroom::api::proto::{
    ExportPositionsRequest, WatchAvailabilityRequest, WatchReservationsRequest,
};

use crate::security::{reach::calls::Names, scene::Client};

/// Everything that a caller is told by streams, as text.
pub async fn told(client: &Client, names: &Names) -> Vec<String> {
    let mut told = Vec::new();
    for channel_id in [String::new(), names.channel_id.clone()] {
        let export =
            ExportPositionsRequest { channel_id: channel_id.clone(), ..Default::default() };
        let mut positions = 0;
        let mut stream = client.ledger().export_positions(export).await.unwrap().into_inner();
        while let Some(message) = stream.message().await.unwrap() {
            positions += message.positions.len();
            told.push(format!("{message:?}"));
        }
        assert!(positions > 0, "{names:?}");
    }
    let watch =
        WatchAvailabilityRequest { channel_id: names.channel_id.clone(), ..Default::default() };
    let answer = client.availability().watch_availability(watch).await;
    let mut stream = answer.unwrap().into_inner();
    while let Some(message) = stream.message().await.unwrap() {
        told.push(format!("{message:?}"));
        if message.complete {
            break;
        }
    }
    let watch = WatchReservationsRequest { location_id: names.location_id.clone() };
    let mut stream = client.reservations().watch_reservations(watch).await.unwrap().into_inner();
    while let Some(message) = stream.message().await.unwrap() {
        told.push(format!("{message:?}"));
        if message.complete {
            break;
        }
    }
    told
}
