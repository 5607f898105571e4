//! The API to read and to try. Everything is in this binary; a content policy keeps the page from loading anything else.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use omnibus_schemas::{Catalogue, generate};
use utoipa_swagger_ui::Config;

use crate::routes::nowhere;

/// Scripts, styles and requests from here only. Swagger UI sets styles by script and has its icons in `data:` addresses.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const FRONT: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<title>Omnibus</title>
<h1>Omnibus</h1>
<ul>
<li><a href=\"/docs/\">The API, to read and to try</a>
<li><a href=\"/demo/chat/\">A chat to try</a> (in <code>omnibus up</code>)
<li><a href=\"/openapi.json\">openapi.json</a>
<li><a href=\"/asyncapi.yaml\">asyncapi.yaml</a>
<li><a href=\"/readyz\">readyz</a>
<li><a href=\"/metrics\">metrics</a>
</ul>
</html>
";

/// `/`, `/docs/`, `/openapi.json`, `/asyncapi.yaml`.
pub(crate) fn routes(catalogue: &Catalogue) -> Router {
    let openapi = Document::of(catalogue, "application/json", |catalogue| generate::openapi(catalogue).to_string());
    let asyncapi = Document::of(catalogue, "application/yaml", generate::asyncapi);
    let config = Arc::new(
        Config::new(["/openapi.json"])
            .persist_authorization(true)
            .try_it_out_enabled(true)
            .display_request_duration(true)
            .validator_url("none"),
    );
    let index = config.clone();
    Router::new()
        .route("/", get(|| async { guarded(Html(FRONT)) }))
        .route("/openapi.json", get(move || openapi.clone().answer()))
        .route("/asyncapi.yaml", get(move || asyncapi.clone().answer()))
        .route("/docs", get(|| async { Redirect::permanent("/docs/") }))
        .route("/docs/", get(move || async move { file("", index).await }))
        .route("/docs/{*file}", get(move |Path(name): Path<String>| async move { file(&name, config).await }))
}

/// Written when it is asked for the first time: most doors are never asked, and writing it takes memory that stays taken.
struct Document {
    catalogue: Catalogue,
    kind: &'static str,
    write: fn(&Catalogue) -> String,
    text: OnceLock<Bytes>,
}

impl Document {
    fn of(catalogue: &Catalogue, kind: &'static str, write: fn(&Catalogue) -> String) -> Arc<Self> {
        Arc::new(Document { catalogue: catalogue.clone(), kind, write, text: OnceLock::new() })
    }

    async fn answer(self: Arc<Self>) -> Response {
        let kind = self.kind;
        let written = move || self.text.get_or_init(|| (self.write)(&self.catalogue).into()).clone();
        let text = tokio::task::spawn_blocking(written).await.expect("the catalogue is always written");
        ([(header::CONTENT_TYPE, kind)], text).into_response()
    }
}

async fn file(name: &str, config: Arc<Config<'static>>) -> Response {
    let found = utoipa_swagger_ui::serve(name, config).unwrap_or_else(|error| {
        tracing::error!(%error, "a file of the documentation can't be served");
        None
    });
    match found {
        Some(file) => guarded(([(header::CONTENT_TYPE, file.content_type)], file.bytes.into_owned())),
        None => nowhere().await,
    }
}

fn guarded(page: impl IntoResponse) -> Response {
    let mut response = page.into_response();
    let mut set = |name: &'static str, value| {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    };
    set("content-security-policy", POLICY);
    set("x-content-type-options", "nosniff");
    set("referrer-policy", "no-referrer");
    response
}
