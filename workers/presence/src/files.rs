//! Files of rooms, and the links by which they are fetched.
//!
//! A browser fetches a picture without a credential of ours, so a member is given a link: the tenant, the file and the end,
//! signed (HMAC-SHA-256) with a key that the database made.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use hmac::{Hmac, Mac};
use omnibus_runtime::{Answer, Ask, AskError, At, Receive, Reply, Visit, clock};
use omnibus_schemas::presence::{FILES, File, FileContent, FileLink, RoomFile};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
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
        let path = format!("/room-files/{}", write(&key(ask.db).await?, &given));
        Ok(FileLink { file: read(&row)?, path, until })
    }
}

impl Receive<FileContent> for Presence {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        let link = visit.params.get("link").map(String::as_str).unwrap_or_default();
        let gone = || AskError::NotFound("this link is good for nothing any more, or never was".to_owned());
        let given = check(&key(at.db).await?, link).filter(|given| given.e > at.now.timestamp()).ok_or_else(gone)?;
        let row =
            sqlx::query("select * from presence.files where tenant = $1 and file_id = $2 and shared_at is not null")
                .bind(&given.t)
                .bind(given.f)
                .fetch_optional(&mut *at.db)
                .await?;
        let file = read(&row.ok_or_else(gone)?)?;
        // Nobody has looked into it: a browser must neither guess what it is nor run it.
        Ok(Reply::status(200)
            .header("content-type", "application/octet-stream")
            .header("content-disposition", disposition(&file.filename))
            .header("content-security-policy", "sandbox; default-src 'none'")
            .header("x-content-type-options", "nosniff")
            .header("cache-control", "private, max-age=300")
            .header("referrer-policy", "no-referrer")
            .object(FILES, name_of(&given.t, given.f)))
    }
}

/// To be saved under its own name. RFC 6266, RFC 8187.
fn disposition(filename: &str) -> String {
    let encoded: String = filename
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("attachment; filename*=UTF-8''{encoded}")
}

async fn key(db: &mut PgConnection) -> Result<Vec<u8>, sqlx::Error> {
    sqlx::query_scalar("select secret from presence.link_key").fetch_one(db).await
}

fn mac(key: &[u8], body: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(body);
    mac
}

fn write(key: &[u8], given: &Given) -> String {
    let body = serde_json::to_vec(given).expect("it has string keys and no failing serializers");
    let sign = BASE64_URL_SAFE_NO_PAD.encode(mac(key, &body).finalize().into_bytes());
    format!("{}.{sign}", BASE64_URL_SAFE_NO_PAD.encode(body))
}

/// What a link gives; `None` if nobody here signed it.
fn check(key: &[u8], link: &str) -> Option<Given> {
    let (body, sign) = link.split_once('.')?;
    let body = BASE64_URL_SAFE_NO_PAD.decode(body).ok()?;
    let sign = BASE64_URL_SAFE_NO_PAD.decode(sign).ok()?;
    mac(key, &body).verify_slice(&sign).ok()?;
    serde_json::from_slice(&body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_gives_what_was_signed_and_nothing_else() {
        let given = Given { t: "acme".into(), f: Uuid::from_u128(7), e: 1_000_000 };
        let link = write(&[1; 32], &given);
        assert_eq!(check(&[1; 32], &link), Some(given.clone()));
        assert_eq!(check(&[2; 32], &link), None);
        let (body, sign) = link.split_once('.').unwrap();
        let other = write(&[1; 32], &Given { t: "globex".into(), ..given });
        let (other, _) = other.split_once('.').unwrap();
        for forged in
            ["", ".", body, &format!("{other}.{sign}"), &format!("{body}."), &format!("{body}.{}", &sign[1..])]
        {
            assert_eq!(check(&[1; 32], forged), None, "{forged}");
        }
    }

    #[test]
    fn a_name_can_not_leave_its_header() {
        assert_eq!(
            disposition("plan \"b\";\r\nü.pdf"),
            "attachment; filename*=UTF-8''plan%20%22b%22%3B%0D%0A%C3%BC.pdf"
        );
    }
}
