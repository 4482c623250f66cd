//! Spans, as a collector receives them, and the logs that name them.
#![expect(clippy::disallowed_types, reason = "the tests speak gRPC")]

use std::{net::SocketAddr, time::Duration};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind},
};
use stockroom::api::proto::movement_service_client::MovementServiceClient;
use tokio::{net::TcpListener, sync::mpsc};
use tonic::{
    Request, Response, Status,
    transport::{Server as Collecting, server::TcpIncoming},
};

use crate::harness::{
    binary::{Binary, free_address},
    movements::{put_request, receipt},
    server::{eventually, migrated_database},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector that passes on what it receives: spans with the name of their service.
struct Collector(mpsc::UnboundedSender<(String, Span)>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource_spans in request.into_inner().resource_spans {
            let attributes = resource_spans.resource.unwrap().attributes;
            let named = attributes.iter().find(|attribute| attribute.key == "service.name");
            let Some(Value::StringValue(name)) = named.unwrap().value.clone().unwrap().value else {
                panic!("it is a text");
            };
            for span in resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let _ = self.0.send((name.clone(), span));
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn collect() -> (SocketAddr, mpsc::UnboundedReceiver<(String, Span)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, spans) = mpsc::unbounded_channel();
    let collector = TraceServiceServer::new(Collector(sender));
    let serving = Collecting::builder().add_service(collector);
    tokio::spawn(serving.serve_with_incoming(TcpIncoming::from(listener)));
    (address, spans)
}

/// Reports a movement of an unknown location, in a trace.
async fn report(server: &Binary, key: &str, traceparent: &str) {
    let mut request = Request::new(put_request("till-1", vec![receipt(key, "nowhere", "x", 1)]));
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    request.metadata_mut().insert("tracestate", "shop=7".parse().unwrap());
    MovementServiceClient::new(server.connection()).record_movements(request).await.unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn json_lines(server: &Binary) -> Vec<serde_json::Value> {
    server.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_a_span_of_its_callers_trace_and_its_logs_name_it() {
    let (address, mut spans) = collect().await;
    let endpoint = format!("http://{address}");
    let more = ["--otlp-endpoint", &endpoint, "--otlp-sample-ratio", "0"];
    let logs = ["--log-format", "json", "--log", "info,stockroom=debug"];
    let more = [&more[..], &["--otlp-service", "shop-stock"], &logs].concat();
    let mut server = Binary::start_and(&migrated_database().await, &more, &[]).await;
    // Sampled by nobody.
    report(&server, "a", &format!("00-{}-{PARENT}-00", "1".repeat(32))).await;
    report(&server, "b", &format!("00-{TRACE}-{PARENT}-01")).await;
    let received = tokio::time::timeout(Duration::from_secs(20), spans.recv());
    let (service, span) = received.await.unwrap().unwrap();
    assert_eq!(service, "shop-stock");
    assert_eq!(span.name, "MovementService/RecordMovements");
    assert_eq!(span.kind, SpanKind::Server as i32);
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.into(), PARENT.into()));
    assert_eq!(span.trace_state, "shop=7");
    eventually("its log names it", || async {
        let lines = json_lines(&server);
        let ours = |line: &&serde_json::Value| line["trace_id"] == TRACE;
        let line = lines.iter().find(ours)?;
        assert_eq!(line["span_id"], hex(&span.span_id));
        assert_eq!(line["fields"]["method"], "MovementService/RecordMovements");
        Some(())
    })
    .await;
    // What waits to be sent when the server stops is sent.
    let last = "2".repeat(32);
    report(&server, "c", &format!("00-{last}-{PARENT}-01")).await;
    server.terminate().await;
    let (_, span) = spans.try_recv().unwrap();
    assert_eq!(hex(&span.trace_id), last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_belongs_to_the_call_that_it_carries() {
    let (address, mut spans) = collect().await;
    let endpoint = format!("http://{address}");
    let more = ["--otlp-endpoint", &endpoint, "--otlp-sample-ratio", "1"];
    let server = Binary::start_and(&migrated_database().await, &more, &[]).await;
    crate::services::metrics::put_location(&server, "berlin-mitte").await;
    let request = put_request("till-1", vec![receipt("r", "berlin-mitte", "plum-jam", 3)]);
    MovementServiceClient::new(server.connection()).record_movements(request).await.unwrap();
    let (mut call, mut batch) = (None, None);
    while call.is_none() || batch.is_none() {
        let received = tokio::time::timeout(Duration::from_secs(20), spans.recv());
        let (_, span) = received.await.unwrap().unwrap();
        match &*span.name {
            "MovementService/RecordMovements" => call = Some(span),
            "batch" => batch = Some(span),
            _ => {}
        }
    }
    let (call, batch) = (call.unwrap(), batch.unwrap());
    assert_eq!(batch.trace_id, call.trace_id);
    assert_eq!(batch.parent_span_id, call.span_id);
    assert!(call.parent_span_id.is_empty(), "the trace begins here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_costs_no_answer() {
    let endpoint = format!("http://{}", free_address().await);
    let more = ["--otlp-endpoint", &endpoint, "--otlp-sample-ratio", "1"];
    let mut server = Binary::start_and(&migrated_database().await, &more, &[]).await;
    for key in 0..200 {
        report(&server, &format!("k{key}"), &format!("00-{TRACE}-{PARENT}-01")).await;
    }
    // And it does not keep the server from stopping.
    server.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_name_the_callers_trace_where_no_spans_are_sent() {
    let more = ["--log-format", "json", "--log", "info,stockroom=debug"];
    let server = Binary::start_and(&migrated_database().await, &more, &[]).await;
    report(&server, "a", &format!("00-{TRACE}-{PARENT}-01")).await;
    eventually("its log names it", || async {
        let lines = json_lines(&server);
        lines.iter().any(|line| line["trace_id"] == TRACE).then_some(())
    })
    .await;
}
