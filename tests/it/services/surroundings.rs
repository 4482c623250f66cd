//! Health, reflection and gRPC-Web.

use prost::Message as _;
use stockroom::api::{
    contract::{Service, services},
    proto::{GetPositionRequest, GetPositionResponse},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::harness::{
    binary::Binary,
    errors::explained,
    movements::{Became as _, receipt},
    server::{Server, eventually, migrated_database},
    web,
};

#[tokio::test]
async fn health_names_the_process_and_every_service() {
    let server = Server::start().await;
    let check = |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut health = HealthClient::new(server.connection());
        async move { health.check(request).await.map(|response| response.into_inner().status()) }
    };
    assert_eq!(check("").await.unwrap(), ServingStatus::Serving);
    assert!(services().len() >= 7, "{:?}", services());
    for Service { name, .. } in services() {
        eventually(name, || async {
            check(name).await.ok().filter(|status| *status == ServingStatus::Serving)
        })
        .await;
    }
    let status = check("stockroom.v1.Nothing").await.unwrap_err();
    explained(&status, tonic::Code::NotFound, "TRANSPORT");
}

#[tokio::test]
async fn reflection_v1_lists_the_services() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let server = Server::start().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(server.connection());
    let messages = tokio_stream::iter([request]);
    let mut stream = client.server_reflection_info(messages).await.unwrap().into_inner();
    let response = stream.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = response else {
        panic!("{response:?}")
    };
    complete(list.service.into_iter().map(|service| service.name).collect());
}

#[tokio::test]
async fn reflection_v1alpha_lists_the_services() {
    use tonic_reflection::pb::v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let server = Server::start().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(server.connection());
    let messages = tokio_stream::iter([request]);
    let mut stream = client.server_reflection_info(messages).await.unwrap().into_inner();
    let response = stream.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = response else {
        panic!("{response:?}")
    };
    complete(list.service.into_iter().map(|service| service.name).collect());
}

fn complete(services: Vec<String>) {
    for name in ["MovementService", "LedgerService", "NetworkService"] {
        let name = format!("stockroom.v1.{name}");
        assert!(services.contains(&name), "{name} in {services:?}");
    }
    assert!(services.contains(&"grpc.health.v1.Health".to_owned()), "{services:?}");
}

#[tokio::test]
async fn grpc_web_works_over_http_1() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    server.record_one(receipt("r", "berlin", "A", 5)).await.recorded();
    let request = |location: &str| GetPositionRequest {
        location_id: location.into(),
        sku: "A".into(),
        ..GetPositionRequest::default()
    };
    let method = "/stockroom.v1.LedgerService/GetPosition";
    let bytes = request("berlin").encode_to_vec();
    let answer = web::call(server.address, method, &bytes, None).await;
    assert_eq!(answer.headers["grpc-status"], "0", "{answer:?}");
    let response = GetPositionResponse::decode(&*answer.message).unwrap();
    assert_eq!(response.position.unwrap().sellable, 5);
    let bytes = request("nowhere").encode_to_vec();
    let answer = web::call(server.address, method, &bytes, None).await;
    assert_eq!(answer.headers["grpc-status"], "5", "{answer:?}");
    assert!(answer.headers.contains_key("grpc-status-details-bin"), "{answer:?}");
}

#[tokio::test]
async fn pages_of_the_origins_that_are_named_may_call_from_a_browser() {
    let url = migrated_database().await;
    let settings = ["--cors-origin", "https://shop.example,http://127.0.0.1:8080"];
    let binary = Binary::start_and(&url, &settings, &[]).await;
    let watch = "/stockroom.v1.AvailabilityService/WatchAvailability";
    let asked = async |origin: &str| web::may_call(binary.address, watch, origin).await;
    for origin in ["https://shop.example", "http://127.0.0.1:8080"] {
        let headers = asked(origin).await;
        assert_eq!(headers["access-control-allow-origin"], origin);
        assert_eq!(headers["access-control-allow-methods"], "POST");
        assert!(headers["access-control-allow-headers"].contains("x-grpc-web"));
    }
    let headers = asked("https://elsewhere.example").await;
    assert!(!headers.contains_key("access-control-allow-origin"), "{headers:?}");
    let server = Binary::start_and(&url, &[], &[]).await;
    let headers = web::may_call(server.address, watch, "https://shop.example").await;
    assert!(!headers.contains_key("access-control-allow-origin"), "of none by default");
}
