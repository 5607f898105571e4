//! Many who write at once.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use omnibus_presence::{Settings, worker};
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::presence::{MarkRead, PostMessage, RoomHistory};
use omnibus_schemas::{Command, subject};

use crate::{Scene, post, token};

const ROOMS: [&str; 4] = ["attic", "cellar", "hall", "kitchen"];
const USERS: [&str; 2] = ["ada", "bob"];

/// Waits until the server has forgotten the pulls of a worker that has ended. What it gave them comes again, but behind what
/// comes later.
async fn nobody_pulls(stage: &Stage) {
    let lane = subject::lane_consumer(PostMessage::DOMAIN, PostMessage::LANE);
    let stream = subject::command_stream(PostMessage::DOMAIN);
    let consumer: PullConsumer = stage.operator.jetstream().get_consumer_from_stream(lane, stream).await.unwrap();
    while consumer.get_info().await.unwrap().num_waiting > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_to_many_rooms_and_reads_them_in_any_order_waits_in_no_circle() {
    let scene = Scene::new().await;
    for room in ROOMS {
        for user in USERS {
            scene.join("acme", room, user).await;
        }
    }
    let Scene { stage, _running: running } = scene;
    running.stop().await;
    // All lies there before anybody takes it: small batches, each with rooms and readers in another order.
    let (mut posts, mut reads) = (Vec::new(), Vec::new());
    for n in 0..160_usize {
        let room = if n % 2 == 0 { ROOMS[n / 2 % 4] } else { ROOMS[3 - n / 2 % 4] };
        let (author, other) = if n / 3 % 2 == 0 { ("ada", "bob") } else { ("bob", "ada") };
        let message = PostMessage { mentions: vec![token(other)], ..post(room, author, &n.to_string()) };
        posts.push(stage.publish("acme", &message).await);
        // Those who read write at the same time.
        let (room, user) = (ROOMS[n * 7 % 4], USERS[n / 5 % 2]);
        let read = MarkRead { room_id: token(room), user: Some(token(user)), revision: 3 + n as i64 / 4 };
        reads.push(stage.publish("acme", &read).await);
    }
    let mut workers = Vec::new();
    for _ in 0..2 {
        let work = WorkSettings { loops: 4, batch: 8, ..WorkSettings::defaults() };
        workers.push(stage.run_with(worker(Settings::defaults()).unwrap(), work).await);
    }
    for id in posts {
        assert_eq!(stage.outcome(id).await.name, "message_posted");
    }
    for id in reads {
        let told = stage.outcome(id).await;
        assert!(told.name == "room_read" || told.name == "command_done", "{told:?}");
    }
    for room in ROOMS {
        let history = RoomHistory { room_id: token(room), before: None, limit: Some(500) };
        let page = stage.ask("presence", "acme", &history).await.unwrap();
        let revisions: Vec<i64> = page.messages.iter().map(|said| said.revision).rev().collect();
        assert_eq!(revisions, (3..=42).collect::<Vec<_>>(), "{room}");
    }
    for running in workers {
        running.stop().await;
    }
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(sqlx::query_scalar::<_, i64>(deadlocks).fetch_one(&stage.db).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_batch_answer_each_other_and_one_that_is_refused_costs_none_of_the_others() {
    let scene = Scene::new().await;
    scene.join("acme", "lobby", "ada").await;
    let Scene { stage, _running: running } = scene;
    running.stop().await;
    nobody_pulls(&stage).await;
    // One loop takes all that lies there at once, in this order.
    let work = || WorkSettings { loops: 1, ..WorkSettings::defaults() };
    let first = stage.publish("acme", &post("lobby", "ada", "First")).await;
    let answer = PostMessage { reply_to: Some(first), ..post("lobby", "ada", "Second") };
    let second = stage.publish("acme", &answer).await;
    let running = stage.run_with(worker(Settings::defaults()).unwrap(), work()).await;
    let posted = async |id: uuid::Uuid, revision: i64| {
        let told = stage.outcome(id).await;
        assert_eq!((told.name.as_str(), told.data["revision"].as_i64()), ("message_posted", Some(revision)));
    };
    posted(first, 2).await;
    posted(second, 3).await;
    running.stop().await;
    nobody_pulls(&stage).await;

    let third = stage.publish("acme", &post("lobby", "ada", "Third")).await;
    let refused = stage.publish("acme", &post("lobby", "eve", "No")).await;
    let nowhere = stage.publish("globex", &post("lobby", "ada", "No such room there")).await;
    let fourth = stage.publish("acme", &post("lobby", "ada", "Fourth")).await;
    let running = stage.run_with(worker(Settings::defaults()).unwrap(), work()).await;
    for id in [refused, nowhere] {
        assert_eq!(stage.outcome(id).await.data["code"], "not_a_member");
    }
    // A batch with refusals is decided again one by one, in whichever order.
    let mut revisions = vec![];
    for id in [third, fourth] {
        let told = stage.outcome(id).await;
        assert_eq!(told.name, "message_posted");
        revisions.push(told.data["revision"].as_i64().unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, [4, 5]);
    running.stop().await;
}
