//! Errors of calls, and what every one of them must carry.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use std::{collections::HashMap, future::Future};

use tonic::{Code, Status};
use tonic_types::{ErrorDetail, StatusExt as _};

/// Checks what every error must carry, and returns the metadata of its one ErrorInfo.
pub fn explained(status: &Status, code: Code, reason: &str) -> HashMap<String, String> {
    assert_eq!(status.code(), code, "{status:?}");
    let details = status.get_error_details_vec();
    let mut infos = details.iter().filter_map(|detail| match detail {
        ErrorDetail::ErrorInfo(info) => Some(info),
        _ => None,
    });
    let info = infos.next().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert!(infos.next().is_none(), "more than one ErrorInfo: {details:?}");
    assert_eq!((&*info.domain, &*info.reason), ("stockroom", reason), "{status:?}");
    let has = |wanted: fn(&ErrorDetail) -> bool| details.iter().any(wanted);
    let bad_request = has(|detail| {
        matches!(detail, ErrorDetail::BadRequest(bad)
        if !bad.field_violations.is_empty())
    });
    assert_eq!(bad_request, code == Code::InvalidArgument, "BadRequest: {details:?}");
    let retry = has(|detail| matches!(detail, ErrorDetail::RetryInfo(_)));
    let retryable = matches!(code, Code::Unavailable | Code::ResourceExhausted);
    assert_eq!(retry, retryable, "RetryInfo: {details:?}");
    info.metadata.clone()
}

/// Calls again when it is told to because too much is waiting, as a client does.
pub async fn patiently<T, F>(call: impl Fn() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    loop {
        let answer = call().await;
        let Err(status) = &answer else { return answer };
        if status.code() != Code::ResourceExhausted {
            return answer;
        }
        let told = status.get_details_retry_info().and_then(|info| info.retry_delay);
        tokio::time::sleep(told.expect("it says when")).await;
    }
}

/// The items that a refusal for lack of stock names.
pub fn short_lines(status: &Status) -> Vec<String> {
    let details = status.get_error_details_vec();
    let failures = details.into_iter().filter_map(|detail| match detail {
        ErrorDetail::PreconditionFailure(failure) => Some(failure.violations),
        _ => None,
    });
    let violations = failures.flatten();
    violations.map(|violation| violation.subject).collect()
}
