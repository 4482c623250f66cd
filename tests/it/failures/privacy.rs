//! F36: erasure of personal data.

use stockroom::api::proto::Movement;

use crate::harness::{
    movements::{Became as _, sale},
    server::Server,
};

/// What a person could be recognised by.
const PERSONAL: [&str; 3] = ["erika@example.org", "Erika Mustermann", "+49 30 1234567"];

#[tokio::test]
async fn f36_whatever_names_somebody_must_be_an_opaque_reference() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    for person in PERSONAL {
        let person = || person.to_owned();
        let line = sale("s", "berlin", "A", 1);
        let lines = [
            Movement { reservation_id: person(), ..line.clone() },
            Movement { hold_id: person(), ..line.clone() },
            Movement { channel_id: person(), ..line.clone() },
            Movement { reason: person(), ..line },
        ];
        for line in lines {
            server.record_one(line).await.rejected("FIELD_INVALID");
        }
        let request = crate::harness::movements::put_request(&person(), Vec::new());
        let status = server.movements().record_movements(request).await.unwrap_err();
        crate::harness::errors::explained(&status, tonic::Code::InvalidArgument, "SOURCE_INVALID");
    }
    assert_eq!(server.entries().await, []);
}

#[tokio::test]
async fn f36_a_reference_whose_owner_was_erased_elsewhere_still_stands() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let reference = "01J9Z6-7f3a".to_owned();
    let line = Movement { reservation_id: reference.clone(), ..sale("s", "berlin", "A", 1) };
    server.record_one(line).await.recorded();
    let entry = server.entries().await.remove(0);
    assert_eq!(entry.reservation_id, reference, "opaque, and kept for ever");
}
