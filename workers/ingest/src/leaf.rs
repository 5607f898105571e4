//! Pages that a worker writes for people to read and print: HTML that may neither run nor load anything.

use axum::body::Body;
use axum::http::{HeaderValue, Uri, header};
use axum::response::Response;
use serde::Deserialize;

use crate::problem::Problem;

/// Its own styles, and nothing else.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What a worker answers: see `Query::PAGE`.
#[derive(Deserialize)]
struct Page {
    html: String,
}

/// The text alone.
pub(crate) fn page(asked: &Uri, answer: &[u8]) -> Result<Response, Problem> {
    let page: Page = serde_json::from_slice(answer).map_err(|_| {
        tracing::error!(path = asked.path(), "a worker's page can't be read");
        Problem::worker_failed("The worker's answer can't be read. Its version differs from the door's.")
    })?;
    let mut response = Response::new(Body::from(page.html));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_may_neither_run_nor_load_anything() {
        let asked: Uri = "/a/report.html".parse().unwrap();
        let response = page(&asked, br#"{"html": "<p>Hello</p>"}"#).unwrap();
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("content-type"), Some("text/html; charset=utf-8"));
        assert!(header("content-security-policy").unwrap().starts_with("default-src 'none'"));
        assert!(page(&asked, b"{}").is_err());
    }
}
