//! The credential of a request, as it was sent: `Authorization: Bearer` or `X-API-Key`.

use axum::http::{HeaderMap, header};

use crate::problem::Problem;

/// The credential, unchecked.
pub(crate) fn of(headers: &HeaderMap) -> Result<&str, Problem> {
    let no = || {
        Problem::unauthenticated(
            "Send `Authorization: Bearer` or `X-API-Key` with an API key (omk_...), or a token as Bearer.",
        )
    };
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let value = value.to_str().map_err(|_| no())?;
        let (scheme, credential) = value.split_once(' ').ok_or_else(no)?;
        return match scheme.eq_ignore_ascii_case("bearer") {
            true => Ok(credential.trim()),
            false => Err(no()),
        };
    }
    headers.get("x-api-key").and_then(|value| value.to_str().ok()).map(str::trim).ok_or_else(no)
}
