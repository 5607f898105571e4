//! Files: from the door's upload to what browsers and mails get.

use std::io::Cursor;

use omnibus_brander::{Settings, worker};
use omnibus_runtime::Visit;
use omnibus_runtime::testing::Told;
use omnibus_schemas::Object;
use omnibus_schemas::brander::{
    ActivateBranding, AssetHash, Assets, CancelSchedule, LogoAssets, Look, RemoveAsset, RollbackBranding,
    ScheduleBranding, SetBranding, StoredAsset, UploadAsset,
};
use omnibus_schemas::bucket::UPLOADS;

use crate::scene::{PATIENCE, Scene, look, refusal};

pub(crate) fn png() -> Vec<u8> {
    coloured([200, 30, 30])
}

fn coloured(colour: [u8; 3]) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(8, 4, image::Rgb(colour)).write_to(&mut out, image::ImageFormat::Png).unwrap();
    out.into_inner()
}

/// A look with this logo.
fn with_logo(name: &str, light: &AssetHash) -> Look {
    Look { logo: Some(LogoAssets { light: light.clone(), dark: None, width: 100, height: 50 }), ..look(name) }
}

/// As the door does it: the file into the store, then the command.
pub(crate) async fn upload(scene: &Scene, tenant: &str, owner: &str, bytes: &[u8]) -> Told {
    let store = scene.stage.operator.jetstream().get_object_store(UPLOADS).await.unwrap();
    let name = format!("{owner}/{}", omnibus_runtime::clock::new_id());
    store.put(name.as_str(), &mut &bytes[..]).await.unwrap();
    let object = Object { name, size: bytes.len() as u64, ..Object::example(owner, "image/png") };
    scene.tell(tenant, &UploadAsset { object }).await
}

pub(crate) fn hash(told: &Told) -> AssetHash {
    assert_eq!(told.name, "asset_stored", "{}", told.data);
    AssetHash(told.data["hash"].as_str().unwrap().to_owned())
}

async fn get(scene: &Scene, hash: &str) -> Result<omnibus_runtime::Reply, (u16, String)> {
    let params = [("hash".to_owned(), hash.to_owned())].into();
    scene.stage.visit::<StoredAsset>(&Visit { method: "GET".into(), params, ..Visit::default() }).await
}

#[tokio::test]
async fn a_picture_is_stored_once_under_its_hash_and_served_for_good_in_a_sandbox() {
    let scene = Scene::new().await;
    let told = upload(&scene, "acme", "acme", &png()).await;
    let hash = hash(&told);
    assert_eq!(
        (&told.data["kind"], &told.data["width"], &told.data["mail_hash"]),
        (&"png".into(), &8.into(), &hash.0.as_str().into())
    );
    let reply = get(&scene, &hash.0).await.unwrap();
    let header =
        |name: &str| reply.headers().iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap();
    assert_eq!(header("content-type"), "image/png");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(header("content-security-policy").ends_with("sandbox"));
    assert!(header("cache-control").contains("immutable"));
    let (_, object) = reply.into_body();
    assert_eq!(object, Some(("assets".to_owned(), hash.0.clone())));

    // The same file of another tenant is the same content, and a row of its own.
    let other = upload(&scene, "globex", "globex", &png()).await;
    assert_eq!(self::hash(&other), hash);
    for tenant in ["acme", "globex"] {
        let page = scene.stage.ask("brander", tenant, &Assets { after: None, limit: 10 }).await.unwrap();
        assert_eq!(page.assets.iter().map(|row| &row.hash).collect::<Vec<_>>(), [&hash]);
    }
    for unknown in ["", "0", &"0".repeat(64), &"../".repeat(22), &hash.0.to_uppercase()] {
        assert_eq!(get(&scene, unknown).await.unwrap_err().0, 404, "{unknown}");
    }
}

#[tokio::test]
async fn a_drawing_is_stored_clean_and_mails_get_a_picture_of_it() {
    let scene = Scene::new().await;
    let drawing = br#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10" onload="alert(1)"><script>alert(1)</script><rect width="20" height="10" fill="red"/></svg>"#;
    let told = upload(&scene, "acme", "acme", drawing).await;
    let light = hash(&told);
    let store = scene.stage.operator.jetstream().get_object_store("assets").await.unwrap();
    let mut stored = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut store.get(&light.0).await.unwrap(), &mut stored).await.unwrap();
    assert_eq!(
        String::from_utf8(stored).unwrap(),
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 20 10\"><rect width=\"20\" height=\"10\" fill=\"red\"/></svg>"
    );
    let mail = told.data["mail_hash"].as_str().unwrap().to_owned();
    assert_ne!(mail, light.0);
    let reply = get(&scene, &mail).await.unwrap();
    assert!(reply.headers().contains(&("content-type".to_owned(), "image/png".to_owned())));

    // In the brand, pages get the drawing and mails the picture.
    let mut branded = look("Acme");
    branded.logo = Some(LogoAssets { light: light.clone(), dark: None, width: 100, height: 50 });
    let version = scene.draft("acme", branded.clone()).await;
    scene.activate("acme", version).await;
    let shown = scene.shown("acme").await.unwrap();
    assert_eq!(shown.logo.unwrap().url, format!("http://127.0.0.1:8080/assets/{mail}"));
    assert_eq!(shown.face.unwrap().logo.unwrap().light, light);

    // Another tenant can't dress in it.
    assert_eq!(refusal(&scene.tell("globex", &SetBranding(branded)).await).0, "asset_unknown");
}

#[tokio::test]
async fn what_is_no_picture_or_another_tenants_is_refused_and_stores_nothing() {
    let scene = Scene::new().await;
    for (bytes, code) in [
        (&b"GIF89a"[..], "kind_unknown"),
        (b"\x89PNG\r\n\x1a\nnot really", "picture_broken"),
        (b"<html><script>alert(1)</script></html>", "drawing_refused"),
        (b"wOF2 and no more", "font_broken"),
    ] {
        assert_eq!(refusal(&upload(&scene, "acme", "acme", bytes).await).0, code);
    }
    assert_eq!(refusal(&upload(&scene, "acme", "globex", &png()).await).0, "foreign_object");
    let page = scene.stage.ask("brander", "acme", &Assets { after: None, limit: 10 }).await.unwrap();
    assert_eq!(page.assets, []);
    let mut wrong = look("Acme");
    wrong.font = Some(hash(&upload(&scene, "acme", "acme", &png()).await));
    assert_eq!(refusal(&scene.tell("acme", &SetBranding(wrong)).await).0, "asset_kind");
}

#[tokio::test]
async fn an_asset_is_removed_once_nothing_that_is_to_be_shown_shows_it() {
    let scene = Scene::new().await;
    let logo = hash(&upload(&scene, "acme", "acme", &png()).await);
    let remove = RemoveAsset { hash: logo.clone() };
    let first = scene.draft("acme", with_logo("First", &logo)).await;
    scene.activate("acme", first).await;
    let (code, words) = refused(&scene, &remove).await;
    assert!(code == "asset_in_use" && words.contains("version 1 shows it and is active"), "{words}");
    let second = scene.draft("acme", look("Second")).await;
    let third = scene.draft("acme", with_logo("Third", &logo)).await;
    scene.activate("acme", second).await;
    assert!(refused(&scene, &remove).await.1.contains("version 3 shows it and is the newest"));
    scene.draft("acme", look("Fourth")).await;
    let from = omnibus_runtime::clock::now() + chrono::TimeDelta::days(1);
    let scheduled = ScheduleBranding { version: third, from, until: None };
    let told = scene.tell("acme", &scheduled).await;
    assert!(refused(&scene, &remove).await.1.contains("version 3 shows it and is scheduled"));
    let schedule_id = told.data["schedule_id"].as_str().unwrap().parse().unwrap();
    scene.tell("acme", &CancelSchedule { schedule_id }).await;

    // Another tenant's is another's: theirs stays, and so does the content.
    upload(&scene, "globex", "globex", &png()).await;
    let removed = scene.tell("acme", &remove).await;
    assert_eq!((removed.name.as_str(), &removed.data["hash"]), ("asset_removed", &logo.0.as_str().into()));
    assert_eq!(refused(&scene, &remove).await.0, "asset_unknown");
    assert!(get(&scene, &logo.0).await.is_ok());
    scene.tell("globex", &remove).await;
    assert_eq!(get(&scene, &logo.0).await.unwrap_err().0, 404);

    // What lacks it is not shown by anybody's order, and a rollback shows the rest.
    for told in [
        scene.tell("acme", &ActivateBranding { version: Some(third) }).await,
        scene.tell("acme", &scheduled).await,
        scene.tell("acme", &SetBranding(with_logo("Fifth", &logo))).await,
    ] {
        assert!(["asset_removed", "asset_unknown"].contains(&refusal(&told).0), "{}", told.data);
    }
    assert_eq!(scene.tell("acme", &RollbackBranding {}).await.name, "branding_activated");
    let shown = scene.shown("acme").await.unwrap();
    assert_eq!((shown.name.as_str(), shown.logo, shown.face.unwrap().logo), ("First", None, None));

    // Uploaded again, it is there again.
    assert_eq!(hash(&upload(&scene, "acme", "acme", &png()).await), logo);
    scene.activate("acme", third).await;
    assert_eq!(scene.shown("acme").await.unwrap().face.unwrap().logo.unwrap().light, logo);
}

async fn refused(scene: &Scene, remove: &RemoveAsset) -> (String, String) {
    let told = scene.tell("acme", remove).await;
    let (code, words) = refusal(&told);
    (code.to_owned(), words.to_owned())
}

#[tokio::test]
async fn a_content_is_cleared_away_when_it_is_nobodys_and_nobody_is_about_to_store_it() {
    let scene = Scene::new().await;
    let mut all = vec![];
    for (colour, tenant) in [([1, 1, 1], "acme"), ([2, 2, 2], "acme"), ([3, 3, 3], "acme"), ([3, 3, 3], "globex")] {
        let hash = hash(&upload(&scene, tenant, tenant, &coloured(colour)).await);
        if tenant == "acme" {
            scene.tell("acme", &RemoveAsset { hash: hash.clone() }).await;
            all.push(hash);
        }
    }
    let [nobodys, claimed, shared] = all.try_into().unwrap();
    sqlx::query("update brander.contents set claimed_at = now() - interval '2 days' where hash <> $1")
        .bind(&claimed.0)
        .execute(&scene.stage.db)
        .await
        .unwrap();
    // The next one clears when it begins.
    let Scene { stage, _running } = scene;
    _running.stop().await;
    let _running = stage.run(worker(Settings::defaults()).unwrap()).await;
    let store = stage.operator.jetstream().get_object_store("assets").await.unwrap();
    // Its row goes last, with the transaction in which the object went.
    let row = "select exists (select from brander.contents where hash = $1)";
    let there = || sqlx::query_scalar::<_, bool>(row).bind(&nobodys.0).fetch_one(&stage.db);
    let gone = async { while there().await.unwrap() {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("it is cleared away");
    assert!(!store.info(&nobodys.0).await.is_ok_and(|info| !info.deleted));
    for kept in [&claimed, &shared] {
        assert!(store.info(&kept.0).await.is_ok_and(|info| !info.deleted), "{}", kept.0);
    }
    let left: Vec<String> =
        sqlx::query_scalar("select hash from brander.contents order by hash").fetch_all(&stage.db).await.unwrap();
    let mut wanted = [claimed.0, shared.0];
    wanted.sort();
    assert_eq!(left, wanted);

    // What went can come back.
    let scene = Scene { stage, _running };
    assert_eq!(hash(&upload(&scene, "acme", "acme", &coloured([1, 1, 1])).await), nobodys);
    assert!(store.info(&nobodys.0).await.is_ok_and(|info| !info.deleted));
}
