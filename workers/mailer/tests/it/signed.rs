//! Signatures, checked as a receiving server does it, by nothing of what made them: RFC 6376.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use omnibus_schemas::mailer::SendEmail;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::raw::{dkim, tag};
use crate::scene::{done, email, run_with, stage};
use crate::server::SmtpServer;

fn openssl(args: &[&str]) -> bool {
    Command::new("openssl").args(args).output().expect("openssl is there").status.success()
}

/// Blanks of one line, §3.4.4.
fn relaxed(line: &str) -> String {
    let mut relaxed = String::new();
    for c in line.chars() {
        match c {
            ' ' | '\t' if relaxed.ends_with(' ') => {}
            '\t' => relaxed.push(' '),
            c => relaxed.push(c),
        }
    }
    relaxed.trim_end_matches(' ').to_owned()
}

fn relaxed_body(body: &str) -> String {
    let mut lines: Vec<_> = body.split("\r\n").map(relaxed).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

/// One header on one line, §3.4.2.
fn relaxed_header(header: &str) -> String {
    let (name, value) = header.split_once(':').unwrap();
    let value = relaxed(&value.replace("\r\n", ""));
    format!("{}:{}", name.trim_end().to_ascii_lowercase(), value.trim_start())
}

/// The headers, each with its further lines.
fn headers(head: &str) -> Vec<String> {
    let mut headers: Vec<String> = vec![];
    for line in head.split("\r\n") {
        match headers.last_mut() {
            Some(header) if line.starts_with([' ', '\t']) => header.push_str(&format!("\r\n{line}")),
            _ => headers.push(line.to_owned()),
        }
    }
    headers
}

/// Is the mail's signature true of it, by the key in this folder's `public.pem`? §6.1.3.
fn is_true(text: &str, folder: &Path) -> bool {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let own = dkim(text).unwrap_or_else(|| panic!("unsigned: {text}"));
    if tag(own, "bh") != STANDARD.encode(Sha256::digest(relaxed_body(body))) {
        return false;
    }
    let (mut signed, headers) = (String::new(), headers(head));
    for name in tag(own, "h").split(':') {
        let called = |header: &&String| header.split(':').next().unwrap().eq_ignore_ascii_case(name.trim());
        if let Some(header) = headers.iter().rfind(called) {
            signed.push_str(&relaxed_header(header));
            signed.push_str("\r\n");
        }
    }
    let own_line = relaxed_header(own);
    let (without, _) = own_line.split_once("; b=").unwrap();
    signed.push_str(&format!("{without}; b="));
    let [public, signature, data] = ["public.pem", "signature", "data"].map(|name| folder.join(name));
    std::fs::write(&signature, STANDARD.decode(tag(own, "b")).unwrap()).unwrap();
    std::fs::write(&data, signed).unwrap();
    let [public, signature, data] = [&public, &signature, &data].map(|path| path.to_str().unwrap());
    openssl(&["dgst", "-sha256", "-verify", public, "-signature", signature, data])
}

#[tokio::test]
async fn a_signature_is_true_of_the_mail_as_it_arrives_and_of_no_other() {
    let keys = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(keys.path().join("example.com")).unwrap();
    let [key, public] = ["example.com/one.pem", "public.pem"].map(|name| keys.path().join(name));
    let [key, public] = [&key, &public].map(|path| path.to_str().unwrap());
    assert!(openssl(&["genrsa", "-traditional", "-out", key, "1024"]));
    assert!(openssl(&["rsa", "-in", key, "-pubout", "-out", public]));

    let mut server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run_with(&stage, &server, &["--dkim-dir", keys.path().to_str().unwrap()]).await;
    let blanks = "Hello\r\n\r\n \t\r\n.\r\n..  two \t blanks \r\n\r\n\r\n";
    let mails: [SendEmail; 6] = [
        email(|_| {}),
        email(|e| e.body = String::new()),
        email(|e| e.body = " \r\n\t\r\n\r\n".into()),
        email(|e| e.body = blanks.into()),
        email(|e| (e.body, e.html) = (blanks.into(), Some(format!("<p>Grüße</p>\r\n{blanks}")))),
        email(|e| {
            e.subject = "Ihre Rechnung für März ".repeat(6);
            e.from_name = Some("Zoë".into());
            e.reply_to = Some("answers@example.com".into());
            e.stream = "marketing".into();
        }),
    ];
    for mail in mails {
        done(&stage, "acme", &mail).await;
        let accepted = server.next("accepted").await;
        let text = accepted["text"].as_str().unwrap();
        assert!(is_true(text, keys.path()), "{text}");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        for forged in [
            format!("{head}\r\n\r\n{body}More\r\n"),
            text.replacen("\r\nSubject: ", "\r\nSubject: Not ", 1),
            text.replacen("To: test@", "To: guest@", 1),
        ] {
            assert_ne!(forged, text);
            assert!(!is_true(&forged, keys.path()), "{forged}");
        }
    }
    running.stop().await;
}
