//! TLS, CORS, and connections that go on.

use std::sync::Arc;

use crate::stage::Stage;

#[tokio::test]
async fn tls_is_spoken_from_1_2_on() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let stage = Stage::unready(|door, _| {
        door.tls_cert_file = Some(cert);
        door.tls_key_file = Some(key);
    })
    .await;
    assert!(stage.url.starts_with("https://"));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let http = reqwest::Client::builder().tls_backend_preconfigured(config).build().unwrap();
        assert_eq!(http.get(format!("{}/healthz", stage.url)).send().await.unwrap().status(), 200);
    }
    let plain = stage.url.replace("https://", "http://");
    assert!(stage.http.get(format!("{plain}/healthz")).send().await.is_err());
}

#[tokio::test]
async fn browsers_of_named_origins_only_may_call() {
    let stage = Stage::with(|door, _| door.cors_origins = vec!["https://app.example.com".into()]).await;
    let preflight = |origin: &'static str| {
        let request = stage.http.request(reqwest::Method::OPTIONS, format!("{}/api/v1/greetings", stage.url));
        request.header("origin", origin).header("access-control-request-method", "POST").send()
    };
    let named = preflight("https://app.example.com").await.unwrap();
    assert_eq!(named.headers()["access-control-allow-origin"], "https://app.example.com");
    let other = preflight("https://evil.example.com").await.unwrap();
    assert!(!other.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn without_named_origins_there_is_no_cors() {
    let stage = Stage::with(|_, _| ()).await;
    let response = stage.get("/healthz").header("origin", "https://app.example.com").send().await.unwrap();
    assert!(!response.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_refusal_reaches_a_caller_who_is_still_writing_and_the_connection_goes_on() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stage = Stage::with(|_, _| ()).await;
    let mut line = tokio::net::TcpStream::connect(stage.url.trim_start_matches("http://")).await.unwrap();
    // More than is ever read of a command, and nobody's key.
    let body = vec![b'x'; 700_000];
    let head = format!("POST /api/v1/email/send HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    line.write_all(head.as_bytes()).await.unwrap();
    line.write_all(&body[..1000]).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = line.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&answer[..read]));
    line.write_all(&body[1000..]).await.unwrap();
    line.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    line.read_to_end(&mut rest).await.unwrap();
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("HTTP/1.1 200"), "{rest}");
}

#[tokio::test]
async fn a_body_that_is_asked_for_first_is_not_asked_for_if_it_is_not_wanted() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stage = Stage::with(|_, _| ()).await;
    let mut line = tokio::net::TcpStream::connect(stage.url.trim_start_matches("http://")).await.unwrap();
    let head = "POST /api/v1/email/send HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n";
    line.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    line.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}
