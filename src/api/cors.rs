//! Pages of other origins that may call over gRPC-Web from a browser, which asks before it lets them.

use std::time::Duration;

use tonic::codegen::http::{HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser need not ask again.
const MAX_AGE: Duration = Duration::from_secs(3_600);
/// What a page may send, beside its message.
const SENT: [HeaderName; 5] = [
    CONTENT_TYPE,
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("authorization"),
];
/// What it may see of the answer, beside its messages.
const SEEN: [HeaderName; 3] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
];

/// Lets pages of these origins call, and no others.
pub(super) fn layer(origins: &[String]) -> CorsLayer {
    // What can be no header is the origin of no page.
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::POST])
        .allow_headers(SENT)
        .expose_headers(SEEN)
        .max_age(MAX_AGE)
}
