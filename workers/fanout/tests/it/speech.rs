//! The client that browsers use speaks with the door: the npm package `centrifuge`, unchanged, in Node.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::OnceCell;

use crate::scene::{Client, PATIENCE, Place, Scene, jwt, ticket};

struct Speaker {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    kept: Vec<Value>,
    calls: u64,
    _folder: std::path::PathBuf,
}

/// Once for all tests of the process: they share the folder.
static INSTALLED: OnceCell<()> = OnceCell::const_new();

async fn install(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/centrifuge");
    for file in ["package.json", "package-lock.json", "clients.mjs"] {
        std::fs::copy(source.join(file), folder.join(file)).unwrap();
    }
    let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let installed = Command::new("npm").args(arguments).current_dir(folder).stdin(Stdio::null()).status().await;
    assert!(installed.expect("npm is on PATH, see ops/test").success());
}

impl Speaker {
    /// Installs the packages as the lock file has them, and starts.
    async fn start() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("centrifuge-{}", std::process::id()));
        INSTALLED.get_or_init(|| install(&folder)).await;
        let mut child = Command::new("node")
            .arg("clients.mjs")
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is on PATH, see ops/test");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Speaker { _child: child, input, output, kept: vec![], calls: 0, _folder: folder }
    }

    async fn write(&mut self, line: Value) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn open(&mut self, client: &str, place: &impl Place, tokens: &[String]) {
        let url = format!("ws://{}/ws", place.address());
        let line = json!({ "call": "open", "client": client, "url": url, "tokens": tokens, "channel": "room:lobby" });
        self.write(line).await;
        self.event(client, "sub subscribed").await;
    }

    async fn call(&mut self, client: &str, on: &str, call: &str, args: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        self.write(json!({ "id": id, "client": client, "on": on, "call": call, "args": args })).await;
        self.find(|line| line["id"] == id).await
    }

    async fn event(&mut self, client: &str, event: &str) -> Value {
        self.find(|line| line["client"] == client && line["event"] == event).await
    }

    async fn publication(&mut self, client: &str, kind: &str) -> Value {
        self.find(|line| line["client"] == client && line["event"] == "publication" && line["data"]["type"] == kind)
            .await
    }

    /// The first line, in order, that is wanted. It is taken out; the others stay.
    async fn find(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.kept.iter().position(&wanted) {
            return self.kept.remove(at);
        }
        loop {
            let line = tokio::time::timeout(PATIENCE, self.output.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("not told; told was: {:?}", self.kept)).unwrap().unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            if wanted(&line) {
                return line;
            }
            self.kept.push(line);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_npm_package_waits_for_a_place_and_takes_it_when_it_is_free() {
    let scene = Scene::new().await;
    scene.join("acme", "lobby", &["ada"]).await;
    let node = scene.node_with(|settings| settings.websocket_per_user = 1).await;
    let mut speaker = Speaker::start().await;
    let first = Client::of(&node, "acme", "ada").await;
    let url = format!("ws://{}/ws", node.address());
    let token = [jwt("acme", "ada")];
    let line = json!({ "call": "open", "client": "ada", "url": url, "tokens": token, "channel": "room:lobby" });
    speaker.write(line).await;
    assert_eq!(speaker.event("ada", "error").await["error"], 106);
    drop(first);
    speaker.event("ada", "sub subscribed").await;
    assert!(speaker.kept.iter().all(|line| line["event"] != "disconnected"), "it never gave up: {:?}", speaker.kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_of_the_npm_package_chat_and_lose_nothing_when_their_node_is_killed() {
    let scene = Scene::new().await;
    scene.join("acme", "lobby", &["ada", "bob"]).await;
    // As long a pong may take, on a busy machine too.
    let node = scene.process(&[("WEBSOCKET_PING_SECONDS", "8")]).await;
    let mut speaker = Speaker::start().await;
    // A ticket is good once: the client has to ask for another when it comes back.
    speaker.open("ada", &node, &[ticket("acme", "ada"), ticket("acme", "ada"), ticket("acme", "ada")]).await;
    speaker.open("bob", &node, &[jwt("acme", "bob"), jwt("acme", "bob")]).await;

    let done = speaker.call("ada", "sub", "publish", json!([{ "text": "Hello" }])).await;
    assert!(done["result"].is_object(), "{done}");
    for client in ["ada", "bob"] {
        assert_eq!(speaker.publication(client, "message").await["data"]["text"], "Hello");
    }
    speaker.call("bob", "client", "rpc", json!(["typing", { "channel": "room:lobby" }])).await;
    assert_eq!(speaker.publication("ada", "typing").await["data"]["user"], "bob");
    let history = speaker.call("ada", "sub", "history", json!([{ "limit": 2, "reverse": true }])).await;
    assert_eq!(history["result"]["publications"][0]["data"]["text"], "Hello", "{history}");
    let stats = async {
        loop {
            let stats = speaker.call("ada", "sub", "presenceStats", json!([])).await;
            if stats["result"] == json!({ "numClients": 2, "numUsers": 2 }) {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, stats).await.expect("both are there");
    let presence = speaker.call("bob", "sub", "presence", json!([])).await;
    assert_eq!(presence["result"]["clients"].as_object().map(serde_json::Map::len), Some(2), "{presence}");
    let refused = speaker.call("bob", "sub", "publish", json!([{ "text": "" }])).await;
    assert_eq!(refused["failed"], 107, "{refused}");
    // Pings are answered by the client itself: after several of them it is still there.
    for client in ["ada", "bob"].repeat(3) {
        speaker.event(client, "pong").await;
    }
    assert!(speaker.kept.iter().all(|line| line["event"] != "disconnected" && line["event"] != "error"));

    for client in ["ada", "bob"] {
        while speaker.kept.iter().any(|line| line["client"] == client) {
            let at = speaker.kept.iter().position(|line| line["client"] == client).unwrap();
            speaker.kept.remove(at);
        }
    }
    // The node dies, messages go on, and another node stands where it stood.
    let address = node.address();
    node.kill().await;
    for n in 0..5 {
        scene.say("acme", "lobby", "bob", &n.to_string()).await;
    }
    let _again = scene.process(&[("FANOUT_LISTEN", &address.to_string())]).await;
    for client in ["ada", "bob"] {
        let subscribed = speaker.event(client, "sub subscribed").await;
        assert_eq!((&subscribed["recovered"], &subscribed["was"]), (&true.into(), &true.into()), "{subscribed}");
        for n in 0..5 {
            assert_eq!(speaker.publication(client, "message").await["data"]["text"], n.to_string());
        }
    }
    scene.say("acme", "lobby", "ada", "live").await;
    for client in ["ada", "bob"] {
        assert_eq!(speaker.publication(client, "message").await["data"]["text"], "live");
    }
    for client in ["ada", "bob"] {
        speaker.call(client, "client", "disconnect", json!([])).await;
    }
}
