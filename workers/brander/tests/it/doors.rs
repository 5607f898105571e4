//! How certificates come to the doors, and what visitors get there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use omnibus_dns::testing::Names;
use omnibus_ingest::{Door, DoorParts};
use omnibus_runtime::Health;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::brander::{CERTIFICATES, HostCertificate, RemoveDomain};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::certificates::acme;
use crate::domains::{HOST, RECORD, ZONE, add, proved, scene, verify};
use crate::scene::Scene;

const PATIENCE: Duration = Duration::from_secs(60);

/// A door with a plain address and one for TLS.
struct Opened {
    plain: String,
    secure: SocketAddr,
    _stop: DropGuard,
}

impl Opened {
    async fn on(stage: &Stage, http: u16) -> Self {
        let stop = CancellationToken::new();
        let settings = omnibus_ingest::Settings {
            rate_limit_ip: 0,
            http_listen: SocketAddr::from(([127, 0, 0, 1], http)),
            https_listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            certificate_key: Some(BASE64_STANDARD.encode([7; 32]).into()),
            ..omnibus_ingest::Settings::on_a_free_port()
        };
        let parts = DoorParts {
            bus: stage.connect("ingest").await,
            catalogue: stage.catalogue().clone(),
            settings,
            beside: None,
            health: Health::default(),
            stop: stop.clone(),
        };
        let door = Door::new(parts).await.unwrap();
        let (plain, secure) = (door.url(), door.secure_address().unwrap());
        tokio::spawn(door.serve());
        Opened { plain, secure, _stop: stop.drop_guard() }
    }

    /// A visitor's browser, which trusts these authorities. Each request makes a connection of its own.
    fn visitor(&self, roots: &[CertificateDer<'static>]) -> reqwest::Client {
        let mut store = rustls::RootCertStore::empty();
        roots.iter().for_each(|root| store.add(root.clone()).unwrap());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(store)
            .with_no_client_auth();
        reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .resolve(HOST, self.secure)
            .resolve("other.northwind-coffee.com", self.secure)
            .build()
            .unwrap()
    }

    fn at(&self, host: &str) -> String {
        format!("https://{host}:{}/login", self.secure.port())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proved_host_is_served_over_tls_by_its_name_without_a_restart_and_no_more_once_it_is_given_up() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let names = Names::start(ZONE).await;
    names.point(HOST).await;
    let acme = acme(&names).await;
    let scene = Scene::with(acme.settings.clone()).await;
    // The door answers the authority's question itself.
    let door = Opened::on(&scene.stage, acme.http).await;
    let asked = door.visitor(std::slice::from_ref(&acme.speaks_with));
    let root = asked.get(format!("https://localhost:{}/roots/0", acme.management)).send().await.unwrap();
    let root = CertificateDer::from_pem_slice(&root.bytes().await.unwrap()).unwrap();
    let visitor = door.visitor(&[root]);
    assert!(visitor.get(door.at(HOST)).send().await.is_err(), "nobody is served before the proof");

    proved(&scene, &names, "acme").await;
    let ended =
        scene.stage.event(|told| ["certificate_issued", "certificate_failed"].contains(&told.name.as_str())).await;
    assert_eq!(ended.name, "certificate_issued", "{}", ended.data);
    let served = async {
        loop {
            match visitor.get(door.at(HOST)).send().await {
                Ok(page) if page.status() == 200 => break page.text().await.unwrap(),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let page = tokio::time::timeout(PATIENCE, served).await.expect("the host is served over TLS");
    assert!(page.contains("Sign in to acme"), "{page}");
    assert!(visitor.get(door.at("other.northwind-coffee.com")).send().await.is_err(), "a name that is nobody's");

    // Who comes without TLS is led there; the authority is not.
    let plain = |path: &str| visitor.get(format!("{}{path}", door.plain)).header("host", HOST).send();
    let led = plain("/login?x=1").await.unwrap();
    let location = led.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
    assert_eq!((led.status().as_u16(), location), (308, Some(format!("https://{HOST}/login?x=1"))));
    assert_eq!(plain("/.well-known/acme-challenge/x").await.unwrap().status(), 404);
    let elsewhere = visitor.get(format!("{}/healthz", door.plain)).send().await.unwrap();
    assert_eq!(elsewhere.status(), 200, "the door's own name is not led away");

    scene.tell("acme", &RemoveDomain { host: HOST.into() }).await;
    let gone = async { while visitor.get(door.at(HOST)).send().await.is_ok() {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("the host is served no more");
}

/// What doors are told of the host.
async fn told(scene: &Scene) -> Option<HostCertificate> {
    let store = scene.stage.operator.jetstream().get_key_value(CERTIFICATES).await.unwrap();
    store.get(HOST).await.unwrap().map(|entry| serde_json::from_slice(&entry).unwrap())
}

async fn until(scene: &Scene, tenant: Option<&str>) {
    let seen = async {
        while told(scene).await.map(|told| told.tenant).as_deref() != tenant {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("doors are not told of {tenant:?}"));
}

async fn issue(scene: &Scene, tenant: &str, days: i32) {
    sqlx::query(
        "insert into brander.certificates (tenant, host, chain, sealed_key, until, issued_at)
         values ($1, $2, 'chain of ' || $1, 'sealed', now() + make_interval(days => $3), now())
         on conflict (tenant, host) do update set until = excluded.until, issued_at = excluded.issued_at",
    )
    .bind(tenant)
    .bind(HOST)
    .bind(days)
    .execute(&scene.stage.db)
    .await
    .unwrap();
}

#[tokio::test]
async fn doors_are_told_of_a_certificate_while_its_host_serves_and_of_nobody_elses() {
    let (scene, names) = scene().await;
    // A certificate in the table is not enough: the host must be proved.
    let record = add(&scene, "globex").await;
    issue(&scene, "globex", 60).await;
    proved(&scene, &names, "acme").await;
    issue(&scene, "acme", 60).await;
    until(&scene, Some("acme")).await;
    assert_eq!(told(&scene).await.unwrap().sealed_key, BASE64_STANDARD.encode("sealed"), "as it lies in the database");

    // The host changes hands, and its certificate with it.
    names.wipe(RECORD).await;
    names.write(RECORD, &record).await;
    assert_eq!(verify(&scene, "globex").await.name, "domain_verified");
    until(&scene, Some("globex")).await;

    issue(&scene, "globex", -1).await;
    until(&scene, None).await;
    issue(&scene, "globex", 60).await;
    until(&scene, Some("globex")).await;
    scene.tell("globex", &RemoveDomain { host: HOST.into() }).await;
    until(&scene, None).await;
}
