//! Pages and previews: whose they are, what they may do, and where they must never end up.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use omnibus_dns::testing::Names;
use omnibus_runtime::{Reply, Visit};
use omnibus_schemas::Command;
use omnibus_schemas::brander::{
    BrandOfVersion, DashboardPage, LoginPage, Look, Page, Preview, PreviewPage, SetBranding,
};

use crate::domains::{at_home, proved, scene};
use crate::scene::{Scene, look};

const HOST: &str = "portal.northwind-coffee.com";

fn visit(host: &str) -> Visit {
    Visit { method: "GET".into(), path: "/login".into(), host: host.into(), ..Visit::default() }
}

fn header(reply: &Reply, name: &str) -> String {
    let found = reply.headers().iter().rev().find(|(known, _)| known == name);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

fn text(reply: Reply) -> String {
    String::from_utf8(reply.into_body().0).unwrap()
}

/// A page for people who want to look at it: into the folder that `BRANDER_PAGES` names.
fn shown(name: &str, page: String) -> String {
    if let Ok(folder) = std::env::var("BRANDER_PAGES") {
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.html")), &page).unwrap();
    }
    page
}

async fn branded(name: &str) -> (Scene, Names) {
    let (scene, names) = scene().await;
    proved(&scene, &names, "acme").await;
    let version = scene.draft("acme", look(name)).await;
    scene.activate("acme", version).await;
    at_home(&scene, Some(name)).await;
    (scene, names)
}

#[tokio::test]
async fn a_host_is_the_one_that_was_asked_whatever_other_headers_say() {
    let (scene, _names) = branded("Acme Look").await;
    for host in
        ["evil.example", "", "127.0.0.1", "portal.northwind-coffee.com.evil.example", "x.portal.northwind-coffee.com"]
    {
        let mut forged = visit(host);
        for name in ["x-forwarded-host", "x-host", "forwarded", "x-original-host", "host"] {
            forged.headers.insert(name.into(), HOST.into());
        }
        assert_eq!(scene.stage.visit::<LoginPage>(&forged).await.unwrap_err().0, 404, "{host}");
    }
    let mut poisoned = visit(HOST);
    poisoned.headers.insert("x-forwarded-host".into(), "evil.example\"><script>".into());
    poisoned.query = "host=evil.example".into();
    let reply = scene.stage.visit::<LoginPage>(&poisoned).await.unwrap();
    let clean = scene.stage.visit::<LoginPage>(&visit(HOST)).await.unwrap();
    assert_eq!(header(&reply, "etag"), header(&clean, "etag"));
    let page = text(reply);
    assert!(!page.contains("evil.example"));
    assert_eq!(page, text(clean), "what one visitor sent is in nobody's page");
}

#[tokio::test]
async fn a_page_is_asked_about_each_time_and_sent_only_when_it_changed() {
    let (scene, _names) = branded("Acme One").await;
    let first = scene.stage.visit::<DashboardPage>(&visit(HOST)).await.unwrap();
    assert_eq!((first.code(), header(&first, "cache-control")), (200, "private, no-cache".into()));
    assert!(header(&first, "content-security-policy").contains("frame-ancestors 'none'"));
    let mut again = visit(HOST);
    again.headers.insert("if-none-match".into(), header(&first, "etag"));
    assert_eq!(scene.stage.visit::<DashboardPage>(&again).await.unwrap().code(), 304);
    let SetBranding(full) = SetBranding::example();
    let footer = Some("Acme Two GmbH, Lange Stra\u{df}e 1, 20095 Hamburg".into());
    let version = scene.draft("acme", Look { name: "Acme Two".into(), footer, ..full }).await;
    scene.activate("acme", version).await;
    at_home(&scene, Some("Acme Two")).await;
    let changed = scene.stage.visit::<DashboardPage>(&again).await.unwrap();
    assert_eq!(changed.code(), 200);
    assert!(shown("dashboard", text(changed)).contains("Acme Two"));
    shown("login", text(scene.stage.visit::<LoginPage>(&visit(HOST)).await.unwrap()));
}

#[tokio::test]
async fn a_preview_shows_a_draft_to_its_holder_and_to_nobody_else() {
    let (scene, _names) = branded("Live Look").await;
    let draft = scene.draft("acme", look("Draft Look")).await;
    let asked = Preview { version: Some(draft), page: Page::Login, minutes: 5 };
    let link = scene.stage.ask("brander", "acme", &asked).await.unwrap();
    let token = link.url.rsplit('/').next().unwrap().to_owned();
    let at = |host: &str, token: &str| {
        let mut visit = visit(host);
        visit.params.insert("token".into(), token.into());
        visit
    };
    for host in [HOST, "127.0.0.1"] {
        let reply = scene.stage.visit::<PreviewPage>(&at(host, &token)).await.unwrap();
        assert_eq!((reply.code(), header(&reply, "cache-control")), (200, "no-store".into()));
        assert!(header(&reply, "x-robots-tag").contains("noindex"));
        let page = shown("preview", text(reply));
        assert!(page.contains("Sign in to Draft Look") && page.contains(&format!("Preview of version {draft}")));
    }
    // The live page has nothing of it, and never had.
    at_home(&scene, Some("Live Look")).await;
    assert!(!text(scene.stage.visit::<LoginPage>(&visit(HOST)).await.unwrap()).contains("Draft"));

    for forged in ["", "x", &token[1..], &token[..token.len() - 1], &format!("{token}A")] {
        assert_eq!(scene.stage.visit::<PreviewPage>(&at(HOST, forged)).await.unwrap_err().0, 404);
    }
    assert_eq!(scene.stage.ask("brander", "globex", &asked).await.unwrap_err().0, 404);
}

#[tokio::test]
async fn a_preview_link_that_is_over_shows_nothing_and_what_it_showed_was_kept_by_nobody() {
    let (scene, _names) = branded("Live Look").await;
    scene.draft("acme", look("Draft Look")).await;
    let asked = Preview { version: None, page: Page::Login, minutes: 1 };
    let link = scene.stage.ask("brander", "acme", &asked).await.unwrap();
    let token = link.url.rsplit('/').next().unwrap().to_owned();
    let mut visit = visit(HOST);
    visit.params.insert("token".into(), token.clone());
    let shown = scene.stage.visit::<PreviewPage>(&visit).await.unwrap();
    assert_eq!(
        (shown.code(), header(&shown, "cache-control"), header(&shown, "etag")),
        (200, "no-store".into(), String::new())
    );
    // The same link, signed with the same key, whose end has come.
    let (body, _) = token.split_once('.').unwrap();
    let body = BASE64_URL_SAFE_NO_PAD.decode(body).unwrap();
    let mut shown: serde_json::Value = serde_json::from_slice(&body).unwrap();
    shown["e"] = (shown["e"].as_i64().unwrap() - 61).into();
    let body = shown.to_string();
    let key: Vec<u8> = sqlx::query_scalar("select value from brander.keys where name = 'preview'")
        .fetch_one(&scene.stage.db)
        .await
        .unwrap();
    let sign = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key), body.as_bytes());
    let over = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(&body), BASE64_URL_SAFE_NO_PAD.encode(sign));
    visit.params.insert("token".into(), over);
    let reply = scene.stage.visit::<PreviewPage>(&visit).await.unwrap();
    assert_eq!((reply.code(), header(&reply, "cache-control")), (410, "no-store".into()));
    assert!(!text(reply).contains("Draft Look"));
    at_home(&scene, Some("Live Look")).await;
}

#[tokio::test]
async fn a_preview_of_one_tenant_is_not_shown_at_the_host_of_another() {
    let (scene, _names) = branded("Acme Look").await;
    let draft = scene.draft("globex", look("Acme Look, please sign in")).await;
    let link = scene
        .stage
        .ask("brander", "globex", &Preview { version: Some(draft), page: Page::Login, minutes: 5 })
        .await
        .unwrap();
    let mut visit = visit(HOST);
    visit.params.insert("token".into(), link.url.rsplit('/').next().unwrap().into());
    assert_eq!(scene.stage.visit::<PreviewPage>(&visit).await.unwrap_err().0, 404);
}

#[tokio::test]
async fn a_version_is_shown_as_readers_will_get_it() {
    let scene = Scene::new().await;
    scene.draft("acme", look("Acme")).await;
    let brand = scene.stage.ask("brander", "acme", &BrandOfVersion { version: None }).await.unwrap();
    assert_eq!((brand.name.as_str(), brand.revision, brand.face.unwrap().version), ("Acme", 0, 1));
    assert_eq!(scene.stage.ask("brander", "globex", &BrandOfVersion { version: None }).await.unwrap_err().0, 404);
}
