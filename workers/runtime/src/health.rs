//! What is well and what is not, and the small HTTP door where orchestrators and Prometheus look.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::{self, Metric};

/// The parts that must be well for this process to do its work. Cheap to clone; one per process.
#[derive(Debug, Clone, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<String, Option<String>>>>,
}

impl Health {
    /// Says that `part` is well.
    pub fn well(&self, part: &str) {
        self.set(part, None);
    }

    /// Says what `part` is missing.
    pub fn ill(&self, part: &str, why: impl Into<String>) {
        self.set(part, Some(why.into()));
    }

    fn set(&self, part: &str, state: Option<String>) {
        let mut parts = self.parts.lock().expect("no panic happens under this lock");
        // The connection to NATS says so itself: it is the first to know.
        if part == "postgres" {
            Metric::Up.set(f64::from(u8::from(state.is_none())), &[("part", part)]);
        }
        if parts.get(part) != Some(&state) {
            match &state {
                None => tracing::info!(part, "ready"),
                Some(why) => tracing::warn!(part, why, "not ready"),
            }
            parts.insert(part.to_owned(), state);
        }
    }

    /// What is missing, by part. Empty is ready.
    pub fn missing(&self) -> BTreeMap<String, String> {
        let parts = self.parts.lock().expect("no panic happens under this lock");
        parts.iter().filter_map(|(part, state)| Some((part.clone(), state.clone()?))).collect()
    }

    /// Routes `/healthz`, `/readyz` and `/metrics`.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "alive\n" }))
            .route("/readyz", get(readyz).with_state(self.clone()))
            .route("/metrics", get(prometheus))
    }

    /// Serves [`Health::routes`] until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
        axum::serve(listener, self.routes()).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    let missing = health.missing();
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(serde_json::json!({ "ready": missing.is_empty(), "missing": missing })))
}

async fn prometheus() -> impl IntoResponse {
    let recorder = metrics::recorder();
    recorder.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], recorder.render())
}
