//! A stream does not outlive the credential that it was begun with.
#![expect(clippy::disallowed_types, reason = "clients that show a credential")]

use std::time::Duration;

use stockroom::{
    ambient,
    api::proto::{
        Location, PutLocationRequest, SyncMovementsRequest, SyncMovementsResponse,
        WatchAvailabilityResponse, availability_service_client::AvailabilityServiceClient,
        movement_service_client::MovementServiceClient,
        network_service_client::NetworkServiceClient,
    },
    stock::time::{SECOND, Timestamp},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::{
    harness::{
        certificates::{Authority, Files, connect},
        credentials::{Guard, Holder, bearer, key, shows},
        errors::explained,
        live::watch,
        movements::{put_request, receipt, sync_request},
        server::Server,
    },
    security::terminals::{TILL, start},
};

/// Longer than the time in which a stream must end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A stream that is told what there is at a location, after its first message.
async fn watches(holder: &Holder) -> Streaming<WatchAvailabilityResponse> {
    let mut client = AvailabilityServiceClient::new(holder.clone());
    let request = watch(&["berlin"], &["A"]);
    let mut answers = client.watch_availability(request).await.unwrap().into_inner();
    answers.message().await.unwrap().expect("what there is");
    answers
}

/// A stream of movements of which one was sent, and answered; and where more is sent.
async fn syncs(
    holder: &Holder,
) -> (mpsc::Sender<SyncMovementsRequest>, Streaming<SyncMovementsResponse>) {
    let (more, sent) = mpsc::channel(8);
    more.send(sync_request("erp", vec![receipt("first", "berlin", "A", 1)])).await.unwrap();
    let sent = ReceiverStream::new(sent);
    let answers = MovementServiceClient::new(holder.clone()).sync_movements(sent).await;
    let mut answers = answers.unwrap().into_inner();
    assert!(answers.message().await.unwrap().unwrap().results[0].error.is_none());
    (more, answers)
}

/// How a stream ends.
async fn end<T>(mut answers: Streaming<T>) -> Status {
    end_of(&mut answers).await
}

async fn end_of<T>(answers: &mut Streaming<T>) -> Status {
    let ended = async {
        loop {
            match answers.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it has ended as if all had been told"),
                Err(status) => return status,
            }
        }
    };
    timeout(PATIENCE, ended).await.expect("it ends")
}

async fn put_berlin(holder: &Holder) {
    let location = Location { location_id: "berlin".to_owned(), ..Location::default() };
    let request = PutLocationRequest { location: Some(location) };
    NetworkServiceClient::new(holder.clone()).put_location(request).await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_when_its_key_is_revoked_or_expires_and_others_go_on() {
    let server = Server::start_for(&Guard::keys()).await;
    let soon = Timestamp(ambient::now().0 + 4 * SECOND);
    let (lost, old, kept) = (
        key(&server.ledger, "lost", None).await,
        key(&server.ledger, "old", Some(soon)).await,
        key(&server.ledger, "kept", None).await,
    );
    let [lost_holder, old_holder, kept_holder] =
        [&lost, &old, &kept].map(|key| server.shows(&bearer(key)));
    put_berlin(&kept_holder).await;
    let watched = watches(&lost_holder).await;
    let (more_of_lost, synced) = syncs(&lost_holder).await;
    let expires = watches(&old_holder).await;
    let mut goes_on = watches(&kept_holder).await;

    assert!(server.ledger.revoke_api_key(lost.prefix()).await.unwrap());
    explained(&end(watched).await, Code::Unauthenticated, "CREDENTIAL_REVOKED");
    let mut synced = synced;
    explained(&end_of(&mut synced).await, Code::Unauthenticated, "CREDENTIAL_REVOKED");
    // The client has not hung up, and what it goes on to send is recorded by nobody.
    for key in ["late-1", "late-2", "late-3"] {
        let late = sync_request("erp", vec![receipt(key, "berlin", "A", 100)]);
        let _ = more_of_lost.send(late).await;
    }
    timeout(PATIENCE, more_of_lost.closed()).await.expect("nobody listens");
    explained(&end(expires).await, Code::Unauthenticated, "CREDENTIAL_EXPIRED");

    let more = put_request("erp", vec![receipt("more", "berlin", "A", 6)]);
    MovementServiceClient::new(kept_holder).record_movements(more).await.unwrap();
    let told = async {
        loop {
            let message = goes_on.message().await.unwrap().expect("it goes on");
            if message.availability.iter().any(|pair| pair.available == 7) {
                return;
            }
        }
    };
    timeout(PATIENCE, told).await.expect("it is told");
    drop(goes_on);
    server.stop().await;
}

#[tokio::test]
async fn a_stream_ends_when_the_certificate_of_its_terminal_is_taken_back() {
    let (authority, files) = (Authority::new(), Files::new());
    let server = start(&files, &authority, true).await;
    let owner = key(&server.ledger, "owner", None).await;
    let lost = authority.client(&[TILL]);
    put_berlin(&shows(connect(server.address, &authority, None), &[&*bearer(&owner)])).await;
    let watched = watches(&shows(connect(server.address, &authority, Some(&lost)), &[])).await;
    files.put("crl.pem", &authority.revokes(&[&lost]));
    explained(&end(watched).await, Code::Unauthenticated, "CREDENTIAL_REVOKED");
    server.stop().await;
}
