//! A Chromium of its own, told what to do over its debugging socket.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::scene::PATIENCE;

/// The program: `CHROMIUM`, or `chromium` on PATH. `None` if this machine has none.
pub(crate) fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("chromium")).find(|program| program.is_file())
}

/// One window of a browser with a profile of its own.
pub(crate) struct Window {
    _browser: Child,
    _profile: tempfile::TempDir,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    calls: u64,
}

impl Window {
    pub(crate) async fn open(program: &Path, url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let browser = Command::new(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let file = profile.path().join("DevToolsActivePort");
        let said = async {
            loop {
                match std::fs::read_to_string(&file) {
                    Ok(said) if said.lines().count() >= 2 => break said,
                    _ => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        let said = tokio::time::timeout(PATIENCE, said).await.expect("Chromium is up");
        let (port, path) = said.split_once('\n').unwrap();
        let (mut socket, _) = connect_async(format!("ws://127.0.0.1:{port}{}", path.trim())).await.unwrap();
        let target = call(&mut socket, 1, "Target.createTarget", json!({ "url": url })).await;
        let target = target["targetId"].as_str().unwrap();
        let (socket, _) = connect_async(format!("ws://127.0.0.1:{port}/devtools/page/{target}")).await.unwrap();
        Window { _browser: browser, _profile: profile, socket, calls: 0 }
    }

    /// What an expression comes to in the page.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Value {
        self.calls += 1;
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = call(&mut self.socket, self.calls, "Runtime.evaluate", params).await;
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&mut self, expression: &str) {
        let begun = std::time::Instant::now();
        while self.evaluate(expression).await != true {
            if begun.elapsed() > PATIENCE {
                let page = self.evaluate("document.body.innerText").await;
                panic!("not true in time: {expression}; the page says: {page}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn call(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>, id: u64, method: &str, params: Value) -> Value {
    socket.send(Message::text(json!({ "id": id, "method": method, "params": params }).to_string())).await.unwrap();
    let answered = async {
        loop {
            let Message::Text(text) = socket.next().await.unwrap().unwrap() else { continue };
            let said: Value = serde_json::from_str(&text).unwrap();
            if said["id"] == id {
                assert!(said.get("error").is_none(), "{method}: {said}");
                break said["result"].clone();
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("Chromium answers")
}
