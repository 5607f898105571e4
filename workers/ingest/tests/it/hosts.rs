//! Tenants' hosts over TLS, with the certificates that lie in the bucket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{TimeDelta, Utc};
use omnibus_runtime::clock;
use omnibus_runtime::seal::Seal;
use omnibus_schemas::brander::{CERTIFICATES, HostCertificate};
use reqwest::StatusCode;
use rustls::pki_types::CertificateDer;

use crate::stage::{PATIENCE, Stage};

const HOST: &str = "portal.northwind-coffee.com";
const OTHER: &str = "portal.globex.com";
const KEY: [u8; 32] = [7; 32];

async fn stage() -> Stage {
    Stage::with(|door, _| {
        door.https_listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        door.certificate_key = Some(BASE64_STANDARD.encode(KEY).into());
    })
    .await
}

/// A certificate of the host's, sealed for `tenant/sealed_for`, and what a visitor has to trust.
fn made(
    host: &str,
    key: [u8; 32],
    sealed_for: &str,
    until: chrono::DateTime<Utc>,
) -> (HostCertificate, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
    let sealed = Seal::new(&key).close(&made.signing_key.serialize_der(), sealed_for).unwrap();
    let certificate = HostCertificate {
        tenant: "acme".into(),
        chain: made.cert.pem(),
        sealed_key: BASE64_STANDARD.encode(sealed),
        until,
        issued_at: clock::now(),
    };
    (certificate, made.cert.der().clone())
}

fn good(host: &str) -> (HostCertificate, CertificateDer<'static>) {
    made(host, KEY, &format!("acme/{host}"), clock::now() + TimeDelta::days(60))
}

async fn put(stage: &Stage, host: &str, certificate: &HostCertificate) {
    let store = stage.operator.jetstream().get_key_value(CERTIFICATES).await.unwrap();
    store.put(host, serde_json::to_vec(certificate).unwrap().into()).await.unwrap();
}

async fn remove(stage: &Stage, host: &str) {
    let store = stage.operator.jetstream().get_key_value(CERTIFICATES).await.unwrap();
    store.delete(host).await.unwrap();
}

/// Does a visitor who trusts this certificate alone reach the door by this name?
async fn reached(stage: &Stage, host: &str, trusted: &CertificateDer<'static>) -> bool {
    let secure = stage.secure.unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let http = reqwest::Client::builder().tls_backend_preconfigured(config).resolve(host, secure).build().unwrap();
    let answer = http.get(format!("https://{host}:{}/healthz", secure.port())).send().await;
    answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
}

async fn until(stage: &Stage, host: &str, trusted: &CertificateDer<'static>, wanted: bool) {
    let waiting = async {
        while reached(stage, host, trusted).await != wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{host} is not {wanted}"));
}

#[tokio::test]
async fn a_host_is_served_with_its_own_certificate_as_soon_as_and_as_long_as_it_has_one() {
    let stage = stage().await;
    let (first, trusted) = good(HOST);
    assert!(!reached(&stage, HOST, &trusted).await, "without a certificate nobody is served");
    put(&stage, HOST, &first).await;
    until(&stage, HOST, &trusted, true).await;
    let (other, trusted_other) = good(OTHER);
    put(&stage, OTHER, &other).await;
    until(&stage, OTHER, &trusted_other, true).await;
    assert!(!reached(&stage, OTHER, &trusted).await, "each name has its own");

    // Renewed: the next connection gets the new one.
    let (second, renewed) = good(HOST);
    put(&stage, HOST, &second).await;
    until(&stage, HOST, &renewed, true).await;
    remove(&stage, HOST).await;
    until(&stage, HOST, &renewed, false).await;
    assert!(reached(&stage, OTHER, &trusted_other).await);
}

#[tokio::test]
async fn what_was_sealed_for_another_is_over_or_makes_no_sense_is_not_served() {
    let stage = stage().await;
    let later = clock::now() + TimeDelta::days(60);
    let (wrong_key, a) = made(HOST, [8; 32], &format!("acme/{HOST}"), later);
    let (of_another_host, b) = made(HOST, KEY, &format!("acme/{OTHER}"), later);
    let (over, c) = made(HOST, KEY, &format!("acme/{HOST}"), clock::now() - TimeDelta::seconds(1));
    let (mut mixed, _) = good(HOST);
    let (foreign, d) = good(HOST);
    mixed.chain = foreign.chain;
    let (beacon, trusted) = good(OTHER);
    for (certificate, trusting) in [(wrong_key, a), (of_another_host, b), (over, c), (mixed, d)] {
        put(&stage, HOST, &certificate).await;
        // What follows on the same watch shows that it was read.
        put(&stage, OTHER, &beacon).await;
        until(&stage, OTHER, &trusted, true).await;
        assert!(!reached(&stage, HOST, &trusting).await);
        remove(&stage, OTHER).await;
        until(&stage, OTHER, &trusted, false).await;
    }
    let store = stage.operator.jetstream().get_key_value(CERTIFICATES).await.unwrap();
    store.put(HOST, "{".into()).await.unwrap();
    let (mended, trusting) = good(HOST);
    put(&stage, HOST, &mended).await;
    until(&stage, HOST, &trusting, true).await;
}

#[tokio::test]
async fn visitors_of_a_host_with_a_certificate_are_led_to_https_and_nobody_else_is() {
    let stage = stage().await;
    let (certificate, trusted) = good(HOST);
    put(&stage, HOST, &certificate).await;
    until(&stage, HOST, &trusted, true).await;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let ask = |method: reqwest::Method, host: &'static str, path: &'static str| {
        http.request(method, format!("{}{path}", stage.url)).header("host", host).send()
    };
    let led = ask(reqwest::Method::GET, "Portal.Northwind-Coffee.com:80", "/login?a=b").await.unwrap();
    assert_eq!(led.status(), 308);
    assert_eq!(led.headers()["location"], format!("https://{HOST}/login?a=b"));
    let get = reqwest::Method::GET;
    for (method, host, path) in [
        (get.clone(), HOST, "/.well-known/acme-challenge/x"),
        (reqwest::Method::POST, HOST, "/api/v1/greetings"),
        (get.clone(), "portal.unknown.com", "/healthz"),
        (get, "", "/healthz"),
    ] {
        assert_ne!(ask(method, host, path).await.unwrap().status().as_u16(), 308, "{host}{path}");
    }
}

#[tokio::test]
async fn an_address_for_tls_without_any_certificate_is_a_mistake_that_is_named() {
    let error = Stage::fails(|door| door.https_listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)))).await;
    assert!(error.contains("HTTPS_LISTEN") && error.contains("CERTIFICATE_KEY"), "{error}");
    let error = Stage::fails(|door| door.certificate_key = Some("short".to_owned().into())).await;
    assert!(error.contains("CERTIFICATE_KEY") && error.contains("32 bytes"), "{error}");
}
