//! The ledger of erasures as a file beside the tiles, outside of the database: a restore to an earlier moment brings
//! destroyed keys back, so every start destroys again what the file says, before anything is read or opened.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use uuid::Uuid;

use crate::keys::hex;

#[derive(Debug)]
pub(crate) struct Ledger {
    file: PathBuf,
    replayed: AtomicBool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    tenant: String,
    erasure_id: Uuid,
    pseudonym: String,
    reason: String,
    erased_at: DateTime<Utc>,
}

impl Ledger {
    pub(crate) fn new(folder: &std::path::Path) -> Self {
        Ledger { file: folder.join("erasures.jsonl"), replayed: AtomicBool::new(false) }
    }

    /// Is the database known to have no key that the file says was destroyed?
    pub(crate) fn replayed(&self) -> bool {
        self.replayed.load(Ordering::Acquire)
    }

    /// Destroys again what the file says.
    pub(crate) async fn replay(&self, db: &PgPool) -> anyhow::Result<()> {
        let text = match tokio::fs::read_to_string(&self.file).await {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("{} can't be read", self.file.display())),
        };
        let (mut again, mut tenants, mut ids) = (0, Vec::new(), Vec::new());
        for (n, line) in text.lines().enumerate() {
            let line: Line = match serde_json::from_str(line) {
                Ok(line) => line,
                // A kill may have cut the last line; its row is still unfiled, and comes again.
                Err(_) if n + 1 == text.lines().count() && !text.ends_with('\n') => break,
                Err(_) => anyhow::bail!("line {} of {} can't be read", n + 1, self.file.display()),
            };
            again += destroy(db, &line).await?;
            tenants.push(line.tenant);
            ids.push(line.erasure_id);
        }
        let lost = sqlx::query(
            "update auditor.erasures e set filed = false
             where e.filed and not exists (
                 select from unnest($1::text[], $2::uuid[]) as x(tenant, erasure_id)
                 where x.tenant = e.tenant and x.erasure_id = e.erasure_id)",
        )
        .bind(tenants)
        .bind(ids)
        .execute(db)
        .await?
        .rows_affected();
        if lost > 0 {
            tracing::warn!(lost, "the ledger of erasures lacks what the database has; it is written down again");
        }
        if again > 0 {
            tracing::warn!(again, "people's keys were back, as after a restore; they are destroyed again");
        }
        self.replayed.store(true, Ordering::Release);
        Ok(())
    }

    /// Writes down what the database has and the file has not.
    pub(crate) async fn file(&self, db: &PgPool) -> anyhow::Result<()> {
        let rows: Vec<Unfiled> = sqlx::query_as(
            "select tenant, erasure_id, pseudonym, reason, erased_at from auditor.erasures
             where not filed order by erased_at limit 1000",
        )
        .fetch_all(db)
        .await?;
        if rows.is_empty() {
            return Ok(());
        }
        let (mut text, mut ids) = (String::new(), Vec::new());
        for (tenant, erasure_id, pseudonym, reason, erased_at) in rows {
            ids.push(erasure_id);
            let line = Line { tenant, erasure_id, pseudonym: hex(&pseudonym), reason, erased_at };
            text.push_str(&serde_json::to_string(&line)?);
            text.push('\n');
        }
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || append(&file, &text)).await??;
        // Said twice in the file is harmless; not at all is not.
        sqlx::query("update auditor.erasures set filed = true where not filed and erasure_id = any($1)")
            .bind(ids)
            .execute(db)
            .await?;
        Ok(())
    }
}

/// Tenant, erasure, pseudonym, reason, when: as the table has it.
type Unfiled = (String, Uuid, Vec<u8>, String, DateTime<Utc>);

fn append(path: &std::path::Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // A line that a kill has cut is taken away first: what follows it would be lost with it.
    if let Ok(there) = std::fs::read_to_string(path)
        && !there.is_empty()
        && !there.ends_with('\n')
    {
        let whole = there.rfind('\n').map_or(0, |at| at + 1);
        std::fs::OpenOptions::new().write(true).open(path)?.set_len(whole as u64)?;
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(())
}

async fn destroy(db: &PgPool, line: &Line) -> anyhow::Result<u64> {
    let done = sqlx::query(
        "with erasure as (
             insert into auditor.erasures (tenant, erasure_id, pseudonym, reason, erased_at, filed)
             values ($1, $2, decode($3, 'hex'), $4, $5, true) on conflict do nothing)
         insert into auditor.subjects as s (tenant, pseudonym, wrapped, erased_at)
         values ($1, decode($3, 'hex'), null, $5)
         on conflict (tenant, pseudonym) do update set wrapped = null, erased_at = excluded.erased_at
         where s.wrapped is not null",
    )
    .bind(&line.tenant)
    .bind(line.erasure_id)
    .bind(&line.pseudonym)
    .bind(&line.reason)
    .bind(line.erased_at)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
