//! Lists as CSV files: the text of a worker's page, and where the next page is.

use axum::body::Body;
use axum::http::{HeaderValue, Uri, header};
use axum::response::Response;
use form_urlencoded::Serializer;
use serde::Deserialize;

use crate::problem::Problem;

/// What a worker answers: see `Query::SHEET`.
#[derive(Deserialize)]
struct Page {
    csv: String,
    next: Option<String>,
}

/// The page as a file that is named as its address is.
pub(crate) fn page(asked: &Uri, answer: &[u8]) -> Result<Response, Problem> {
    let unreadable = || {
        tracing::error!(path = asked.path(), "a worker's sheet can't be read");
        Problem::worker_failed("The worker's answer can't be read. Its version differs from the door's.")
    };
    let page: Page = serde_json::from_slice(answer).map_err(|_| unreadable())?;
    let mut response = Response::new(Body::from(page.csv));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let name = asked.path().rsplit('/').next().unwrap_or_default();
    let attached = format!("attachment; filename=\"{name}\"");
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&attached).map_err(|_| unreadable())?);
    if let Some(next) = page.next {
        let link = format!("<{}>; rel=\"next\"", following(asked, &next));
        headers.insert(header::LINK, HeaderValue::from_str(&link).map_err(|_| unreadable())?);
    }
    Ok(response)
}

/// The same question from another place on.
fn following(asked: &Uri, after: &str) -> String {
    let given = form_urlencoded::parse(asked.query().unwrap_or_default().as_bytes());
    let mut query = Serializer::new(String::new());
    query.extend_pairs(given.filter(|(name, _)| name != "after"));
    format!("{}?{}", asked.path(), query.append_pair("after", after).finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_same_question_from_another_place_on() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        assert_eq!(following(&uri("/a/ledger.csv"), "1.x y"), "/a/ledger.csv?after=1.x+y");
        let asked = uri("/a/ledger.csv?program=main&after=0.a&limit=5");
        assert_eq!(following(&asked, "\u{fc}>"), "/a/ledger.csv?program=main&limit=5&after=%C3%BC%3E");
    }

    #[test]
    fn a_page_is_the_text_alone() {
        let asked: Uri = "/a/ledger.csv?limit=1".parse().unwrap();
        let response = page(&asked, br#"{"csv": "a,b\r\n", "next": "7"}"#).unwrap();
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("content-type"), Some("text/csv; charset=utf-8"));
        assert_eq!(header("link"), Some("</a/ledger.csv?limit=1&after=7>; rel=\"next\""));
        assert_eq!(header("content-disposition"), Some("attachment; filename=\"ledger.csv\""));
        assert!(page(&asked, br#"{"csv": "a,b"}"#).unwrap().headers().get("link").is_none());
        assert!(page(&asked, b"[]").is_err());
    }
}
