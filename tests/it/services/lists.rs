//! Finding reservations: by code, by order, by customer, by state, page by page.

use stockroom::api::proto::{
    CreateReservationRequest, ListReservationsRequest, Reservation, ReservationState,
};
use tonic::Code;

use crate::harness::{
    errors::explained,
    movements::{Became as _, receipt},
    reservations::{create, line},
    server::Server,
};

async fn shops() -> Server {
    let server = Server::start_honest().await;
    server.put_locations(&["shop", "other"]).await;
    for location in ["shop", "other"] {
        server.record_one(receipt("r", location, "jam", 100)).await.recorded();
    }
    server
}

fn at(location_id: &str) -> ListReservationsRequest {
    ListReservationsRequest {
        location_id: location_id.to_owned(),
        ..ListReservationsRequest::default()
    }
}

async fn ids(server: &Server, request: ListReservationsRequest) -> Vec<String> {
    let response = server.list(request).await.unwrap();
    assert_eq!(response.next_page_token, "");
    let mut ids: Vec<_> =
        response.reservations.into_iter().map(|made| made.reservation_id).collect();
    ids.sort_unstable();
    ids
}

async fn found_by(server: &Server, location_id: &str, code: &str) -> Vec<Reservation> {
    let request = ListReservationsRequest { pickup_code: code.to_owned(), ..at(location_id) };
    server.list(request).await.unwrap().reservations
}

/// The code as it may be typed: in small letters, with letters for the digits that they look like.
fn typed(code: &str) -> String {
    code.to_lowercase().replace('0', "o").replace('1', "l")
}

#[tokio::test]
async fn a_pickup_code_is_found_however_it_is_typed() {
    let server = shops().await;
    let (mut zeros, mut ones) = (0, 0);
    // One code in five has a zero, one in five a one.
    for number in 0..60 {
        let made = server.reserve(&format!("k{number}"), "shop", "jam", 1).await.unwrap();
        let code = &made.pickup_code;
        let interesting = code.contains('0') || code.contains('1');
        if !interesting && number % 10 > 0 {
            continue;
        }
        zeros += usize::from(code.contains('0'));
        ones += usize::from(code.contains('1'));
        let found = found_by(&server, "shop", &typed(code)).await;
        assert_eq!(found, std::slice::from_ref(&made), "{code} as {}", typed(code));
        let grouped = format!("{} {}", &code[..4], &code[4..]);
        assert_eq!(found_by(&server, "shop", &grouped).await, [made], "{grouped}");
    }
    assert!(zeros > 0 && ones > 0, "of 60 codes {zeros} have a 0 and {ones} a 1");
}

#[tokio::test]
async fn a_pickup_code_is_good_at_its_location_and_while_it_is_open() {
    let server = shops().await;
    let made = server.reserve("k1", "shop", "jam", 1).await.unwrap();
    assert_eq!(found_by(&server, "other", &made.pickup_code).await, []);
    assert_eq!(found_by(&server, "shop", "-").await, [], "which is nobody's code");
    assert_eq!(found_by(&server, "shop", "ZZZZ").await, []);
    let anywhere = ListReservationsRequest {
        pickup_code: made.pickup_code.clone(),
        order_ref: "o".to_owned(),
        ..ListReservationsRequest::default()
    };
    let refused = server.list(anywhere).await.unwrap_err();
    explained(&refused, Code::InvalidArgument, "LOCATION_ID_REQUIRED");
    server.collect("k2", &made.reservation_id).await.unwrap();
    assert_eq!(found_by(&server, "shop", &made.pickup_code).await, []);
}

#[tokio::test]
async fn orders_and_customers_are_found_at_every_location() {
    let server = shops().await;
    let mut made = Vec::new();
    for (number, (location, order, customer)) in [
        ("shop", "order-1", "anna"),
        ("other", "order-1", "anna"),
        ("shop", "order-2", "anna"),
        ("other", "order-3", "bert"),
        ("shop", "", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let request = create(&format!("k{number}"), location, vec![line("jam", 1)]);
        let request = CreateReservationRequest {
            order_ref: order.to_owned(),
            customer_ref: customer.to_owned(),
            ..request
        };
        made.push(server.create(request).await.unwrap().reservation_id);
    }
    let wanted = |numbers: &[usize]| {
        let mut ids: Vec<_> = numbers.iter().map(|number| made[*number].clone()).collect();
        ids.sort_unstable();
        ids
    };
    let order = |order: &str| ListReservationsRequest {
        order_ref: order.to_owned(),
        ..ListReservationsRequest::default()
    };
    let customer = |location: &str, customer: &str| ListReservationsRequest {
        customer_ref: customer.to_owned(),
        ..at(location)
    };
    assert_eq!(ids(&server, order("order-1")).await, wanted(&[0, 1]));
    assert_eq!(ids(&server, order("nothing")).await, wanted(&[]));
    assert_eq!(ids(&server, customer("", "anna")).await, wanted(&[0, 1, 2]));
    assert_eq!(ids(&server, customer("shop", "anna")).await, wanted(&[0, 2]));
    assert_eq!(ids(&server, at("shop")).await, wanted(&[0, 2, 4]));
    let both = ListReservationsRequest { order_ref: "order-2".into(), ..customer("", "bert") };
    assert_eq!(ids(&server, both).await, wanted(&[]), "every filter must hold");

    // A hold is no reservation, wherever it is kept.
    server.hold_one("h1", "shop", "jam", 1).await.unwrap();
    assert_eq!(ids(&server, at("shop")).await, wanted(&[0, 2, 4]));
    server.cancel("c", &made[2]).await.unwrap();
    let state = |states: &[ReservationState]| ListReservationsRequest {
        states: states.iter().map(|state| *state as i32).collect(),
        ..at("shop")
    };
    let (reserved, cancelled) = (ReservationState::Reserved, ReservationState::Cancelled);
    assert_eq!(ids(&server, state(&[cancelled])).await, wanted(&[2]));
    assert_eq!(ids(&server, state(&[reserved])).await, wanted(&[0, 4]));
    assert_eq!(ids(&server, state(&[reserved, cancelled])).await, wanted(&[0, 2, 4]));
    let any = state(&[ReservationState::Unspecified, cancelled]);
    assert_eq!(ids(&server, any).await, wanted(&[0, 2, 4]), "in a filter: any");
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let server = shops().await;
    let mut made = Vec::new();
    for number in 0..7 {
        let location = if number % 2 == 0 { "shop" } else { "other" };
        let request = create(&format!("k{number}"), location, vec![line("jam", 1)]);
        let request = CreateReservationRequest { customer_ref: "anna".to_owned(), ..request };
        made.push(server.create(request).await.unwrap().reservation_id);
    }
    let mut request = ListReservationsRequest {
        customer_ref: "anna".to_owned(),
        page_size: 3,
        ..ListReservationsRequest::default()
    };
    let (mut found, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let page = server.list(request.clone()).await.unwrap();
        sizes.push(page.reservations.len());
        found.extend(page.reservations.into_iter().map(|made| made.reservation_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(sizes, [3, 3, 1]);
    found.sort_unstable();
    made.sort_unstable();
    assert_eq!(found, made, "each once");
    request.page_token = "nonsense".to_owned();
    let refused = server.list(request.clone()).await.unwrap_err();
    explained(&refused, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    request.page_size = -1;
    let refused = server.list(request).await.unwrap_err();
    explained(&refused, Code::InvalidArgument, "PAGE_SIZE_INVALID");
    let refused = server.list(at("")).await.unwrap_err();
    explained(&refused, Code::InvalidArgument, "FILTER_REQUIRED");
    let refused = server.list(at("nowhere")).await.unwrap_err();
    explained(&refused, Code::NotFound, "LOCATION_UNKNOWN");
    let unknown = ListReservationsRequest { states: vec![9], ..at("shop") };
    let refused = server.list(unknown).await.unwrap_err();
    explained(&refused, Code::InvalidArgument, "FIELD_INVALID");
}
