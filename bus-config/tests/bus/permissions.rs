//! Each user does what it must, and is refused what it must not, by a server with the generated configuration.

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::kv::CreateErrorKind;
use async_nats::service::ServiceExt;
use futures_util::StreamExt;
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::server::{Bus, PATIENCE, User, catalogue};

async fn next(user: &User, stream: &str, consumer: &str) -> async_nats::jetstream::Message {
    let consumer: PullConsumer = user.js.get_consumer_from_stream(consumer, stream).await.unwrap();
    let mut batch = consumer.batch().max_messages(1).expires(PATIENCE).messages().await.unwrap();
    batch.next().await.expect("a message").unwrap()
}

#[tokio::test]
async fn a_worker_takes_its_commands_tells_events_and_tidies_up() {
    let bus = Bus::provisioned().await;
    let ingest = bus.user("ingest").await;
    let mut worker = bus.user("mailer").await;
    for _ in 0..4 {
        ingest.publish("cmd.mailer.default.send_email.acme").await;
    }

    next(&worker, "CMD_MAILER", "mailer_default").await.double_ack().await.unwrap();
    let late = next(&worker, "CMD_MAILER", "mailer_default").await;
    late.ack_with(async_nats::jetstream::AckKind::Progress).await.unwrap();
    late.double_ack_with(async_nats::jetstream::AckKind::Nak(None)).await.unwrap();
    let hopeless = next(&worker, "CMD_MAILER", "mailer_default").await;
    worker.publish("dlq.mailer.send_email.acme").await;
    worker.publish("evt.mailer.email_sent.acme").await;
    worker.client.request(hopeless.reply.clone().unwrap(), "+TERM undecodable".into()).await.unwrap();

    worker.publish("cmd.mailer.default.send_email.globex").await;
    let info = worker.api("STREAM.INFO.CMD_MAILER", json!({})).await;
    assert_eq!(info["config"]["metadata"][omnibus_bus::KEEP_DONE_SECONDS], "604800");
    let consumers = worker.api("CONSUMER.LIST.CMD_MAILER", json!({})).await;
    let lanes = catalogue().domain("mailer").unwrap().lanes().len();
    // And the record's.
    assert_eq!(consumers["total"], lanes + 1);
    worker.api("STREAM.MSG.GET.CMD_MAILER", json!({ "seq": 1 })).await;
    let stored = worker.client.request("$JS.API.DIRECT.GET.CMD_MAILER", r#"{"seq":2}"#.into()).await.unwrap();
    assert_eq!(stored.headers.unwrap().get("Nats-Sequence").unwrap().as_str(), "2");
    assert_eq!(worker.api("STREAM.PURGE.CMD_MAILER", json!({ "seq": 2 })).await["purged"], 1);
    assert_eq!(worker.api("STREAM.MSG.DELETE.CMD_MAILER", json!({ "seq": 2 })).await["success"], true);
    worker.was_refused_nothing();
}

#[tokio::test]
async fn a_worker_publishes_a_batch_of_events_that_stands_or_falls_as_one() {
    let bus = Bus::provisioned().await;
    let mut worker = bus.user("mailer").await;
    let mut message = async_nats::HeaderMap::new();
    message.insert("Nats-Batch-Id", "b1");
    message.insert("Nats-Batch-Sequence", "1");
    worker.client.publish_with_headers("evt.mailer.email_sent.acme", message.clone(), "{}".into()).await.unwrap();
    message.insert("Nats-Batch-Sequence", "2");
    message.insert("Nats-Batch-Commit", "1");
    let ack = worker.client.request_with_headers("evt.mailer.email_sent.acme", message, "{}".into()).await.unwrap();
    let ack: serde_json::Value = serde_json::from_slice(&ack.payload).unwrap();
    assert_eq!((&ack["stream"], &ack["count"]), (&json!("EVT"), &json!(2)), "{ack}");
    worker.was_refused_nothing();
}

#[tokio::test]
async fn a_worker_may_do_nothing_to_others() {
    let bus = Bus::provisioned().await;
    let mut worker = bus.user("texter").await;
    for subject in [
        "evt.greeter.greeted.acme",
        "cmd.greeter.default.greet.acme",
        "dlq.greeter.greet.acme",
        "qry.greeter.greetings",
        "sched.due.cmd.greeter.default.greet.acme",
        "live.acme.room",
        "$KV.keys.forged",
        "$KV.idempotency.x",
        "$JS.API.STREAM.INFO.CMD_GREETER",
        "$JS.API.STREAM.MSG.GET.CMD_GREETER",
        "$JS.API.STREAM.MSG.GET.KV_keys",
        "$JS.API.DIRECT.GET.KV_keys",
        "$JS.API.STREAM.PURGE.CMD_GREETER",
        "$JS.API.STREAM.PURGE.EVT",
        "$JS.API.STREAM.DELETE.CMD_TEXTER",
        "$JS.API.STREAM.UPDATE.CMD_TEXTER",
        "$JS.API.STREAM.CREATE.MINE",
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.SNAPSHOT.CMD_TEXTER",
        "$JS.API.STREAM.MSG.DELETE.CMD_GREETER",
        "$JS.API.STREAM.MSG.DELETE.EVT",
        "$JS.API.CONSUMER.CREATE.CMD_TEXTER.mine",
        "$JS.API.CONSUMER.CREATE.EVT.mine",
        "$JS.API.CONSUMER.DELETE.CMD_TEXTER.texter_default",
        "$JS.API.CONSUMER.MSG.NEXT.CMD_GREETER.greeter_default",
        "$JS.API.CONSUMER.MSG.NEXT.EVT.echo_reacts",
        "$JS.API.CONSUMER.MSG.NEXT.ADVISORY.greeter_sweeper",
        "$JS.ACK.CMD_GREETER.greeter_default.1.1.1.1.1",
        "_INBOX_ingest.forged",
        "$SYS.REQ.SERVER.PING",
    ] {
        worker.may_not_publish(subject).await;
    }
    // Who reacts to events may read one of them; who doesn't may read none.
    let mut deaf = bus.user("greeter").await;
    for subject in ["$JS.API.DIRECT.GET.EVT", "$JS.API.STREAM.MSG.GET.EVT"] {
        deaf.may_not_publish(subject).await;
    }
    for subject in [
        ">",
        "evt.>",
        "evt.texter.>",
        "cmd.>",
        "cmd.texter.>",
        "qry.greeter.>",
        "_INBOX.>",
        "_INBOX_ingest.>",
        "$KV.>",
        "$JS.>",
        "$SRV.PING.greeter",
    ] {
        worker.may_not_subscribe(subject).await;
    }
}

#[tokio::test]
async fn who_keeps_the_record_reads_everything_and_says_nothing_in_anothers_name() {
    let bus = Bus::provisioned().await;
    let (ingest, mailer) = (bus.user("ingest").await, bus.user("mailer").await);
    let mut recorder = bus.user("recorder").await;
    ingest.publish("cmd.mailer.default.send_email.acme").await;
    mailer.publish("evt.mailer.email_sent.acme").await;
    for stream in ["CMD_MAILER", "EVT"] {
        next(&recorder, stream, "recorder_log").await.double_ack().await.unwrap();
    }
    recorder.was_refused_nothing();
    for subject in [
        "evt.mailer.email_sent.acme",
        "cmd.mailer.default.send_email.acme",
        "dlq.mailer.send_email.acme",
        "$KV.keys.forged",
        "$JS.API.STREAM.PURGE.CMD_MAILER",
        "$JS.API.STREAM.PURGE.EVT",
        "$JS.API.STREAM.MSG.DELETE.EVT",
        "$JS.API.CONSUMER.MSG.NEXT.CMD_MAILER.mailer_default",
        "$JS.API.CONSUMER.DELETE.EVT.recorder_log",
    ] {
        recorder.may_not_publish(subject).await;
    }
    // Nor does anybody else take from the record's queues.
    let mut mailer = bus.user("mailer").await;
    for subject in ["$JS.API.CONSUMER.MSG.NEXT.CMD_MAILER.recorder_log", "$JS.ACK.CMD_MAILER.recorder_log.1.1.1.1.1"] {
        mailer.may_not_publish(subject).await;
    }
}

#[tokio::test]
async fn a_worker_answers_queries_and_is_found_as_a_service() {
    let bus = Bus::provisioned().await;
    let (ingest, operator) = (bus.user("ingest").await, bus.user("operator").await);
    let mut worker = bus.user("mailer").await;
    let service = worker.client.service_builder().start("mailer", "0.1.0").await.unwrap();
    let mut endpoint = service.group("qry.mailer").endpoint("email_status").await.unwrap();
    // One connection is read in order: what is answered now, the server read after the subscriptions.
    worker.api("STREAM.INFO.CMD_MAILER", json!({})).await;
    let answering = tokio::spawn(async move {
        let request = endpoint.next().await.expect("a request");
        request.respond(Ok("{\"status\":\"sent\"}".into())).await.unwrap();
        endpoint
    });
    let answer = ingest.client.request("qry.mailer.email_status", "{}".into()).await.unwrap();
    assert_eq!(answer.payload, r#"{"status":"sent"}"#.as_bytes());
    for subject in ["$SRV.PING", "$SRV.PING.mailer", "$SRV.INFO.mailer", "$SRV.STATS.mailer"] {
        let pong = operator.client.request(subject, "".into()).await.unwrap();
        assert!(String::from_utf8_lossy(&pong.payload).contains("mailer"), "{subject}");
    }
    answering.await.unwrap();
    worker.was_refused_nothing();
}

#[tokio::test]
async fn a_domain_that_reacts_reads_the_events_it_named() {
    let bus = Bus::provisioned().await;
    let mailer = bus.user("mailer").await;
    let mut echo = bus.user("echo").await;
    mailer.publish("evt.mailer.email_failed.acme").await;
    let sequence = mailer.publish("evt.mailer.email_sent.acme").await;
    let event = next(&echo, "EVT", "echo_reacts").await;
    assert_eq!(event.subject.as_str(), "evt.mailer.email_sent.acme");
    event.double_ack().await.unwrap();
    echo.api("STREAM.MSG.GET.EVT", json!({ "seq": sequence })).await;
    echo.was_refused_nothing();
    echo.may_not_publish("$JS.API.STREAM.PURGE.EVT").await;
    echo.may_not_publish("$JS.API.CONSUMER.CREATE.EVT.mine").await;
}

#[tokio::test]
async fn a_sweeper_hears_only_of_its_own_domains_messages_that_the_server_gave_up() {
    let bus = Bus::provisioned().await;
    let operator = bus.user("operator").await;
    let settings = omnibus_bus::Settings { max_deliver: 1, ..crate::server::settings() };
    let impatient = omnibus_bus::Topology::of(&crate::server::catalogue(), &settings);
    omnibus_bus::apply(&operator.js, &impatient).await.unwrap();

    let (greeter, mut mailer) = (bus.user("greeter").await, bus.user("mailer").await);
    for (worker, domain, command) in [(&greeter, "greeter", "greet"), (&mailer, "mailer", "send_email")] {
        worker.publish(&format!("cmd.{domain}.default.{command}.acme")).await;
        let stream = format!("CMD_{}", domain.to_uppercase());
        let message = next(worker, &stream, &format!("{domain}_default")).await;
        message.double_ack_with(async_nats::jetstream::AckKind::Nak(None)).await.unwrap();
        // The server notices when it looks for the next message.
        let consumer: PullConsumer =
            worker.js.get_consumer_from_stream(format!("{domain}_default"), stream).await.unwrap();
        let mut none = consumer.fetch().max_messages(1).messages().await.unwrap();
        assert!(none.next().await.is_none());
    }
    let advisory = next(&mailer, "ADVISORY", "mailer_sweeper").await;
    let told: serde_json::Value = serde_json::from_slice(&advisory.payload).unwrap();
    assert_eq!((&told["stream"], &told["stream_seq"]), (&json!("CMD_MAILER"), &json!(1)));
    advisory.double_ack().await.unwrap();
    let sweeper: PullConsumer = mailer.js.get_consumer_from_stream("mailer_sweeper", "ADVISORY").await.unwrap();
    assert_eq!(sweeper.cached_info().num_pending, 0, "another domain's advisory is waiting");
    mailer.was_refused_nothing();
}

#[tokio::test]
async fn the_door_publishes_the_catalogue_waits_for_events_and_watches_keys() {
    let bus = Bus::provisioned().await;
    let operator = bus.user("operator").await;
    let worker = bus.user("greeter").await;
    let mut ingest = bus.user("ingest").await;

    let mut outcomes = ingest.client.subscribe("evt.greeter.*.acme").await.unwrap();
    ingest.publish("cmd.greeter.default.greet.acme").await;
    worker.publish("evt.greeter.greeted.acme").await;
    let outcome = tokio::time::timeout(PATIENCE, outcomes.next()).await.unwrap().unwrap();
    assert_eq!(outcome.subject.as_str(), "evt.greeter.greeted.acme");

    let keys = ingest.js.get_key_value(omnibus_bus::BUCKET_KEYS).await.unwrap();
    let mut watch = keys.watch_all().await.unwrap();
    let minted = operator.js.get_key_value("keys").await.unwrap();
    minted.put("hash", "{}".into()).await.unwrap();
    let seen = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(seen.key, "hash");
    assert_eq!(keys.get("hash").await.unwrap().as_deref(), Some(&b"{}"[..]));
    minted.delete("hash").await.unwrap();
    let seen = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(seen.operation, async_nats::jetstream::kv::Operation::Delete);
    let mut from_history = keys.watch_with_history(">").await.unwrap();
    tokio::time::timeout(PATIENCE, from_history.next()).await.unwrap().unwrap().unwrap();

    let idempotency = ingest.js.get_key_value(omnibus_bus::BUCKET_IDEMPOTENCY).await.unwrap();
    idempotency.create("id", "hash".into()).await.unwrap();
    let again = idempotency.create("id", "other".into()).await.unwrap_err();
    assert_eq!(again.kind(), CreateErrorKind::AlreadyExists);
    assert_eq!(idempotency.get("id").await.unwrap().as_deref(), Some(&b"hash"[..]));

    ingest.api("INFO", json!({})).await;
    for stream in &bus.topology.streams {
        ingest.api(&format!("STREAM.INFO.{}", stream.name), json!({})).await;
    }
    let lane = ingest.api("CONSUMER.INFO.CMD_GREETER.greeter_default", json!({})).await;
    assert_eq!(lane["num_pending"], 1);
    ingest.was_refused_nothing();

    for subject in [
        "cmd.greeter.default.unheard_of.acme",
        "cmd.unheard.default.of.acme",
        "evt.greeter.greeted.acme",
        "dlq.greeter.greet.acme",
        "sched.at.x",
        "$KV.keys.forged",
        "$JS.API.STREAM.MSG.GET.CMD_GREETER",
        "$JS.API.DIRECT.GET.EVT",
        "$JS.API.STREAM.PURGE.EVT",
        "$JS.API.STREAM.DELETE.KV_keys",
        "$JS.API.STREAM.UPDATE.KV_keys",
        "$JS.API.CONSUMER.CREATE.EVT.mine",
        "$JS.API.CONSUMER.CREATE.CMD_MAILER.mine",
        "$JS.API.CONSUMER.CREATE.KV_idempotency.mine",
        "$JS.API.CONSUMER.MSG.NEXT.CMD_GREETER.greeter_default",
        "$JS.API.CONSUMER.INFO.CMD_GREETER.recorder_log",
        "$JS.API.CONSUMER.INFO.CMD_MAILER.mailer_bulk",
        "$JS.API.CONSUMER.INFO.EVT.echo_reacts",
        "_INBOX_mailer.forged",
    ] {
        ingest.may_not_publish(subject).await;
    }
    for subject in [">", "cmd.>", "dlq.>", "qry.>", "_INBOX.>", "_INBOX_mailer.>", "$KV.>"] {
        ingest.may_not_subscribe(subject).await;
    }
}

#[tokio::test]
async fn the_door_catches_up_with_many_keys_under_flow_control() {
    const KEYS: usize = 2_000;
    let bus = Bus::provisioned().await;
    let operator = bus.user("operator").await;
    let mut ingest = bus.user("ingest").await;
    let value = bytes::Bytes::from(vec![b'x'; 2_048]);
    let mut acks = Vec::new();
    for n in 0..KEYS {
        acks.push(operator.js.publish(format!("$KV.keys.k{n}"), value.clone()).await.unwrap());
    }
    for ack in acks {
        ack.await.unwrap();
    }
    let keys = ingest.js.get_key_value(omnibus_bus::BUCKET_KEYS).await.unwrap();
    let mut watch = keys.watch_with_history(">").await.unwrap();
    for _ in 0..KEYS {
        tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
    }
    ingest.was_refused_nothing();
}

#[tokio::test]
async fn a_tenant_publishes_for_itself_and_hears_of_itself_alone() {
    let bus = Bus::provisioned().await;
    let worker = bus.user("greeter").await;
    let mut acme = bus.user("tenant_acme").await;
    let mut events = acme.client.subscribe("evt.*.*.acme").await.unwrap();
    let catalogue = catalogue();
    let (of_the_door, own): (Vec<_>, Vec<_>) = catalogue.commands().partition(|command| command.http.is_some());
    for command in of_the_door {
        acme.publish(&command.subject("acme")).await;
    }
    worker.publish("evt.greeter.greeted.globex").await;
    worker.publish("evt.greeter.greeted.acme").await;
    let heard = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap();
    assert_eq!(heard.subject.as_str(), "evt.greeter.greeted.acme");
    acme.was_refused_nothing();

    for command in catalogue.commands() {
        acme.may_not_publish(&command.subject("globex")).await;
    }
    // What a worker tells itself is not a tenant's to say.
    assert!(!own.is_empty());
    for command in own {
        acme.may_not_publish(&command.subject("acme")).await;
    }
    for subject in [
        "cmd.greeter.default.unheard_of.acme",
        "evt.greeter.greeted.acme",
        "qry.greeter.greetings",
        "sched.at.x",
        "$JS.API.INFO",
        "$JS.API.STREAM.LIST",
        "$JS.API.DIRECT.GET.EVT",
        "$JS.API.STREAM.MSG.GET.CMD_GREETER",
        "$JS.API.STREAM.PURGE.CMD_GREETER",
        "$JS.API.CONSUMER.CREATE.EVT.mine",
        "$KV.keys.forged",
        "_INBOX_tenant_globex.x",
    ] {
        acme.may_not_publish(subject).await;
    }
    for subject in [">", "evt.>", "evt.*.*.*", "evt.*.*.globex", "cmd.>", "_INBOX.>", "_INBOX_tenant_globex.>"] {
        acme.may_not_subscribe(subject).await;
    }
}

#[tokio::test]
async fn scopes_narrow_what_a_tenant_publishes() {
    let bus = Bus::provisioned().await;
    let mut globex = bus.user("tenant_globex").await;
    globex.publish("cmd.greeter.default.greet.globex").await;
    globex.was_refused_nothing();
    globex.may_not_publish("cmd.mailer.default.send_email.globex").await;
    globex.may_not_publish("cmd.greeter.default.resolve_held.globex").await;
}

#[tokio::test]
async fn only_the_system_user_hears_of_the_server_itself() {
    let bus = Bus::bare().await;
    let sys = bus.user("sys").await;
    let pong = sys.client.request("$SYS.REQ.SERVER.PING", "".into()).await.unwrap();
    assert!(!pong.payload.is_empty());
    assert!(sys.js.get_stream("EVT").await.is_err(), "the system account has no streams");
    let operator = bus.user("operator").await;
    assert!(operator.client.request("$SYS.REQ.SERVER.PING", "".into()).await.is_err());
}

#[tokio::test]
async fn nobody_connects_without_a_known_key() {
    let bus = Bus::provisioned().await;
    let server = bus.user("operator").await.client.server_info();
    let address = format!("{}:{}", server.host, server.port);
    assert!(async_nats::connect(&address).await.is_err());
    let stranger = nkeys::KeyPair::new_user().seed().unwrap();
    assert!(async_nats::ConnectOptions::with_nkey(stranger).connect(&address).await.is_err());
}

#[tokio::test]
async fn a_domain_writes_its_buckets_and_the_others_that_said_so_read_and_follow_them() {
    let bus = Bus::provisioned().await;
    let (mut keeper, mut echo, mut greeter) =
        (bus.user("keeper").await, bus.user("echo").await, bus.user("greeter").await);
    let read = echo.js.get_key_value("shelf").await.unwrap();
    let mut watch = read.watch_with_history(">").await.unwrap();
    let shelf = keeper.js.get_key_value("shelf").await.unwrap();
    shelf.put("acme", "one".into()).await.unwrap();
    let seen = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((seen.key.as_str(), &*seen.value), ("acme", "one".as_bytes()));
    assert_eq!(read.get("acme").await.unwrap().unwrap(), "one".as_bytes());
    shelf.create_with_ttl("soon", "two".into(), std::time::Duration::from_secs(1)).await.unwrap();
    shelf.delete("acme").await.unwrap();

    let attic = keeper.js.get_object_store("attic").await.unwrap();
    let large = vec![7; 400_000];
    for _ in 0..2 {
        attic.put("acme/trunk", &mut large.as_slice()).await.unwrap();
    }
    let mut fetched = Vec::new();
    let shown = echo.js.get_object_store("attic").await.unwrap();
    shown.get("acme/trunk").await.unwrap().read_to_end(&mut fetched).await.unwrap();
    assert_eq!(fetched, large);
    // The door hands out what a domain keeps.
    let mut ingest = bus.user("ingest").await;
    let mut handed = Vec::new();
    let door = ingest.js.get_object_store("attic").await.unwrap();
    door.get("acme/trunk").await.unwrap().read_to_end(&mut handed).await.unwrap();
    assert_eq!(handed.len(), large.len());
    attic.delete("acme/trunk").await.unwrap();
    let gone = async {
        while let Some(entry) = watch.next().await {
            if entry.unwrap().key == "soon" {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("followers hear of what comes and goes");
    for user in [&mut keeper, &mut echo, &mut ingest] {
        user.was_refused_nothing();
    }

    for user in [&mut echo, &mut ingest] {
        for subject in ["$KV.shelf.acme", "$O.attic.M.x", "$O.attic.C.x", "$JS.API.STREAM.PURGE.OBJ_attic"] {
            user.may_not_publish(subject).await;
        }
    }
    for subject in [
        "$JS.API.DIRECT.GET.KV_shelf",
        "$JS.API.STREAM.MSG.GET.OBJ_attic",
        "$O.uploads.C.x",
        "$JS.API.DIRECT.GET.OBJ_uploads",
    ] {
        greeter.may_not_publish(subject).await;
    }
}
