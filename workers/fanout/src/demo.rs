//! `/demo/chat/`: a page that shows what the door can do. Plain modules, no build; all of it is in this binary. It talks to
//! the HTTP door at its own address, so it is served where both doors are one.

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

/// Nothing from elsewhere, and no inline script: what people write can't become one. The socket may be another host's.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `centrifuge.js` is Centrifugo's own client (npm `centrifuge` 5.8.0, MIT, `demo/centrifuge.LICENSE`), as it was published.
const FILES: [(&str, &str, &str); 6] = [
    ("", "text/html; charset=utf-8", include_str!("../demo/index.html")),
    ("chat.css", "text/css; charset=utf-8", include_str!("../demo/chat.css")),
    ("chat.js", JAVASCRIPT, include_str!("../demo/chat.js")),
    ("room.js", JAVASCRIPT, include_str!("../demo/room.js")),
    ("api.js", JAVASCRIPT, include_str!("../demo/api.js")),
    ("centrifuge.js", JAVASCRIPT, include_str!("../demo/centrifuge.js")),
];

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The page and its files.
pub fn routes() -> Router {
    Router::new()
        .route("/demo/chat", get(|| async { Redirect::permanent("/demo/chat/") }))
        .route("/demo/chat/", get(|| async { file("") }))
        .route("/demo/chat/{name}", get(|Path(name): Path<String>| async move { file(&name) }))
}

fn file(name: &str) -> Response {
    let Some((_, kind, text)) = FILES.iter().find(|(known, _, _)| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, *kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, *text).into_response()
}
