//! Pages: sizes that are coerced, and tokens that say where to go on.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tonic::Status;

use crate::{
    api::error::invalid,
    ledger::{PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX},
};

/// Rows of a page.
pub(crate) fn rows_max(page_size: i32) -> Result<i64, Status> {
    match i64::from(page_size) {
        ..0 => Err(invalid("PAGE_SIZE_INVALID", "page_size", "must not be negative")),
        0 => Ok(PAGE_ROWS_DEFAULT),
        size => Ok(size.min(PAGE_ROWS_MAX)),
    }
}

/// A token that says "behind this row". `list` keeps tokens of different lists apart.
pub(crate) fn encode(list: &str, last: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}\n{last}"))
}

/// What a token says; `None`: the first page.
pub(crate) fn decode(list: &str, token: &str) -> Result<Option<String>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let last = text.as_deref().and_then(|text| text.split_once('\n'));
    match last {
        // The database could not even compare a text with control characters.
        Some((of, last)) if of == list && !last.contains(char::is_control) => {
            Ok(Some(last.to_owned()))
        }
        _ => Err(malformed()),
    }
}

/// The token is not one of ours.
pub(crate) fn malformed() -> Status {
    invalid("PAGE_TOKEN_INVALID", "page_token", "is not one that this list returned")
}

/// The token of the next page: none where this one was not full.
pub(crate) fn next<T>(
    list: &str,
    rows: &[T],
    rows_max: i64,
    last: impl Fn(&T) -> String,
) -> String {
    let full = rows.len() as i64 >= rows_max;
    rows.last().filter(|_| full).map_or_else(String::new, |row| encode(list, &last(row)))
}
