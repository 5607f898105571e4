//! How certificates come to the doors, and what visitors get there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use omnibus_brander::{Settings, worker};
use omnibus_dns::testing::Names;
use omnibus_ingest::{Door, DoorParts};
use omnibus_runtime::Health;
use omnibus_runtime::seal::Seal;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::brander::{CERTIFICATES, HostCertificate, RemoveDomain};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::certificates::acme;
use crate::domains::{HOST, RECORD, ZONE, add, proved, scene, verify};
use crate::scene::{PATIENCE, Scene};

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
            // A busy machine is not a mute worker.
            query_timeout_seconds: 60,
            publish_timeout_seconds: 60,
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
    let port = acme.http.local_addr().unwrap().port();
    drop(acme.http);
    let door = Opened::on(&scene.stage, port).await;
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
async fn another_key_that_is_put_before_the_old_one_seals_everything_anew_and_the_old_one_can_go() {
    let (scene, names) = scene().await;
    proved(&scene, &names, "acme").await;
    let [old, new] = [[7; 32], [8; 32]].map(|key| BASE64_STANDARD.encode(key));
    let (owner, sealer) = (format!("acme/{HOST}"), Seal::of_text(&old).unwrap());
    let sealed = |secret: &[u8], owner: &str| sealer.close(secret, owner).unwrap();
    issue(&scene, "acme", 60).await;
    for (sql, sealed) in [
        ("update brander.certificates set sealed_key = $1", sealed(b"of the host", &owner)),
        (
            "insert into brander.keys values ('acme https://acme.example/dir', $1)",
            sealed(b"of the account", "acme https://acme.example/dir"),
        ),
        (
            "insert into brander.certificate_orders (tenant, order_id, host, registered, status, sealed_key, opened_at)
             select tenant, gen_random_uuid(), host, 'x', 'ordered', $1, now() from brander.certificates",
            sealed(b"of an order", &owner),
        ),
    ] {
        sqlx::query(sql).bind(sealed).execute(&scene.stage.db).await.unwrap();
    }
    let Scene { stage, _running } = scene;
    _running.stop().await;

    let settings = |key: String| Settings {
        dns_servers: vec![names.address],
        acme_directory_url: Some("https://acme.example/dir".into()),
        certificate_key: Some(key.into()),
        ..Settings::defaults()
    };
    let running = stage.run(worker(settings(format!("{new},{old}"))).unwrap()).await;
    let scene = Scene { stage, _running: running };
    let opener = Seal::of_text(&new).unwrap();
    let handed_out = async {
        loop {
            let told = told(&scene).await.map(|told| BASE64_STANDARD.decode(told.sealed_key).unwrap());
            match told.and_then(|key| opener.open(&key, &owner).ok()) {
                Some(key) => break key,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let key = tokio::time::timeout(PATIENCE, handed_out).await.expect("doors get it sealed with the new key");
    assert_eq!(key, b"of the host");
    for (sql, owner, secret) in [
        ("select sealed_key from brander.certificates", owner.as_str(), &b"of the host"[..]),
        ("select sealed_key from brander.certificate_orders", &owner, b"of an order"),
        ("select value from brander.keys where name like 'acme %'", "acme https://acme.example/dir", b"of the account"),
    ] {
        let sealed: Vec<u8> = sqlx::query_scalar(sql).fetch_one(&scene.stage.db).await.unwrap();
        assert_eq!(opener.open(&sealed, owner).unwrap(), secret, "{sql}");
    }
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
