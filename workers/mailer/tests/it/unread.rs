//! Mails about what was not read in a chat.

use omnibus_runtime::testing::Stage;
use omnibus_schemas::mailer::EmailState;
use omnibus_schemas::presence::{MessagesReadLate, MessagesUnread};
use omnibus_schemas::{Event, headers};
use serde_json::json;

use crate::scene::{run_with, stage, status, told};
use crate::server::SmtpServer;

/// As the chat's worker tells it.
async fn tell<E: Event>(stage: &Stage, tenant: &str, event: &E) {
    let mut map = async_nats::HeaderMap::new();
    map.insert(headers::ID, omnibus_runtime::clock::new_id().to_string().as_str());
    let body = serde_json::to_vec(event).unwrap();
    stage.publish_raw(&format!("evt.{}.{}.{tenant}", E::DOMAIN, E::NAME), map, body).await;
}

#[tokio::test]
async fn a_mail_about_what_is_read_meanwhile_is_taken_back_and_no_other() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run_with(&stage, &server, &["--defer-seconds", "600"]).await;
    // Told "later" by their servers, all of them wait.
    let unread = |room: &str, told_since| MessagesUnread {
        room_id: room.parse().unwrap(),
        told_since,
        email: "defer@example.com".into(),
        ..MessagesUnread::example()
    };
    let mut waiting = Vec::new();
    // Two are about the same room: the later one about what came after all of the first was read.
    for (tenant, room, told_since) in
        [("acme", "lobby", 6), ("acme", "lobby", 9), ("acme", "other", 6), ("globex", "lobby", 6)]
    {
        let known = waiting.clone();
        tell(&stage, tenant, &unread(room, told_since)).await;
        let deferred =
            stage.event(|told| told.name == "email_deferred" && !known.contains(&told.data["email_id"])).await;
        waiting.push(deferred.data["email_id"].clone());
    }
    let ids: Vec<uuid::Uuid> = waiting.iter().map(|id| id.as_str().unwrap().parse().unwrap()).collect();
    let read = MessagesReadLate { room_id: "lobby".parse().unwrap(), ..MessagesReadLate::example() };
    tell(&stage, "acme", &read).await;
    told(&stage, "email_cancelled", ids[0]).await;
    assert_eq!(status(&stage, ids[0]).await.status, EmailState::Cancelled);
    assert_eq!(status(&stage, ids[1]).await.status, EmailState::Deferred);
    let cancelled = stage.told().iter().filter(|told| told.name == "email_cancelled").count();
    assert_eq!(cancelled, 1);
    running.stop().await;
}
