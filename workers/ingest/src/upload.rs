//! A command that brings a file: the file goes into the object store as it arrives, the command carries a reference.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::object_store::{ObjectMetadata, ObjectStore, PutErrorKind};
use axum::body::Body;
use axum::extract::RawPathParams;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use futures_util::TryStreamExt;
use omnibus_runtime::clock;
use omnibus_schemas::bucket::UPLOADS;
use omnibus_schemas::upload::FIELD;
use omnibus_schemas::{Encoding, Object, Upload};
use serde_json::{Map, Value};
use tokio::io::AsyncReadExt;
use tokio_util::io::StreamReader;

use crate::accept::Taken;
use crate::caller::Caller;
use crate::door::Shared;
use crate::problem::Problem;
use crate::routes::CommandRoute;

/// The slowest line that a file may come over, in bytes a second, beyond the time that any body has.
const SLOWEST: u64 = 64 * 1024;

/// Reads the fields, stores the file, and makes the command of both. What is refused leaves no file behind; a file whose
/// command is refused by the bus goes with the age of its bucket.
pub(crate) async fn take(
    door: &Arc<Shared>,
    route: &CommandRoute,
    upload: Upload,
    path: &RawPathParams,
    parts: &Parts,
    caller: &Caller,
    body: Body,
) -> Result<Taken, Problem> {
    let content_type = media_type(&parts.headers, upload)?;
    let said = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|said| said > upload.max_bytes) {
        return Err(too_large(upload));
    }
    let mut fields = route.fields.of_path(path);
    route.fields.add_query(&mut fields, &parts.uri)?;
    if fields.contains_key(FIELD) {
        return Err(Problem::malformed("The field `object` is the file itself: send it as the body."));
    }
    // What can be refused without the file is refused before it is read.
    let tenant = caller.tenant.as_str();
    command(route, &fields, &Object::example(tenant, &content_type))?;
    door.shedding.pass(&route.entry)?;

    let away = || Problem::bus_away("The bus does not answer. Nothing was accepted; try again.").after(2);
    if !*door.bus.connected().borrow() {
        return Err(away());
    }
    let store = door.bus.jetstream().get_object_store(UPLOADS).await.map_err(|error| {
        tracing::warn!(%error, "the object store of uploads does not answer");
        away()
    })?;
    let patience = door.settings.body_timeout() + Duration::from_secs(upload.max_bytes / SLOWEST);
    let name = format!("{tenant}/{}", clock::new_id());
    let stored = tokio::time::timeout(patience, stored(&store, name.clone(), upload, body)).await;
    let (size, sha256) = match stored {
        Ok(Ok(Stored { size, .. })) if size > upload.max_bytes => {
            forget(&store, &name).await;
            return Err(too_large(upload));
        }
        Ok(Ok(Stored { size: 0, .. })) => {
            forget(&store, &name).await;
            return Err(Problem::malformed("The body is empty: it must be the file."));
        }
        Ok(Ok(Stored { size, sha256 })) => (size, sha256),
        Ok(Err(problem)) => return Err(problem),
        Err(_) => return Err(Problem::slow_body("The file took too long to arrive.")),
    };
    let object = Object { bucket: UPLOADS.to_owned(), name, size, sha256, content_type };
    let payload = Bytes::from(command(route, &fields, &object)?);
    // The same file sent again lies under another name.
    let same = Bytes::from(command(route, &fields, &Object { name: format!("{tenant}/same"), ..object })?);
    Ok(Taken { payload, same })
}

fn command(route: &CommandRoute, fields: &Map<String, Value>, object: &Object) -> Result<Vec<u8>, Problem> {
    let mut whole = fields.clone();
    whole.insert(FIELD.to_owned(), serde_json::to_value(object).expect("a reference is plain data"));
    let whole = serde_json::to_vec(&Value::Object(whole)).expect("a JSON value is always written");
    (route.entry.accept)(Encoding::Json, &whole).map_err(Problem::invalid)
}

/// The media type without its parameters.
fn media_type(headers: &HeaderMap, upload: Upload) -> Result<String, Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bare = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let bare = if bare.is_empty() { "application/octet-stream".to_owned() } else { bare };
    match upload.takes(&bare) && bare.len() <= 100 {
        true => Ok(bare),
        false => {
            let taken = upload.types.join(", ");
            Err(Problem::unsupported_media_type(format!("Send the file with the Content-Type that it has: {taken}.")))
        }
    }
}

fn too_large(upload: Upload) -> Problem {
    Problem::too_large(format!("The file has more than {} bytes.", upload.max_bytes))
}

struct Stored {
    size: u64,
    sha256: String,
}

async fn stored(store: &ObjectStore, name: String, upload: Upload, body: Body) -> Result<Stored, Problem> {
    let bytes = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
    // One byte over the limit tells that there are more, and no more of them are read.
    let mut file = bytes.take(upload.max_bytes + 1);
    let metadata = ObjectMetadata { name, ..ObjectMetadata::default() };
    let info = store.put(metadata, &mut file).await.map_err(|error| match error.kind() {
        PutErrorKind::ReadChunks => Problem::malformed("The body ended before it was whole."),
        _ => {
            tracing::warn!(%error, "a file was not stored");
            Problem::bus_away("The bus did not store the file. Nothing was accepted; try again.").after(2)
        }
    })?;
    let digest = info.digest.as_deref().and_then(|digest| digest.strip_prefix("SHA-256=")).and_then(hexadecimal);
    let sha256 = digest.ok_or_else(|| Problem::internal("The object store told no digest of the file."))?;
    Ok(Stored { size: info.size as u64, sha256 })
}

async fn forget(store: &ObjectStore, name: &str) {
    if let Err(error) = store.delete(name).await {
        tracing::warn!(%error, "a refused file lies in the object store until it is too old");
    }
}

/// Of the URL-safe base64 in which the store writes a digest.
fn hexadecimal(base64: &str) -> Option<String> {
    let digest = URL_SAFE.decode(base64).ok()?;
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
