//! A domain of files and plain HTTP: pictures are uploaded, shown by a link, and noted upon by somebody else's webhook.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use omnibus_runtime::{AskError, At, Cx, Desk, Events, Fail, Handle, Receive, Reply, Visit, Worker};
use omnibus_schemas::{Bucket, Catalogue, Command, Domain, Event, Hook, Http, Object, Upload};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use uuid::Uuid;

/// A catalogue with the gallery alone.
pub fn catalogue() -> Catalogue {
    let domain = Domain::new("gallery", "Gallery (for tests)")
        .command::<HangPicture>()
        .command::<Note>()
        .event::<PictureHung>()
        .event::<Noted>()
        .hook::<Picture>()
        .hook::<Notes>()
        .owns(Bucket::objects("pictures", "What hangs"))
        .owns(Bucket::values("labels", "What is written below"));
    Catalogue::new(vec![domain])
}

/// Hangs a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema, garde::Validate)]
pub struct HangPicture {
    /// Its title.
    #[garde(length(chars, min = 1, max = 40))]
    pub title: String,
    /// The file.
    #[garde(dive)]
    pub object: Object,
}

impl Command for HangPicture {
    const DOMAIN: &'static str = "gallery";
    const NAME: &'static str = "hang_picture";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/gallery/pictures"));
    const SCOPE: &'static str = "gallery:hang";
    const UPLOAD: Option<Upload> = Some(Upload { max_bytes: 2 << 20, types: &["image/*", "text/plain"] });

    fn example() -> Self {
        HangPicture { title: "Sunrise".into(), object: Object::example("acme", "image/png") }
    }
}

/// Notes what somebody said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema, garde::Validate)]
pub struct Note {
    /// What was said.
    #[garde(length(chars, max = 200))]
    pub words: String,
}

impl Command for Note {
    const DOMAIN: &'static str = "gallery";
    const NAME: &'static str = "note";
    const SCOPE: &'static str = "gallery:note";

    fn example() -> Self {
        Note { words: "Nice".into() }
    }
}

/// A picture hangs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PictureHung {
    /// Its title.
    pub title: String,
    /// The file.
    pub object: Object,
}

impl Event for PictureHung {
    const DOMAIN: &'static str = "gallery";
    const NAME: &'static str = "picture_hung";

    fn example() -> Self {
        PictureHung { title: "Sunrise".into(), object: Object::example("acme", "image/png") }
    }
}

/// Something was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Noted {
    /// What.
    pub words: String,
}

impl Event for Noted {
    const DOMAIN: &'static str = "gallery";
    const NAME: &'static str = "noted";

    fn example() -> Self {
        Noted { words: "Nice".into() }
    }
}

/// Shows an uploaded file by its name without the tenant.
pub struct Picture;

impl Hook for Picture {
    const DOMAIN: &'static str = "gallery";
    const NAME: &'static str = "picture";
    const HTTP: Http = Http::get("/gallery/{tenant}/{picture}");
    const SUMMARY: &'static str = "A picture. Public.";
}

/// Takes notes, one a line.
pub struct Notes;

impl Hook for Notes {
    const DOMAIN: &'static str = "gallery";
    const NAME: &'static str = "notes";
    const HTTP: Http = Http::post("/gallery/{tenant}/notes");
    const HEADERS: &'static [&'static str] = &["x-note-id"];
    const MAX_BODY: usize = 64 * 1024;
    const SUMMARY: &'static str = "Notes from elsewhere. Proved by knowing the word.";
}

/// What the worker's tasks have done.
#[derive(Debug, Default)]
pub struct Gallery {
    /// How often the clumsy task started. It fails twice.
    pub clumsy: AtomicU32,
    /// How many tasks of the lonely kind are at work now.
    pub lonely: AtomicU32,
}

/// One replica of the worker.
struct Replica(Arc<Gallery>);

impl Handle<HangPicture> for Replica {
    async fn handle(&self, cx: &mut Cx<'_>, command: HangPicture) -> Result<Events, Fail> {
        if !command.object.is_of(cx.tenant()) {
            return Err(Fail::reject("foreign_object", "the file is not this tenant's"));
        }
        Ok(Events::of(PictureHung { title: command.title, object: command.object }))
    }
}

impl Handle<Note> for Replica {
    async fn handle(&self, _: &mut Cx<'_>, command: Note) -> Result<Events, Fail> {
        Ok(Events::of(Noted { words: command.words }))
    }
}

impl Receive<Picture> for Replica {
    async fn receive(&self, _: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        match visit.params["picture"].as_str() {
            "where" => Ok(Reply::status(200).json(&visit)),
            "moved" => Ok(Reply::redirect("/elsewhere").header("cache-control", "max-age=60")),
            "broken" => Ok(Reply::status(200).header("x-broken", "a\r\nb")),
            "nothing" => Err(AskError::NotFound("there is no such picture".into())),
            name => {
                let name = format!("{}/{name}", visit.params["tenant"]);
                Ok(Reply::status(200).header("content-type", "image/png").object("uploads", name))
            }
        }
    }
}

impl Receive<Notes> for Replica {
    async fn receive(&self, _: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        let Ok(text) = String::from_utf8(visit.body) else { return Ok(Reply::status(400).text("not UTF-8")) };
        let id = visit.headers.get("x-note-id").cloned().unwrap_or_default();
        let notes = text.lines().enumerate();
        Ok(notes.fold(Reply::status(202).text("noted"), |reply, (n, words)| {
            let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{id}/{n}").as_bytes());
            reply.then(&visit.params["tenant"], id, &Note { words: words.to_owned() })
        }))
    }
}

async fn clumsy(gallery: Arc<Replica>, desk: Desk) -> anyhow::Result<()> {
    let time = gallery.0.clumsy.fetch_add(1, Ordering::SeqCst);
    anyhow::ensure!(time != 0, "fell over");
    assert!(time != 1, "fell over worse");
    let label = desk.bus.jetstream().get_key_value("labels").await?;
    label.put("clumsy", "stands".into()).await?;
    let mut file: &[u8] = b"a frame";
    desk.objects("pictures").await?.put("frame", &mut file).await?;
    let mut read = String::new();
    desk.objects("pictures").await?.get("frame").await?.read_to_string(&mut read).await?;
    desk.publish("acme", Uuid::from_u128(1), &Note { words: read }).await?;
    Ok(())
}

async fn lonely(gallery: Arc<Replica>, desk: Desk) -> anyhow::Result<()> {
    let Some(mut alone) = desk.alone("lonely").await? else { return Ok(()) };
    let before = gallery.0.lonely.fetch_add(1, Ordering::SeqCst);
    assert_eq!(before, 0, "another is at work");
    while desk.pause(std::time::Duration::from_millis(20)).await {
        alone.still().await?;
    }
    gallery.0.lonely.fetch_sub(1, Ordering::SeqCst);
    Ok(())
}

/// The gallery's worker. Replicas in one process may share `gallery`.
pub fn worker(gallery: &Arc<Gallery>) -> Worker {
    Worker::new("gallery", Replica(gallery.clone()))
        .handles::<HangPicture>()
        .handles::<Note>()
        .receives::<Picture>()
        .receives::<Notes>()
        .runs("clumsy", clumsy)
        .runs("lonely", lonely)
        .build()
}
