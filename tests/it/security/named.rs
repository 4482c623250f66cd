//! What is put under a name, and who is said to have done something.

use stockroom::api::proto::{
    BlockItemRequest, GetWebhookRequest, ListWebhooksRequest, PutWebhookRequest,
    UnblockItemRequest, Webhook,
};
use tonic::Code;

use crate::{
    harness::errors::explained,
    security::scene::{SHOPS, SKU, Scene},
};

#[tokio::test]
async fn a_webhook_of_a_caller_whose_name_begins_alike_does_not_exist() {
    let scene = Scene::start().await;
    let [alpha, beta] = SHOPS;
    let acme = scene.reaching("acme", Some(&[alpha]), None).await;
    let other = scene.reaching("acme/berlin", Some(&[beta]), None).await;
    let put = |webhook_id: &str, location_id: &str| {
        let webhook = Webhook {
            webhook_id: webhook_id.to_owned(),
            url: "http://127.0.0.1:9/".to_owned(),
            location_ids: vec![location_id.to_owned()],
            ..Webhook::default()
        };
        PutWebhookRequest { webhook: Some(webhook), ..PutWebhookRequest::default() }
    };
    acme.events().put_webhook(put("acme/hook", alpha)).await.unwrap();
    other.events().put_webhook(put("acme/berlin/hook", beta)).await.unwrap();
    let get = || GetWebhookRequest { webhook_id: "acme/berlin/hook".to_owned() };
    let unseen = acme.events().get_webhook(get()).await.unwrap_err();
    explained(&unseen, Code::NotFound, "WEBHOOK_UNKNOWN");
    other.events().get_webhook(get()).await.unwrap();
    let taken = acme.events().put_webhook(put("acme/berlin/hook", alpha)).await.unwrap_err();
    explained(&taken, Code::PermissionDenied, "WEBHOOK_FORBIDDEN");
    let listed = acme.events().list_webhooks(ListWebhooksRequest::default()).await.unwrap();
    let listed = listed.into_inner().webhooks;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0].webhook_id, "acme/hook");
    scene.server.stop().await;
}

#[tokio::test]
async fn who_blocks_an_item_and_who_unblocks_it_is_kept() {
    let scene = Scene::start().await;
    let [begins, ends] =
        [scene.reaching("begins", None, None).await, scene.reaching("ends", None, None).await];
    let block = BlockItemRequest { sku: SKU.to_owned(), ..BlockItemRequest::default() };
    begins.network().block_item(block).await.unwrap();
    let unblock = UnblockItemRequest { sku: SKU.to_owned() };
    ends.network().unblock_item(unblock).await.unwrap();
    let changes = scene.server.ledger.network_changes(Some(SKU), i64::MAX, 2).await.unwrap();
    let told: Vec<_> = changes.iter().map(|change| (&*change.what, &*change.actor)).collect();
    assert_eq!(told, [("recall_ended", "ends"), ("recall", "begins")]);
    scene.server.stop().await;
}
