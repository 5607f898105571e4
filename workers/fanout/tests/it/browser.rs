//! The page at `/demo/chat/` in two browsers, while the node behind one of them is killed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use omnibus_fanout::demo;
use omnibus_ingest::{Door, DoorParts, Settings, keys};
use omnibus_runtime::Health;
use omnibus_schemas::Catalogue;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::chromium::{Window, program};
use crate::scene::{Place, SECRET, Scene, token};

/// Stands before the nodes and leads whoever comes to one of them, as a load balancer does.
struct Balancer {
    address: SocketAddr,
    to: Arc<Mutex<SocketAddr>>,
}

impl Balancer {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let to = Arc::new(Mutex::new(address));
        let leads = to.clone();
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let to = *leads.lock().unwrap();
                tokio::spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(to).await {
                        let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                    }
                });
            }
        });
        Balancer { address, to }
    }

    fn lead_to(&self, node: &impl Place) {
        *self.to.lock().unwrap() = node.address();
    }
}

/// The HTTP door with the page; its tickets lead to this address.
async fn door(scene: &Scene, websockets: SocketAddr) -> (String, DropGuard) {
    let stop = CancellationToken::new();
    let settings = Settings {
        rate_limit_ip: 0,
        rate_limit_tenant: 0,
        websocket_secret: Some(SECRET.to_owned().into()),
        websocket_url: Some(format!("ws://{websockets}/ws")),
        ..Settings::on_a_free_port()
    };
    let parts = DoorParts {
        bus: scene.stage.connect("ingest").await,
        catalogue: Catalogue::omnibus(),
        settings,
        beside: Some(demo::routes()),
        health: Health::default(),
        stop: stop.clone(),
    };
    let door = Door::new(parts).await.unwrap();
    let url = door.url();
    tokio::spawn(door.serve());
    (url, stop.drop_guard())
}

impl Window {
    /// Fills in the form until it is taken: the door may still be loading its keys.
    async fn enter(&mut self, key: &str, user: &str) {
        self.until("document.readyState === 'complete' && typeof Centrifuge === 'function'").await;
        let fields = json!({ "credential": key, "user": user, "rooms": "lobby" });
        let enter = format!(
            "(() => {{ const form = document.getElementById('enter'); if (form.hidden) return true;
               if (!window.tried || document.getElementById('refused').textContent) {{
                 window.tried = true; document.getElementById('refused').textContent = '';
                 for (const [name, value] of Object.entries({fields})) form.elements[name].value = value;
                 form.requestSubmit() }}
               return false }})()"
        );
        self.until(&enter).await;
        self.until("document.getElementById('connection').textContent === 'connected'").await;
    }

    async fn say(&mut self, text: &str) {
        let text = json!(text);
        self.evaluate(&format!(
            "(() => {{ const form = document.getElementById('say'); form.elements.text.value = {text}; form.requestSubmit() }})()"
        ))
        .await;
    }

    /// Waits until the conversation is exactly this.
    async fn reads(&mut self, texts: &[&str]) {
        let texts = json!(texts).to_string();
        let texts = json!(texts);
        self.until(&format!(
            "JSON.stringify([...document.querySelectorAll('#log .text')].map((text) => text.textContent)) === {texts}"
        ))
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_browsers_chat_while_the_node_behind_one_of_them_is_killed() {
    let Some(chromium) = program() else {
        eprintln!("skipped: this machine has no Chromium (CHROMIUM, or chromium on PATH)");
        return;
    };
    let scene = Scene::new().await;
    let (for_ada, for_bob) = (Balancer::new().await, Balancer::new().await);
    let ((adas, _one), (bobs, _two)) = (door(&scene, for_ada.address).await, door(&scene, for_bob.address).await);
    let environment = [("WEBSOCKET_ORIGINS", format!("{adas},{bobs}"))];
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (first, second) = (scene.process(&environment).await, scene.process(&environment).await);
    for_ada.lead_to(&first);
    for_bob.lead_to(&second);
    let (key, record) = keys::mint(&token("acme"), "browsers", ["websocket:*"], None);
    keys::put(scene.stage.operator.jetstream(), &key, &record).await.unwrap();

    let mut ada = Window::open(&chromium, &format!("{adas}/demo/chat/")).await;
    let mut bob = Window::open(&chromium, &format!("{bobs}/demo/chat/")).await;
    ada.enter(key.expose(), "ada").await;
    bob.enter(key.expose(), "bob").await;
    for window in [&mut ada, &mut bob] {
        for user in ["ada", "bob"] {
            window
                .until(&format!(
                    "[...document.querySelectorAll('#people li')].some((li) => li.textContent === '{user}' && li.dataset.status === 'online')"
                ))
                .await;
        }
    }
    ada.say("Hello, @bob").await;
    // What is written is text, whatever it looks like.
    let markup = "<img src=x onerror=\"document.title = 'mine'\">";
    bob.reads(&["Hello, @bob"]).await;
    bob.until("document.querySelectorAll('#log .named').length === 1").await;
    bob.evaluate("document.getElementById('say').elements.text.dispatchEvent(new Event('input'))").await;
    ada.until("document.getElementById('typing').textContent === 'bob …'").await;
    bob.say(markup).await;
    ada.reads(&["Hello, @bob", markup]).await;
    assert_eq!(ada.evaluate("document.title").await, "Chat · Omnibus");
    // Ada sees that Bob has read.
    ada.until("document.querySelector('#log .seen')?.textContent.includes('bob') ?? false").await;

    // Ada's node dies, Bob goes on; then she is led to his.
    first.kill().await;
    ada.until("document.getElementById('connection').textContent === 'connecting'").await;
    let mut all = vec!["Hello, @bob", markup];
    for text in ["Are you", "still", "there?"] {
        bob.say(text).await;
        all.push(text);
        bob.reads(&all).await;
    }
    for_ada.lead_to(&second);
    ada.reads(&all).await;
    ada.say("I am").await;
    all.push("I am");
    for window in [&mut ada, &mut bob] {
        window.reads(&all).await;
    }
}
