//! What is known of a request while it runs, and what is told of it at its end: headers, one log line, metrics.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use omnibus_runtime::metrics::Metric;
use omnibus_runtime::trace::TraceParent;
use omnibus_schemas::Tenant;
use uuid::Uuid;

use crate::limits::Left;
use crate::problem::{Problem, Refused};

/// A request's identity for logs.
pub(crate) struct Observed {
    route: Arc<str>,
    start: Instant,
    pub(crate) trace: TraceParent,
    pub(crate) tenant: Option<Tenant>,
    pub(crate) command: Option<Uuid>,
    pub(crate) left: Option<Left>,
}

/// The route's template, on its way to the metrics.
#[derive(Clone)]
struct Label(Arc<str>);

impl Observed {
    /// Goes on with the caller's trace, or begins one.
    pub(crate) fn start(route: &Arc<str>, headers: &HeaderMap) -> Self {
        let given = headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(TraceParent::parse);
        Observed {
            route: route.clone(),
            start: Instant::now(),
            trace: given.map_or_else(TraceParent::start, |parent| parent.child()),
            tenant: None,
            command: None,
            left: None,
        }
    }

    /// Finishes and logs. Bodies, credentials and addresses are never among what is logged.
    pub(crate) fn finish(self, result: Result<Response, Problem>) -> Response {
        let mut response = result.unwrap_or_else(IntoResponse::into_response);
        if let Some(left) = self.left {
            left.tell(response.headers_mut());
        }
        // A hook may say for itself how long its answer holds.
        response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        let status = response.status();
        let code = response.extensions().get::<Refused>().map(|refused| refused.0.as_str());
        let tenant = self.tenant.as_ref().map(Tenant::as_str);
        let command_id = self.command.map(tracing::field::display);
        let (route, trace_id) = (&*self.route, self.trace.trace_id());
        let ms = self.start.elapsed().as_secs_f64() * 1000.0;
        if status.is_server_error() {
            tracing::warn!(tenant, command_id, trace_id, route, status = status.as_u16(), code, ms, "failed");
        } else if code.is_some() {
            tracing::info!(tenant, command_id, trace_id, route, status = status.as_u16(), code, ms, "refused");
        } else if command_id.is_some() {
            tracing::info!(tenant, command_id, trace_id, route, status = status.as_u16(), ms, "accepted");
        } else {
            tracing::debug!(tenant, trace_id, route, status = status.as_u16(), ms, "answered");
        }
        response.extensions_mut().insert(Label(self.route));
        response
    }
}

/// Counts and times every request.
pub(crate) async fn measure(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let response = next.run(request).await;
    let label = response.extensions().get::<Label>().map(|label| label.0.clone());
    // An unknown path is not a label: anybody can make up as many as he likes.
    let route = label.as_deref().or(matched.as_deref()).unwrap_or("none");
    Metric::HttpRequests.count(&[("route", route), ("status", response.status().as_str())]);
    Metric::HttpSeconds.observe(start.elapsed().as_secs_f64(), &[("route", route)]);
    response
}
