//! Files in rooms.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use omnibus_presence::{Settings, worker};
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::{Stage, Told};
use omnibus_runtime::{Reply, Visit};
use omnibus_schemas::bucket::UPLOADS;
use omnibus_schemas::platform::Outcome;
use omnibus_schemas::presence::{DeleteMessage, FILES, FileContent, JoinRoom, PostMessage, RoomFile, ShareFile};
use omnibus_schemas::{Catalogue, Object, Token};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use crate::{Scene, post, token};

pub(crate) const BYTES: &[u8] = b"hello";

impl Scene {
    /// As the door does it: the file, then the command that names it.
    pub(crate) async fn uploaded(&self, tenant: &str) -> Object {
        let store = self.stage.operator.jetstream().get_object_store(UPLOADS).await.unwrap();
        let object = Object {
            name: format!("{tenant}/{}", omnibus_runtime::clock::new_id()),
            ..Object::example(tenant, "text/plain")
        };
        let mut bytes = BYTES;
        store.put(object.name.as_str(), &mut bytes).await.unwrap();
        object
    }

    /// Brings a file into a room.
    pub(crate) async fn shared(&self, tenant: &str, room: &str, user: &str) -> (Uuid, Told) {
        let object = self.uploaded(tenant).await;
        self.done(tenant, &share(room, user, object)).await
    }

    /// Fetches by a link, as the door does.
    async fn fetched(&self, path: &str) -> Result<Reply, (u16, String)> {
        let link = path.strip_prefix("/room-files/").unwrap().to_owned();
        let params = BTreeMap::from([("link".to_owned(), link)]);
        self.stage.visit::<FileContent>(&Visit { method: "GET".into(), params, ..Visit::default() }).await
    }

    async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&self.stage.db).await.unwrap()
    }
}

pub(crate) fn share(room: &str, user: &str, object: Object) -> ShareFile {
    ShareFile { room_id: token(room), user: Some(token(user)), filename: "plan ü.txt".into(), object }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_kept_by_the_room_and_named_by_its_authors_messages_alone() {
    let scene = Scene::new().await;
    for (tenant, user) in [("acme", "ada"), ("acme", "bob"), ("globex", "ada")] {
        scene.join(tenant, "lobby", user).await;
    }
    let object = scene.uploaded("acme").await;
    assert_eq!(scene.refused("globex", &share("lobby", "ada", object.clone())).await, "foreign_object");
    assert_eq!(scene.refused("acme", &share("lobby", "eve", object.clone())).await, "not_a_member");
    let (file_id, told) = scene.done("acme", &share("lobby", "ada", object.clone())).await;
    assert_eq!((told.name.as_str(), &told.data["size"]), ("file_shared", &json!(5)));
    // What was uploaded goes with its age; the room's copy stays.
    let js = scene.stage.operator.jetstream();
    js.get_object_store(UPLOADS).await.unwrap().delete(&object.name).await.unwrap();
    let kept = js.get_object_store(FILES).await.unwrap();
    let mut bytes = Vec::new();
    kept.get(format!("acme/{file_id}")).await.unwrap().read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, BYTES);

    let naming = |user: &str, file: Uuid| PostMessage { attachments: vec![file], ..post("lobby", user, "See this") };
    let (_, posted) = scene.done("acme", &naming("ada", file_id)).await;
    assert_eq!(posted.name, "message_posted");
    let entry = scene.log("rooms.room.lobby.acme").await.pop().unwrap();
    assert_eq!(entry["attachments"][0]["filename"], "plan ü.txt");
    assert_eq!(entry["attachments"][0]["file_id"], json!(file_id));
    // Neither another's file, nor one that there is not, nor another tenant's.
    for (tenant, user, file) in [("acme", "bob", file_id), ("acme", "ada", Uuid::nil()), ("globex", "ada", file_id)] {
        let (_, told) = scene.done(tenant, &naming(user, file)).await;
        assert_eq!(told.data["faults"][0]["pointer"], "/attachments/0", "{tenant} {user}");
    }
    let ask = |room: Token| RoomFile { room_id: room, file_id };
    let link = scene.stage.ask("presence", "acme", &ask(token("lobby"))).await.unwrap();
    assert!(link.path.starts_with("/room-files/") && link.until > omnibus_runtime::clock::now(), "{link:?}");
    assert_eq!(scene.stage.ask("presence", "globex", &ask(token("lobby"))).await.unwrap_err().0, 404);
    assert_eq!(scene.stage.ask("presence", "acme", &ask(token("other"))).await.unwrap_err().0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_with_the_last_message_that_names_it_and_its_link_with_the_file() {
    let scene = Scene::new().await;
    scene.join("acme", "lobby", "ada").await;
    let (file_id, _) = scene.shared("acme", "lobby", "ada").await;
    let (kept, _) = scene.shared("acme", "lobby", "ada").await;
    let mut messages = Vec::new();
    // One names it twice.
    for attachments in [vec![file_id, file_id], vec![file_id, kept], vec![kept]] {
        messages.push(scene.done("acme", &PostMessage { attachments, ..post("lobby", "ada", "See this") }).await.0);
    }
    let ask = |file_id| RoomFile { room_id: token("lobby"), file_id };
    let link = scene.stage.ask("presence", "acme", &ask(file_id)).await.unwrap();
    let reply = scene.fetched(&link.path).await.unwrap();
    assert_eq!(reply.code(), 200);
    let header = |name: &str| reply.headers().iter().find(|(header, _)| header == name).map(|(_, value)| value.clone());
    assert_eq!(header("content-type").unwrap(), "application/octet-stream", "no browser is to run it");
    assert_eq!(header("content-disposition").unwrap(), "attachment; filename*=UTF-8''plan%20%C3%BC.txt");
    assert_eq!(reply.into_body().1, Some((FILES.to_owned(), format!("acme/{file_id}"))));
    assert_eq!(scene.fetched(&format!("{}x", link.path)).await.unwrap_err().0, 404, "nobody signed that");

    let take_back = |message_id| DeleteMessage { room_id: token("lobby"), message_id, user: Some(token("ada")) };
    scene.done("acme", &take_back(messages[0])).await;
    assert!(scene.fetched(&link.path).await.is_ok(), "another message names it");
    scene.done("acme", &take_back(messages[1])).await;
    assert_eq!(scene.fetched(&link.path).await.unwrap_err().0, 404);
    assert_eq!(scene.stage.ask("presence", "acme", &ask(file_id)).await.unwrap_err().0, 404);
    assert!(scene.stage.ask("presence", "acme", &ask(kept)).await.is_ok());
    // What lay in the store goes afterwards.
    let store = scene.stage.operator.jetstream().get_object_store(FILES).await.unwrap();
    let gone = async {
        while scene.count("select count(*) from presence.discarded").await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), gone).await.expect("what is discarded is removed");
    assert!(store.get(format!("acme/{file_id}")).await.is_err());
    assert!(store.get(format!("acme/{kept}")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_has_ended_is_good_for_nothing() {
    let scene = Scene::new().await;
    scene.join("acme", "lobby", "ada").await;
    let (file_id, _) = scene.shared("acme", "lobby", "ada").await;
    let link = scene.stage.ask("presence", "acme", &RoomFile { room_id: token("lobby"), file_id }).await.unwrap();
    let (body, _) = link.path.strip_prefix("/room-files/").unwrap().split_once('.').unwrap();
    let mut given: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap();
    assert_eq!(given["e"], link.until.timestamp());
    // Signed with the same key, as if it had been given out at another time.
    let key: Vec<u8> =
        sqlx::query_scalar("select secret from presence.link_key").fetch_one(&scene.stage.db).await.unwrap();
    let now = omnibus_runtime::clock::now().timestamp();
    for (ends, good) in [(now + 60, true), (now - 1, false)] {
        given["e"] = ends.into();
        let body = serde_json::to_vec(&given).unwrap();
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&key).unwrap();
        mac.update(&body);
        let (body, sign) = (BASE64_URL_SAFE_NO_PAD.encode(body), mac.finalize().into_bytes());
        let path = format!("/room-files/{body}.{}", BASE64_URL_SAFE_NO_PAD.encode(sign));
        assert_eq!(
            scene.fetched(&path).await.map(|_| ()).map_err(|(code, _)| code),
            if good { Ok(()) } else { Err(404) }
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_and_a_tenant_have_so_much_room_for_files() {
    let scene = Scene::new().await;
    for user in ["ada", "bob"] {
        scene.join("acme", "lobby", user).await;
    }
    let fill = "insert into presence.files (tenant, room_id, file_id, user_id, filename, content_type, size, sha256)
                values ('acme', 'lobby', $1, $2, 'x', 'text/plain', $3, '')";
    let fill = |n: u128, user: &'static str, size: i64| {
        sqlx::query(fill).bind(Uuid::from_u128(n)).bind(user).bind(size).execute(&scene.stage.db)
    };
    // What is being copied counts.
    fill(1, "ada", 1 << 30).await.unwrap();
    let refused = async |user: &str| scene.refused("acme", &share("lobby", user, scene.uploaded("acme").await)).await;
    assert_eq!(refused("ada").await, "too_many_files");
    assert_eq!(scene.shared("acme", "lobby", "bob").await.1.name, "file_shared");
    fill(2, "carol", 10 << 30).await.unwrap();
    assert_eq!(refused("bob").await, "too_many_files");
    scene.join("globex", "lobby", "ada").await;
    assert_eq!(scene.shared("globex", "lobby", "ada").await.1.name, "file_shared");
    // Nor does anybody have any number of small ones.
    let many = "insert into presence.files (tenant, room_id, file_id, user_id, filename, content_type, size, sha256)
                select 'globex', 'lobby', gen_random_uuid(), 'ada', 'x', 'text/plain', 1, ''
                from generate_series(1, 9999)";
    sqlx::query(many).execute(&scene.stage.db).await.unwrap();
    let (_, told) = scene.shared("globex", "lobby", "ada").await;
    assert_eq!(told.data["code"], "too_many_files", "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_could_not_be_copied_takes_no_room_and_leaves_nothing() {
    let stage = Stage::new(Catalogue::omnibus()).await;
    let work = WorkSettings { attempts: Some(1), ..WorkSettings::defaults() };
    let running = stage.run_with(worker(Settings::defaults()).unwrap(), work).await;
    let scene = Scene { stage, _running: running };
    scene.done("acme", &JoinRoom { room_id: token("lobby"), user: Some(token("ada")) }).await;
    // Nobody has uploaded it.
    let object =
        Object { name: format!("acme/{}", omnibus_runtime::clock::new_id()), ..Object::example("acme", "text/plain") };
    let (_, told) = scene.done("acme", &share("lobby", "ada", object)).await;
    assert_eq!(told.outcome, Some(Outcome::DeadLettered));
    assert_eq!(scene.count("select count(*) from presence.files").await, 0);
}
