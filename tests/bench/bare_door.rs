//! The least that a door can cost: axum and async-nats with nothing between.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use omnibus_runtime::{Bus, clock};
use omnibus_schemas::subject;

/// An HTTP server that publishes what it is sent.
pub(crate) struct BareDoor {
    pub(crate) url: String,
    pub(crate) task: tokio::task::JoinHandle<()>,
}

/// Publishes each body with a message id and answers 202 after the PubAck.
pub(crate) async fn door(bus: Bus) -> anyhow::Result<BareDoor> {
    let app = Router::new().route("/greetings", post(take)).with_state(bus);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            panic!("the bare door failed: {error}");
        }
    });
    Ok(BareDoor { url, task })
}

async fn take(State(bus): State<Bus>, body: Bytes) -> (StatusCode, String) {
    let id = clock::new_id().to_string();
    let publish = async_nats::jetstream::message::PublishMessage::build().payload(body).message_id(&id);
    let subject = subject::command("greeter", "default", "greet", "acme");
    let sent = async { bus.jetstream().send_publish(subject, publish).await?.await };
    match sent.await {
        Ok(_) => (StatusCode::ACCEPTED, id),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}
