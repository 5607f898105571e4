//! Messages whose headers no client would write and none can read: sent over a bare socket, as a tenant.

use omnibus_runtime::testing::Stage;
use omnibus_schemas::platform::Outcome;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::scene::{Scene, eventually};

const SUBJECT: &str = "cmd.shop.default.put.acme";

/// A connection that says what it wants.
struct Socket {
    stream: BufReader<TcpStream>,
}

impl Socket {
    async fn of(stage: &Stage, user: &str) -> Self {
        let address = stage.nats_url().trim_start_matches("nats://").to_owned();
        let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        let mut info = String::new();
        stream.read_line(&mut info).await.unwrap();
        let info: serde_json::Value = serde_json::from_str(info.strip_prefix("INFO ").unwrap()).unwrap();
        let seed = std::fs::read_to_string(stage.seed_file(user)).unwrap();
        let key = nkeys::KeyPair::from_seed(seed.trim()).unwrap();
        let signed = key.sign(info["nonce"].as_str().unwrap().as_bytes()).unwrap();
        let signed = data_encoding(&signed);
        let connect = serde_json::json!({
            "verbose": false, "pedantic": false, "headers": true, "protocol": 1,
            "nkey": key.public_key(), "sig": signed,
        });
        let mut socket = Socket { stream };
        socket.say(format!("CONNECT {connect}\r\n").as_bytes()).await;
        socket.heard().await;
        socket
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.unwrap();
    }

    /// The server has read all that was said before.
    async fn heard(&mut self) {
        self.say(b"PING\r\n").await;
        let mut line = String::new();
        while !line.starts_with("PONG") {
            line.clear();
            self.stream.read_line(&mut line).await.unwrap();
            assert!(!line.starts_with("-ERR"), "{line}");
            if line.starts_with("PING") {
                self.say(b"PONG\r\n").await;
            }
        }
    }

    async fn publish(&mut self, headers: &[u8], body: &str) {
        let total = headers.len() + body.len();
        let mut message = format!("HPUB {SUBJECT} {} {total}\r\n", headers.len()).into_bytes();
        message.extend_from_slice(headers);
        message.extend_from_slice(body.as_bytes());
        message.extend_from_slice(b"\r\n");
        self.say(&message).await;
        self.heard().await;
    }
}

/// URL-safe base64 without padding, as the server wants a signature.
fn data_encoding(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_unreadable_headers_is_a_dead_letter_and_costs_nobody_else_anything() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let mut socket = Socket::of(&scene.stage, "tenant_acme").await;
    let before = scene.put("").await;
    let broken: [&[u8]; 4] = [
        b"NATS/1.0\r\nno colon\r\n\r\n",
        b"NATS/1.0\r\nce-id\xff: x\r\n\r\n",
        // The client dies of this one.
        b"NATS/1.0\r\na: x\ry\r\n\r\n",
        b"NATS/1.0\r\na name: x\r\n\r\n",
    ];
    for (n, headers) in broken.into_iter().enumerate() {
        let body = format!(r#"{{"thing":"broken {n}"}}"#);
        socket.publish(headers, &body).await;
        let ours = |told: &omnibus_runtime::testing::Told| {
            told.subject == "dlq.shop.put.acme" && told.data["thing"] == format!("broken {n}")
        };
        let letter = scene.stage.event(ours).await;
        assert_eq!(letter.header("omnibus-dlq-code"), Some("undecodable"));
        assert!(letter.header("omnibus-dlq-detail").unwrap().starts_with("the headers can't be read: "));
    }
    let after = scene.put("").await;
    for id in [before, after] {
        assert_eq!(scene.stage.outcome(id).await.outcome, Some(Outcome::Succeeded));
    }
    // Letters are out before the events that tell of them.
    let ends = || scene.stage.told().iter().filter(|told| told.outcome == Some(Outcome::DeadLettered)).count();
    eventually("each of the broken ones has its end", || async { ends() >= broken.len() }).await;
    eventually("the broken ones leave the stream", || async {
        let stream = scene.stage.operator.jetstream().get_stream("CMD_SHOP").await.unwrap();
        stream.cached_info().state.messages == 2
    })
    .await;
    running.stop().await;
    assert_eq!(ends(), broken.len(), "one end of each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_starts_finds_what_the_one_before_could_not_read() {
    let scene = Scene::new().await;
    let mut socket = Socket::of(&scene.stage, "tenant_acme").await;
    socket.publish(b"NATS/1.0\r\na: x\ry\r\n\r\n", r#"{"thing":"broken"}"#).await;
    // Delivered to a client that is then gone, as one that died of it.
    let mut operator = Socket::of(&scene.stage, "operator").await;
    operator.say(b"SUB _INBOX_operator.x 1\r\n").await;
    let pull = "$JS.API.CONSUMER.MSG.NEXT.CMD_SHOP.shop_default";
    operator.say(format!("PUB {pull} _INBOX_operator.x 11\r\n{{\"batch\":1}}\r\n").as_bytes()).await;
    let mut line = String::new();
    while !line.starts_with("HMSG") {
        line.clear();
        operator.stream.read_line(&mut line).await.unwrap();
    }
    drop(operator);
    let _running = scene.run().await;
    let letter = scene.stage.event(|told| told.subject == "dlq.shop.put.acme").await;
    assert_eq!(letter.header("omnibus-dlq-code"), Some("undecodable"));
}
