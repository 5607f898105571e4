//! What everybody hangs on is killed, again and again: by turns the node with all who are on it, nats-server, and the
//! presence worker. All come back, on another node if theirs is gone, and each has heard everything once and in order.
//!
//! Few and seldom by default; `OMNIBUS_KILL_CLIENTS=1000 OMNIBUS_KILL_ROUNDS=20` for the whole of it.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::{Life, Stage};
use omnibus_schemas::Catalogue;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::watch;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::scene::{PATIENCE, Place, Scene, jwt, message};

/// Messages in each round.
const MESSAGES: usize = 200;
const LAST: &str = "the last";

/// What is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Node,
    Nats,
    Presence,
}

/// Whose turn it is, round by round.
const TURNS: [Victim; 3] = [Victim::Node, Victim::Nats, Victim::Presence];

fn of_environment(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().map_or(otherwise, |given| given.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_all_recover_and_miss_and_double_nothing() {
    let rounds = of_environment("OMNIBUS_KILL_ROUNDS", TURNS.len());
    let clients = of_environment("OMNIBUS_KILL_CLIENTS", 100);
    let stage = Stage::with(Catalogue::omnibus(), Life::limits(), Postgres::shared().await.unwrap()).await;
    let Scene { stage, presence } = Scene::on(stage).await;
    // Its tables are there. From here on it is a process, which can be killed.
    presence.stop().await;
    let mut scene = Scene { presence: Some(presence_on(&stage)), stage };
    let users: Vec<String> = (0..clients).map(|n| format!("u{n}")).collect();
    let mut node = scene.process(&[]).await;
    for round in 0..rounds {
        let room = format!("round-{round}");
        scene.members("acme", &room, &users).await;
        let (address, at) = watch::channel(node.address());
        let listening = Arc::new(AtomicUsize::new(0));
        let crowd: Vec<_> = users
            .iter()
            .map(|user| tokio::spawn(listen(at.clone(), user.clone(), room.clone(), listening.clone())))
            .collect();
        let all_there = async {
            while listening.load(Ordering::SeqCst) < clients {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(4 * PATIENCE, all_there).await.expect("all listen");
        // It dies while they are at it, each round at another point, and the rest is said while it is away.
        let before = MESSAGES * (round + 1) / (rounds + 1);
        let victim = TURNS[round % TURNS.len()];
        match victim {
            Victim::Node => {
                let spare = scene.process(&[]).await;
                scene.talk(&room, 0..before).await;
                std::mem::replace(&mut node, spare).kill().await;
                scene.talk(&room, before..MESSAGES).await;
                address.send_replace(node.address());
            }
            Victim::Nats => {
                scene.talk(&room, 0..before).await;
                {
                    let mut nats = scene.stage.nats.lock().await;
                    nats.kill9().await;
                    nats.restart().await.unwrap();
                }
                // Nothing can be said without it. Whoever finds it again later was away for what is said now.
                scene.bus_is_back().await;
                scene.talk(&room, before..MESSAGES).await;
            }
            Victim::Presence => {
                scene.talk(&room, 0..before).await;
                // Dropped, it is killed.
                scene.presence = None;
                scene.talk(&room, before..MESSAGES).await;
                scene.presence = Some(presence_on(&scene.stage));
            }
        }
        scene.all_said("acme", &room, MESSAGES).await;
        scene.say("acme", &room, "u0", LAST).await;
        let wanted = scene.log_of("acme", &room).await;
        assert_eq!(wanted.len(), MESSAGES + 1, "round {round}, {victim:?}");
        for (n, heard) in crowd.into_iter().enumerate() {
            let heard = tokio::time::timeout(4 * PATIENCE, heard).await.expect("all hear the last").unwrap();
            let (there, all) = (heard.len(), wanted.len());
            assert!(heard == wanted, "round {round}, {victim:?}, client {n}: {there} of {all} entries");
        }
    }
}

/// The presence worker as a process.
fn presence_on(stage: &Stage) -> Life {
    // Examples are built beside the tests: target/<profile>/deps/it-... and target/<profile>/examples/presence-process.
    let here = std::env::current_exe().unwrap();
    let program = here.ancestors().nth(2).unwrap().join("examples/presence-process");
    assert!(program.exists(), "{} is not there; `cargo test` without `--test` builds it", program.display());
    let mut presence = Command::new(program);
    // Small batches, so that many a message is on its way in every state.
    presence.env("BATCH", "8").current_dir(std::env::temp_dir());
    Life::begin(presence, stage, "presence", None)
}

/// Listens as a client does, by whatever node there is, until the last message. Returns the offsets of all it has heard.
async fn listen(at: watch::Receiver<SocketAddr>, user: String, room: String, listening: Arc<AtomicUsize>) -> Vec<u64> {
    let (mut heard, mut position): (Vec<u64>, Option<(String, u64)>) = (vec![], None);
    let channel = format!("room:{room}");
    'again: loop {
        let address = *at.borrow();
        let Ok((mut socket, _)) = connect_async(format!("ws://{address}/ws")).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let subscribe = match &position {
            None => json!({ "channel": channel }),
            Some((epoch, offset)) => json!({ "channel": channel, "recover": true, "epoch": epoch, "offset": offset }),
        };
        let hello = json!({ "id": 1, "connect": { "token": jwt("acme", &user) } });
        let hello = format!("{hello}\n{}", json!({ "id": 2, "subscribe": subscribe }));
        if socket.send(Message::text(hello)).await.is_err() {
            continue;
        }
        while let Some(Ok(frame)) = socket.next().await {
            let Message::Text(text) = frame else { continue };
            for line in text.lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                if line == json!({}) {
                    let _ = socket.send(Message::text("{}")).await;
                    continue;
                }
                if line["error"].is_object() || line["push"]["unsubscribe"].is_object() {
                    // Something is not there yet, or not any more: as every client, it begins again.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue 'again;
                }
                let mut came: Vec<&Value> = vec![];
                if line["subscribe"].is_object() {
                    let begun = &line["subscribe"];
                    assert_eq!(position.is_some(), begun["recovered"] == true, "{user}: {begun}");
                    if position.is_none() {
                        listening.fetch_add(1, Ordering::SeqCst);
                    }
                    came.extend(begun["publications"].as_array().into_iter().flatten());
                    position = Some((begun["epoch"].as_str().unwrap().into(), begun["offset"].as_u64().unwrap_or(0)));
                } else if line["push"]["pub"].is_object() {
                    came.push(&line["push"]["pub"]);
                }
                for publication in came {
                    let Some(offset) = publication["offset"].as_u64() else { continue };
                    if let Some((_, last)) = &mut position {
                        *last = offset.max(*last);
                    }
                    if publication["data"]["type"] == "message" {
                        heard.push(offset);
                    }
                    if publication["data"]["text"] == LAST {
                        return heard;
                    }
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl<P> Scene<P> {
    /// Puts a crowd into a room, as so many joins would.
    async fn members(&self, tenant: &str, room: &str, users: &[String]) {
        self.join(tenant, room, &["u0"]).await;
        sqlx::query(
            "insert into presence.members (tenant, room_id, user_id, role, joined_at)
             select $1, $2, name, 'member', now() from unnest($3::text[]) name on conflict do nothing",
        )
        .bind(tenant)
        .bind(room)
        .bind(users)
        .execute(&self.stage.db)
        .await
        .unwrap();
    }

    /// Says the messages of these numbers, as fast as the bus takes them.
    async fn talk(&self, room: &str, numbers: Range<usize>) {
        let first = numbers.start;
        self.stage.backlog("acme", numbers.len(), |n| message(room, "u0", &(first + n).to_string())).await;
    }

    /// Waits until so many messages stand in the room's log.
    async fn all_said(&self, tenant: &str, room: &str, count: usize) {
        let said = async {
            while self.log_of(tenant, room).await.len() < count {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(2 * PATIENCE, said).await.expect("all is said");
    }

    /// The offsets of a room's messages, in the log's order.
    async fn log_of(&self, tenant: &str, room: &str) -> Vec<u64> {
        let stream = self.stage.operator.jetstream().get_stream(omnibus_bus::ROOMS).await.unwrap();
        let config = async_nats::jetstream::consumer::pull::OrderedConfig {
            filter_subject: format!("rooms.room.{room}.{tenant}"),
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.unwrap();
        let count = consumer.cached_info().num_pending;
        let mut messages = consumer.messages().await.unwrap().take(usize::try_from(count).unwrap());
        let mut offsets = vec![];
        while let Some(message) = messages.next().await {
            let message = message.unwrap();
            let entry: Value = serde_json::from_slice(&message.payload).unwrap();
            if entry["type"] == "message" {
                offsets.push(message.info().unwrap().stream_sequence);
            }
        }
        offsets
    }
}
