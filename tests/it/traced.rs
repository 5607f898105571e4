//! One trace, from the request to the push.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use omnibus_fanout::{Fanout, FanoutParts};
use omnibus_runtime::Health;
use omnibus_runtime::testing::{PATIENCE, Stage};
use omnibus_runtime::trace::TraceParent;
use omnibus_schemas::Catalogue;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;

use crate::opened::Opened;

/// The first line that is wanted of what a socket is told.
async fn line(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>, wanted: impl Fn(&Value) -> bool) -> Value {
    let told = async {
        loop {
            let Message::Text(frame) = socket.next().await.unwrap().unwrap() else { continue };
            let mut lines = frame.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            if let Some(line) = lines.find(|line| wanted(line)) {
                return line;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("the socket is told")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_runs_from_the_http_request_to_the_outcome_and_to_the_push_on_a_socket() {
    let stage = Stage::new(Catalogue::omnibus()).await;
    let _running = stage.run(omnibus_presence::worker(omnibus_presence::Settings::defaults()).unwrap()).await;
    let door = Opened::on(&stage).await;
    let fanout = Fanout::new(FanoutParts {
        bus: stage.connect("fanout").await,
        catalogue: Catalogue::omnibus(),
        settings: omnibus_fanout::Settings::defaults(),
        credentials: omnibus_ingest::Settings::on_a_free_port(),
        health: Health::default(),
        stop: CancellationToken::new(),
    })
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, app) = (listener.local_addr().unwrap(), fanout.routes());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    tokio::spawn(async move { fanout.run().await });

    let connecting = async {
        loop {
            let (mut socket, _) = connect_async(format!("ws://{address}/ws")).await.unwrap();
            let connect = json!({ "id": 1, "connect": { "token": door.key } });
            socket.send(Message::text(connect.to_string())).await.unwrap();
            // Until the door knows the keys, it closes the socket and asks to come back.
            if let Some(Ok(Message::Text(_))) = socket.next().await {
                return socket;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut socket = tokio::time::timeout(PATIENCE, connecting).await.expect("the WebSocket door is ready");
    let subscribe = json!({ "id": 2, "subscribe": { "channel": "tenant" } });
    socket.send(Message::text(subscribe.to_string())).await.unwrap();
    let subscribed = line(&mut socket, |line| line["id"] == 2).await;
    assert!(subscribed["subscribe"].is_object(), "{subscribed}");

    let trace = TraceParent::start();
    let notice = door.ask(Method::POST, "/api/v1/websocket/broadcast").header("traceparent", trace.as_str());
    let answer = notice.json(&json!({ "to": "tenant", "data": { "n": 1 } })).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let answer: Value = answer.json().await.unwrap();
    let told = stage.outcome(answer["id"].as_str().unwrap().parse().unwrap()).await;
    let push = line(&mut socket, |line| line["push"]["pub"].is_object()).await;
    let push = push["push"]["pub"]["tags"]["traceparent"].as_str();
    for (hop, named) in [("the outcome", told.header("traceparent")), ("the push", push)] {
        let named = named.and_then(TraceParent::parse).unwrap_or_else(|| panic!("{hop} names no trace"));
        assert_eq!(named.trace_id(), trace.trace_id(), "{hop}");
        assert_ne!(named, trace, "{hop} is a hop of its own");
    }
}
