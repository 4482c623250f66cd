//! Page tokens of every list and read-your-writes tokens, over gRPC: a token that nobody was given
//! is refused, or it leads to some rows of the list; it never leads anywhere else.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use std::future::Future;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use stockroom::api::proto::{
    CheckAvailabilityRequest, GetPositionRequest, ListChannelsRequest, ListEntriesRequest,
    ListItemsRequest, ListLocationsRequest, ListRejectedMovementsRequest, ListReservationsRequest,
};
use tokio::runtime::Builder;
use tonic::{Code, Status};

use super::{
    behaviours::Behaviours,
    runner::{Target, fuzz},
};
use crate::harness::{
    availability::check,
    errors::explained,
    movements::{receipt, sale},
    reservations::{create, line},
    server::Server,
};

/// Rows of every list.
const ROWS: usize = 12;
/// Of a page while all rows are read.
const PAGE: i32 = 5;
/// The lists, in the order of [`page`].
const LISTS: u8 = 6;

/// Names of rows, and the token of the next page.
type Page = Result<(Vec<String>, String), Status>;

async fn shop() -> Server {
    let server = Server::start_honest().await;
    let shops: Vec<_> = (0..ROWS).map(|number| format!("shop-{number}")).collect();
    server.put_locations(&shops.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for (number, shop) in shops.iter().enumerate() {
        server.put_channel(&format!("channel-{number}")).await;
        let sku = format!("item-{number}");
        let wrong = sale(&format!("wrong-{number}"), "nowhere", &sku, 1);
        server.record(vec![receipt("r", shop, &sku, 5), wrong]).await;
        let mut request = create("k", shop, vec![line(&sku, 1)]);
        request.order_ref = "order".to_owned();
        server.create(request).await.unwrap();
    }
    server
}

/// One page of a list.
async fn page(server: &Server, list: u8, page_size: i32, page_token: String) -> Page {
    macro_rules! page {
        ($client:ident, $method:ident, $request:expr, $rows:ident, $row:ident => $name:expr) => {{
            let request = $request;
            let response = server.$client().$method(request).await?.into_inner();
            let names = response.$rows.iter().map(|$row| $name).collect();
            Ok((names, response.next_page_token))
        }};
    }
    match list {
        0 => page!(ledger, list_entries,
            ListEntriesRequest { page_size, page_token, ..Default::default() },
            entries, row => format!("{}.{}", row.partition, row.seq)),
        1 => page!(ledger, list_rejected_movements,
            ListRejectedMovementsRequest { page_size, page_token, ..Default::default() },
            rejected_movements, row => row.rejected_movement_id.clone()),
        2 => {
            let order_ref = "order".to_owned();
            let request =
                ListReservationsRequest { order_ref, page_size, page_token, ..Default::default() };
            page!(reservations, list_reservations, request,
                reservations, row => row.reservation_id.clone())
        }
        3 => page!(network, list_locations, ListLocationsRequest { page_size, page_token },
            locations, row => row.location_id.clone()),
        4 => page!(network, list_channels, ListChannelsRequest { page_size, page_token },
            channels, row => row.channel_id.clone()),
        _ => page!(network, list_items, ListItemsRequest { page_size, page_token },
            items, row => row.sku.clone()),
    }
}

/// Every row of a list, and the tokens on the way.
async fn all(server: &Server, list: u8) -> (Vec<String>, Vec<String>) {
    let (mut rows, mut tokens) = (Vec::new(), Vec::new());
    let mut token = String::new();
    loop {
        let (names, next) = page(server, list, PAGE, token).await.unwrap();
        rows.extend(names);
        if next.is_empty() {
            return (rows, tokens);
        }
        tokens.push(next.clone());
        token = next;
    }
}

/// A token as input: which list, how many rows, and what the token says once decoded.
fn seed(list: u8, token: &str) -> Vec<u8> {
    let said = URL_SAFE_NO_PAD.decode(token).unwrap();
    [&[list, 3], &*said].concat()
}

#[test]
fn pages() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(shop());
    let position = |token: String| {
        let (location_id, sku) = ("shop-0".to_owned(), "item-0".to_owned());
        let request = GetPositionRequest { location_id, sku, as_of: None, token };
        let mut client = server.ledger();
        async move { client.get_position(request).await }
    };
    let written = runtime.block_on(server.record(vec![receipt("r2", "shop-1", "item-1", 1)]));
    let mut seeds = vec![seed(LISTS, &written.token)];
    let mut lists = Vec::new();
    for list in 0..LISTS {
        let (rows, tokens) = runtime.block_on(all(&server, list));
        assert!(rows.len() >= ROWS, "list {list} has {} rows", rows.len());
        seeds.extend(tokens.iter().map(|token| seed(list, token)));
        lists.push(rows);
    }
    let target =
        Target { name: "pages", seeds, words: &["\n", "0", "/"], message: false, floor: 50 };
    fuzz(target, |input, seen| {
        let [list, size, said @ ..] = input else { return };
        // Now and then what is no base64 at all.
        let token = match size % 16 {
            15 => String::from_utf8_lossy(said).into_owned(),
            _ => URL_SAFE_NO_PAD.encode(said),
        };
        if list % (LISTS + 1) == LISTS {
            let answer = runtime.block_on(position(token.clone()));
            judge_token("then", answer.map(|_| ()), seen);
            let question =
                CheckAvailabilityRequest { min_token: token, ..check("shop-0", "item-0") };
            let answer = runtime.block_on(server.check(question));
            let answer = answer.map(|told| assert_eq!(told.available, 4));
            judge_token("since", answer, seen);
            return;
        }
        let (list, page_size) = (list % (LISTS + 1), i32::from(size % 15));
        let rows = &lists[usize::from(list)];
        runtime.block_on(judge_page(&server, rows, (list, page_size, token), seen));
    });
    runtime.block_on(server.stop());
}

fn judge_token(what: &str, answer: Result<(), Status>, seen: &mut Behaviours) {
    match answer {
        Ok(()) => seen.saw(format!("{what}: a position")),
        Err(status) => {
            explained(&status, Code::InvalidArgument, "TOKEN_INVALID");
            seen.saw(format!("{what}: no token"));
        }
    }
}

/// What follows a token is the list from some row on, to its end.
async fn judge_page(
    server: &Server,
    rows: &[String],
    (list, page_size, token): (u8, i32, String),
    seen: &mut Behaviours,
) {
    let follow = |token| -> Box<dyn Future<Output = Page> + Unpin + Send> {
        Box::new(Box::pin(page(server, list, page_size, token)))
    };
    let (mut names, mut next) = match follow(token).await {
        Ok(page) => page,
        Err(status) => {
            explained(&status, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
            seen.saw(format!("list {list}: no token"));
            return;
        }
    };
    if page_size > 0 {
        assert!(names.len() <= page_size as usize, "{} rows, not {page_size}", names.len());
    }
    while !next.is_empty() {
        let (more, after) = follow(next).await.unwrap();
        names.extend(more);
        next = after;
    }
    assert!(rows.ends_with(&names), "list {list}: {names:?} is no end of {rows:?}");
    seen.saw(format!("list {list}: {} of {}", names.len(), rows.len()));
}
