//! Starts `smtp_server.py` and listens to what it says.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use clap::Parser;
use omnibus_mailer::transport::Mail;
use omnibus_mailer::{Mailer, Settings};
use omnibus_schemas::mailer::Provider;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// A running server. It ends with this.
pub(crate) struct SmtpServer {
    pub(crate) port: u16,
    pub(crate) cert: Option<String>,
    said: mpsc::UnboundedReceiver<Value>,
    _process: Child,
    _dir: tempfile::TempDir,
}

impl SmtpServer {
    /// Options as in the script.
    pub(crate) async fn start(mut options: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        options["dir"] = json!(dir.path());
        let mut process = Command::new(python())
            .args(["-W", "ignore"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp_server.py"))
            .arg(options.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the Python interpreter starts");
        // Heard at once: a server whose words nobody reads stands still when its pipe is full.
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (tell, said) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = tell.send(serde_json::from_str(&line).unwrap());
            }
        });
        let mut server = SmtpServer { port: 0, cert: None, said, _process: process, _dir: dir };
        let ready = server.next("ready").await;
        server.port = u16::try_from(ready["port"].as_u64().unwrap()).unwrap();
        server.cert = ready["cert"].as_str().map(str::to_owned);
        server
    }

    /// Waits for the next event of this name; passes over others.
    pub(crate) async fn next(&mut self, event: &str) -> Value {
        let wait = async {
            while let Some(said) = self.said.recv().await {
                if said["event"] == event {
                    return said;
                }
            }
            panic!("the SMTP server ended; does its Python have aiosmtpd?")
        };
        let said = tokio::time::timeout(Duration::from_secs(120), wait).await;
        said.unwrap_or_else(|_| panic!("the SMTP server did not say '{event}' in time"))
    }

    /// Closes the server and counts what it had said and nobody had asked for.
    pub(crate) async fn rest(self) -> Vec<String> {
        self.end().await.iter().map(|said| said["event"].as_str().unwrap().to_owned()).collect()
    }

    /// Closes the server. Every mail that it had acknowledged and nobody had asked for.
    pub(crate) async fn accepted(self) -> Vec<Value> {
        let mut said = self.end().await;
        said.retain(|said| said["event"] == "accepted");
        said
    }

    async fn end(mut self) -> Vec<Value> {
        drop(self._process.stdin.take());
        let mut rest = vec![];
        while let Some(said) = self.said.recv().await {
            rest.push(said);
        }
        rest
    }

    /// Settings that lead here, unencrypted, with a short time-out.
    pub(crate) fn settings(&self, more: &[&str]) -> Settings {
        settings(self.port, more)
    }
}

/// Settings for a server on this port.
pub(crate) fn settings(port: u16, more: &[&str]) -> Settings {
    let port = port.to_string();
    let base = ["mailer", "--smtp-host", "127.0.0.1", "--smtp-port", &port, "--from-email", "office@example.com"];
    let tls: &[&str] = if more.contains(&"--smtp-tls") { &[] } else { &["--smtp-tls", "none"] };
    Line::parse_from([&base, tls, more].concat()).settings
}

/// A port on which nobody listens. It is held, so that nobody else is given it, and never listened at.
pub(crate) fn nobody() -> u16 {
    static HELD: LazyLock<TcpSocket> = LazyLock::new(|| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket
    });
    HELD.local_addr().unwrap().port()
}

/// Settings without a server.
pub(crate) fn folder_settings(folder: &Path) -> Settings {
    Line::parse_from(["mailer", "--mail-dir", folder.to_str().unwrap()]).settings
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    settings: Settings,
}

/// The mailer's way to it.
pub(crate) fn mailer(settings: &Settings) -> Mailer {
    Mailer::new(settings).unwrap()
}

/// A mail to these.
pub(crate) fn mail(to: &[&str]) -> Mail {
    mail_of(to, "Subject: Test\r\n\r\nHello\r\n")
}

/// A mail with this text.
pub(crate) fn mail_of(to: &[&str], text: &str) -> Mail {
    Mail {
        way: Provider::Smtp,
        message_id: "<01979f6e-5a00-7000-8000-000000000003@example.com>".into(),
        sender: "office@example.com".into(),
        recipients: to.iter().map(|&to| to.into()).collect(),
        text: text.into(),
        bulk: false,
    }
}

/// `OMNIBUS_PYTHON`, or the virtual environment of the checkout.
fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("OMNIBUS_PYTHON") {
        return python.into();
    }
    let here = std::env::current_dir().unwrap();
    let found = here.ancestors().map(|dir| dir.join(".omnibus/venv/bin/python")).find(|python| python.exists());
    found.expect(
        "these tests need a Python with aiosmtpd: run ops/test, which makes one under .omnibus/venv, \
         or name yours in OMNIBUS_PYTHON",
    )
}
