//! Files: from the door's upload to what browsers and mails get.

use std::io::Cursor;

use omnibus_runtime::Visit;
use omnibus_runtime::testing::Told;
use omnibus_schemas::Object;
use omnibus_schemas::brander::{AssetHash, Assets, LogoAssets, SetBranding, StoredAsset, UploadAsset};
use omnibus_schemas::bucket::UPLOADS;

use crate::scene::{Scene, look, refusal};

pub(crate) fn png() -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(8, 4, image::Rgb([200, 30, 30])).write_to(&mut out, image::ImageFormat::Png).unwrap();
    out.into_inner()
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
