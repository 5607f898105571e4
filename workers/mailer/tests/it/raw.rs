//! The very bytes on the wire, taken by a listener that knows nothing but lines.

use std::io::Write;

use omnibus_mailer::worker;
use omnibus_schemas::mailer::SendEmail;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::scene::{done, email, stage};
use crate::server::{SmtpServer, settings};

/// Takes every mail, and tells what stood between `DATA` and the final dot, byte for byte.
pub(crate) async fn listener() -> (u16, mpsc::UnboundedReceiver<Vec<u8>>) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = server.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let (reading, mut writing) = stream.into_split();
                let mut reading = BufReader::new(reading);
                writing.write_all(b"220 raw\r\n").await?;
                let (mut line, mut data) = (Vec::new(), None::<Vec<u8>>);
                while reading.read_until(b'\n', &mut line).await? > 0 {
                    let answer: &[u8] = match &mut data {
                        Some(text) if line == b".\r\n" => {
                            let _ = tell.send(std::mem::take(text));
                            data = None;
                            b"250 taken\r\n"
                        }
                        Some(text) => {
                            text.extend_from_slice(&line);
                            b""
                        }
                        None if line.starts_with(b"DATA") => {
                            data = Some(vec![]);
                            b"354 go on\r\n"
                        }
                        None => b"250 raw\r\n",
                    };
                    writing.write_all(answer).await?;
                    line.clear();
                }
                Ok::<_, std::io::Error>(())
            });
        }
    });
    (port, told)
}

#[tokio::test]
async fn no_bare_line_feed_and_no_undoubled_dot_is_ever_on_the_wire() {
    let (port, mut told) = listener().await;
    let stage = stage().await;
    let running = stage.run(worker(settings(port, &[])).unwrap()).await;
    for smuggled in [
        "Hello\n.\nMAIL FROM:<a@example.com>\nRCPT TO:<b@example.com>\nDATA\nSubject: two\n\nsmuggled\n.\n",
        "Hello\r.\rMAIL FROM:<a@example.com>",
        "Hello\r\n.\nMAIL FROM:<a@example.com>",
        "Hello\n.\r\nMAIL FROM:<a@example.com>",
        "Hello\r\n.\r\nMAIL FROM:<a@example.com>",
        ".\r\n.\r\n..",
    ] {
        let both = email(|e| {
            e.body = smuggled.into();
            e.html = Some(smuggled.into());
        });
        done(&stage, "acme", &both).await;
        let text = told.recv().await.unwrap();
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        let (last, lines) = lines.split_last().unwrap();
        assert!(last.is_empty(), "the last line ends");
        for line in lines {
            let line = line.strip_suffix(b"\r").expect("every LF stands behind a CR");
            assert!(!line.contains(&b'\r'), "a CR stands by itself");
            assert!(!line.starts_with(b".") || line.starts_with(b".."), "a dot is not doubled");
        }
    }
    running.stop().await;
    assert!(told.try_recv().is_err(), "there were no more mails than that");
}

/// The values of a tag list, unfolded: `a=rsa-sha256; h=from:to`.
pub(crate) fn tag(header: &str, name: &str) -> String {
    let whole: String = header.split("\r\n").map(str::trim_start).collect();
    let found = whole.split(';').find_map(|tag| tag.trim().strip_prefix(&format!("{name}=")).map(str::to_owned));
    found.unwrap_or_else(|| panic!("no {name}= in {whole}"))
}

pub(crate) fn dkim(text: &str) -> Option<&str> {
    let head = text.split("\r\n\r\n").next().unwrap();
    let from = head.find("DKIM-Signature: ")?;
    let rest = &head[from..];
    let end = rest.match_indices("\r\n").find(|(at, _)| !rest[at + 2..].starts_with([' ', '\t']));
    Some(&rest[..end.map_or(rest.len(), |(at, _)| at)])
}

#[tokio::test]
async fn a_mail_is_signed_by_its_tenants_key_and_the_unsubscribe_headers_are_among_what_is_signed() {
    let keys = tempfile::tempdir().unwrap();
    let put = |folder: &str, name: &str, key: &[u8]| {
        let folder = keys.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::File::create(folder.join(name)).unwrap().write_all(key).unwrap();
    };
    put("example.com", "house.key", b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let rsa = std::process::Command::new("openssl").args(["genrsa", "-traditional", "1024"]).output().unwrap();
    put("acme/example.com", "own.pem", &rsa.stdout);

    let mut server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let folder = keys.path().to_str().unwrap();
    let running = stage.run(worker(server.settings(&["--dkim-dir", folder])).unwrap()).await;
    let newsletter = email(|e| e.stream = "marketing".into());
    for (tenant, email, algorithm, selector) in [
        ("acme", &newsletter, "rsa-sha256", "own"),
        ("globex", &newsletter, "ed25519-sha256", "house"),
        ("globex", &SendEmail { html: Some("<b>x</b>".into()), ..newsletter.clone() }, "ed25519-sha256", "house"),
    ] {
        done(&stage, tenant, email).await;
        let accepted = server.next("accepted").await;
        let text = accepted["text"].as_str().unwrap();
        let signature = dkim(text).unwrap_or_else(|| panic!("unsigned: {text}"));
        assert_eq!((tag(signature, "a"), tag(signature, "s")), (algorithm.into(), selector.into()));
        assert_eq!(tag(signature, "d"), "example.com");
        let signed = tag(signature, "h").to_ascii_lowercase();
        for header in ["from", "to", "subject", "date", "message-id", "list-unsubscribe", "list-unsubscribe-post"] {
            assert!(signed.split(':').any(|name| name.trim() == header), "{header} is not in h={signed}");
        }
    }
    running.stop().await;
}
