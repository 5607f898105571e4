//! Certificates from a real ACME server (Pebble, Let's Encrypt's own for tests), which asks a real DNS server where the
//! host is and fetches the challenge's file from there.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use omnibus_brander::Settings;
use omnibus_dns::testing::Names;
use omnibus_runtime::Visit;
use omnibus_runtime::testing::free_port;
use omnibus_schemas::brander::{
    AddDomain, CertificateStatus, ChallengeFile, DomainStatus, Domains, OrderCertificate, VerifyDomain,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::domains::ZONE;
use crate::scene::{PATIENCE, Scene, look, refusal};

const HOST: &str = "portal.northwind-coffee.com";
const RECORD: &str = "_omnibus.portal.northwind-coffee.com";

/// Where Pebble is: `OMNIBUS_PEBBLE`, the path, or what `apt-get download pebble` unpacks under `.omnibus`.
fn pebble() -> PathBuf {
    if let Some(named) = std::env::var_os("OMNIBUS_PEBBLE") {
        return named.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|dir| dir.join("pebble")).collect::<Vec<_>>();
    places.push(root.join(".omnibus/pebble/usr/bin/pebble"));
    places.into_iter().find(|place| place.is_file()).expect(
        "the ACME server of these tests is missing. On Debian: cd .omnibus && apt-get download pebble && \
         dpkg -x pebble_*.deb pebble; or name it with OMNIBUS_PEBBLE",
    )
}

pub(crate) struct Acme {
    _process: tokio::process::Child,
    _dir: tempfile::TempDir,
    pub(crate) settings: Settings,
    /// Where it fetches challenges from: held, so that nobody else takes it before it is served.
    pub(crate) http: TcpListener,
    /// Where it tells its own root, and with which certificate.
    pub(crate) management: u16,
    pub(crate) speaks_with: rustls::pki_types::CertificateDer<'static>,
}

/// A port may be taken between its being found free and being used: then others are tried.
pub(crate) async fn acme(names: &Names) -> Acme {
    for _ in 0..5 {
        if let Some(acme) = started(names).await {
            return acme;
        }
    }
    panic!("the ACME server does not start");
}

async fn started(names: &Names) -> Option<Acme> {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let [api, tls, management] = [(); 3].map(|()| free_port());
    let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = json!({ "pebble": {
        "listenAddress": format!("127.0.0.1:{api}"),
        "managementListenAddress": format!("127.0.0.1:{management}"), "certificate": &cert,
        "privateKey": key, "httpPort": http.local_addr().unwrap().port(), "tlsPort": tls, "ocspResponderURL": "",
        "externalAccountBindingRequired": false
    } });
    let file = dir.path().join("pebble.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let mut process = tokio::process::Command::new(pebble())
        .arg("-config")
        .arg(file)
        .args(["-dnsserver", &names.address.to_string()])
        .env("PEBBLE_VA_NOSLEEP", "1")
        .env("PEBBLE_WFE_NONCEREJECT", "20")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let there = async |port| tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok();
    let listening = async {
        loop {
            // One that found its port taken has ended: what answers there is another.
            if process.try_wait().unwrap().is_some() {
                break false;
            }
            if there(api).await && there(management).await {
                break true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    if !tokio::time::timeout(PATIENCE, listening).await.unwrap_or(false) {
        return None;
    }
    let settings = Settings {
        dns_servers: vec![names.address],
        acme_directory_url: Some(format!("https://localhost:{api}/dir")),
        acme_ca_file: Some(cert),
        acme_contact: Some("office@northwind-coffee.com".into()),
        certificate_key: Some(BASE64_STANDARD.encode([7; 32]).into()),
        ..Settings::defaults()
    };
    let speaks_with = made.cert.der().clone();
    Some(Acme { _process: process, _dir: dir, settings, http, management, speaks_with })
}

/// The host's own web server: asks the worker, as the door does. Returns what was asked for.
async fn serve(scene: &Scene, listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = vec![0; 4096];
        let n = stream.read(&mut read).await.unwrap();
        let request = String::from_utf8_lossy(&read[..n]).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let host = request.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
        let params = [("token".to_owned(), path.rsplit('/').next().unwrap_or_default().to_owned())].into();
        let host = host.split(':').next().unwrap_or_default().to_owned();
        let visit = Visit { method: "GET".into(), path, params, host, ..Visit::default() };
        let (status, body) = match scene.stage.visit::<ChallengeFile>(&visit).await {
            Ok(reply) => (reply.code(), reply.into_body().0),
            Err((code, _)) => (code, vec![]),
        };
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    }
}

async fn status(scene: &Scene) -> (DomainStatus, CertificateStatus) {
    let page = scene.stage.ask("brander", "acme", &Domains { after: None, limit: 5 }).await.unwrap();
    let row = page.domains.into_iter().find(|row| row.host == HOST).unwrap();
    (row.status, row.certificate)
}

#[tokio::test]
async fn a_proved_host_gets_its_certificate_by_itself_and_no_other_host_does() {
    let names = Names::start(ZONE).await;
    names.point(HOST).await;
    let acme = acme(&names).await;
    let scene = Scene::with(acme.settings.clone()).await;
    let story = async {
        let told = scene.tell("acme", &AddDomain { host: HOST.into() }).await;
        let record = told.data["record_value"].as_str().unwrap().to_owned();
        let refused = scene.tell("acme", &OrderCertificate { host: HOST.into() }).await;
        assert_eq!(refusal(&refused).0, "domain_not_verified");
        let refused = scene.tell("acme", &OrderCertificate { host: "portal.other-coffee.com".into() }).await;
        assert_eq!(refusal(&refused).0, "domain_unknown");
        let orders: i64 = sqlx::query_scalar("select count(*) from brander.certificate_orders")
            .fetch_one(&scene.stage.db)
            .await
            .unwrap();
        assert_eq!(orders, 0, "nothing was asked of the authority");

        names.write(RECORD, &record).await;
        let told = scene.tell("acme", &VerifyDomain { host: HOST.into() }).await;
        assert_eq!(told.name, "domain_verified");
        let ended =
            scene.stage.event(|told| ["certificate_issued", "certificate_failed"].contains(&told.name.as_str())).await;
        assert_eq!(ended.name, "certificate_issued", "{}", ended.data);
        assert_eq!(status(&scene).await, (DomainStatus::Verified, CertificateStatus::Issued));
        let (chain, sealed): (String, Vec<u8>) =
            sqlx::query_as("select chain, sealed_key from brander.certificates where tenant = 'acme' and host = $1")
                .bind(HOST)
                .fetch_one(&scene.stage.db)
                .await
                .unwrap();
        let (_, first) = x509_parser::pem::parse_x509_pem(chain.as_bytes()).unwrap();
        let first = first.parse_x509().unwrap();
        let names = first.subject_alternative_name().unwrap().unwrap();
        assert!(names.value.general_names.contains(&x509_parser::extensions::GeneralName::DNSName(HOST)));
        assert!(!sealed.windows(4).any(|bytes| bytes == [0x06, 0x07, 0x2a, 0x86]), "the key lies sealed");
        scene.draft("acme", look("still at work")).await;
    };
    tokio::select! {
        () = serve(&scene, acme.http) => unreachable!("it serves for good"),
        () = story => {}
    }
}

#[tokio::test]
async fn a_host_that_does_not_point_here_gets_none_and_stays_verified() {
    let names = Names::start(ZONE).await;
    let acme = acme(&names).await;
    let scene = Scene::with(acme.settings.clone()).await;
    let told = scene.tell("acme", &AddDomain { host: HOST.into() }).await;
    names.write(RECORD, told.data["record_value"].as_str().unwrap()).await;
    scene.tell("acme", &VerifyDomain { host: HOST.into() }).await;
    let ended =
        scene.stage.event(|told| told.name.starts_with("certificate_") && told.name != "certificate_ordered").await;
    assert_eq!((ended.name.as_str(), &ended.data["host"]), ("certificate_failed", &HOST.into()));
    assert_eq!(status(&scene).await, (DomainStatus::Verified, CertificateStatus::Failed));
}

/// Waits until the order has been looked at and put off for longer than a lane holds anything: it left the lane for the
/// schedule, where it stays.
async fn put_off(scene: &Scene) {
    // The server has a message a moment before its consumers know of it: a lane that is empty may be so still.
    let waits = async {
        while scene.stage.operator.jetstream().get_stream("SCHEDULE").await.unwrap().cached_info().state.messages == 0
            || scene.stage.lane("brander", "certificates").await != (0, 0)
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.expect("it waits in the schedule");
    let schedule = scene.stage.operator.jetstream().get_stream("SCHEDULE").await.unwrap();
    // The watch over what ends soon may have looked in between, and ordered it too.
    assert!((1..=2).contains(&schedule.cached_info().state.messages), "it waits there");
}

#[tokio::test]
async fn beyond_the_authoritys_budget_an_order_waits_and_is_not_sent() {
    let names = Names::start(ZONE).await;
    let acme = acme(&names).await;
    for (orders, registered, age) in [(300, "elsewhere.com", "1 hour"), (50, "northwind-coffee.com", "6 days")] {
        let scene = Scene::with(acme.settings.clone()).await;
        scene.tell("acme", &AddDomain { host: HOST.into() }).await;
        sqlx::query(
            "insert into brander.certificate_orders (tenant, order_id, host, registered, status, opened_at)
             select 'globex', gen_random_uuid(), 'x', $2, 'issued', now() - $3::interval from generate_series(1, $1)",
        )
        .bind(orders)
        .bind(registered)
        .bind(age)
        .execute(&scene.stage.db)
        .await
        .unwrap();
        sqlx::query("update brander.domains set status = 'verified', checked_at = now()")
            .execute(&scene.stage.db)
            .await
            .unwrap();
        scene.stage.publish("acme", &OrderCertificate { host: HOST.into() }).await;
        put_off(&scene).await;
        // Another lane is not kept waiting.
        scene.draft("acme", look("Acme")).await;
        let ours: i64 = sqlx::query_scalar("select count(*) from brander.certificate_orders where tenant = 'acme'")
            .fetch_one(&scene.stage.db)
            .await
            .unwrap();
        assert_eq!((ours, status(&scene).await.1), (0, CertificateStatus::None), "{orders} of {registered}");
    }
}

#[tokio::test]
async fn a_tenants_share_and_a_hosts_failures_hold_an_order_back_too() {
    let settings = Settings {
        acme_directory_url: Some("https://acme.example/dir".into()),
        certificate_key: Some(BASE64_STANDARD.encode([7; 32]).into()),
        ..Settings::defaults()
    };
    for (orders, host, ended, age) in
        [(50, "other.northwind-coffee.com", "issued", "1 hour"), (3, HOST, "failed", "9 minutes")]
    {
        let scene = Scene::with(settings.clone()).await;
        scene.tell("acme", &AddDomain { host: HOST.into() }).await;
        sqlx::query(
            "insert into brander.certificate_orders (tenant, order_id, host, registered, status, opened_at)
             select 'acme', gen_random_uuid(), $2, 'elsewhere.com', $3, now() - $4::interval
             from generate_series(1, $1)",
        )
        .bind(orders)
        .bind(host)
        .bind(ended)
        .bind(age)
        .execute(&scene.stage.db)
        .await
        .unwrap();
        sqlx::query("update brander.domains set status = 'verified', checked_at = now()")
            .execute(&scene.stage.db)
            .await
            .unwrap();
        scene.stage.publish("acme", &OrderCertificate { host: HOST.into() }).await;
        put_off(&scene).await;
        let begun: i64 = sqlx::query_scalar(
            "select count(*) from brander.certificate_orders where opened_at > now() - interval '5 minutes'",
        )
        .fetch_one(&scene.stage.db)
        .await
        .unwrap();
        assert_eq!((begun, status(&scene).await.1), (0, CertificateStatus::None), "{orders} of {host}");
    }
}
