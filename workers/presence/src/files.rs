//! Files of rooms, and the links by which they are fetched.
//!
//! A browser fetches a picture without a credential of ours, so a member is given a link: the tenant, the file and the end,
//! signed (HMAC-SHA-256) with a key that the database made.

use chrono::TimeDelta;
use omnibus_runtime::signed::Signer;
use omnibus_runtime::{Answer, Ask, AskError, At, Receive, Reply, Visit, clock};
use omnibus_schemas::presence::{FILES, File, FileContent, FileLink, RoomFile};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::Presence;
use crate::share_file::name_of;
use crate::who::may_read;

/// How long a link is good.
const GOOD: TimeDelta = TimeDelta::minutes(5);

/// What a link gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Given {
    /// The tenant.
    t: String,
    /// The file.
    f: Uuid,
    /// When it ends, in seconds since 1970.
    e: i64,
}

/// A row of `presence.files`.
pub(crate) fn read(row: &PgRow) -> Result<File, sqlx::Error> {
    Ok(File {
        file_id: row.try_get("file_id")?,
        filename: row.try_get("filename")?,
        content_type: row.try_get("content_type")?,
        size: row.try_get("size")?,
        sha256: row.try_get("sha256")?,
    })
}

impl Answer<RoomFile> for Presence {
    async fn answer(&self, ask: &mut Ask<'_>, query: RoomFile) -> Result<FileLink, AskError> {
        may_read(ask, &query.room_id).await?;
        let row = sqlx::query(
            "select * from presence.files
             where tenant = $1 and room_id = $2 and file_id = $3 and shared_at is not null",
        )
        .bind(ask.tenant)
        .bind(query.room_id.as_str())
        .bind(query.file_id)
        .fetch_optional(&mut *ask.db)
        .await?;
        let row = row.ok_or_else(|| AskError::NotFound("the room has no such file".to_owned()))?;
        let until = clock::now() + GOOD;
        let given = Given { t: ask.tenant.to_owned(), f: query.file_id, e: until.timestamp() };
        let path = format!("/room-files/{}", signer(ask.db).await?.write(&given));
        Ok(FileLink { file: read(&row)?, path, until })
    }
}

impl Receive<FileContent> for Presence {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        let link = visit.params.get("link").map(String::as_str).unwrap_or_default();
        let gone = || AskError::NotFound("this link is good for nothing any more, or never was".to_owned());
        let given: Option<Given> = signer(at.db).await?.read(link);
        let given = given.filter(|given| given.e > at.now.timestamp()).ok_or_else(gone)?;
        let row =
            sqlx::query("select * from presence.files where tenant = $1 and file_id = $2 and shared_at is not null")
                .bind(&given.t)
                .bind(given.f)
                .fetch_optional(&mut *at.db)
                .await?;
        let file = read(&row.ok_or_else(gone)?)?;
        Ok(Reply::status(200)
            .download(&file.filename)
            .header("cache-control", "private, max-age=300")
            .object(FILES, name_of(&given.t, given.f)))
    }
}

async fn signer(db: &mut PgConnection) -> Result<Signer, sqlx::Error> {
    let key: Vec<u8> = sqlx::query_scalar("select secret from presence.link_key").fetch_one(db).await?;
    Ok(Signer::new(&key))
}
