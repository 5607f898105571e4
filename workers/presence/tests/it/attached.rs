//! Files in rooms.

use omnibus_schemas::bucket::UPLOADS;
use omnibus_schemas::presence::{FILES, PostMessage, RoomFile, ShareFile};
use omnibus_schemas::{Object, Token};
use serde_json::json;
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use crate::{Scene, post, token};

const BYTES: &[u8] = b"hello";

impl Scene {
    /// As the door does it: the file, then the command that names it.
    async fn uploaded(&self, tenant: &str) -> Object {
        let store = self.stage.operator.jetstream().get_object_store(UPLOADS).await.unwrap();
        let object = Object {
            name: format!("{tenant}/{}", omnibus_runtime::clock::new_id()),
            ..Object::example(tenant, "text/plain")
        };
        let mut bytes = BYTES;
        store.put(object.name.as_str(), &mut bytes).await.unwrap();
        object
    }
}

fn share(room: &str, user: &str, object: Object) -> ShareFile {
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
