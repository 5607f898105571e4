//! TLS and CORS.

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
