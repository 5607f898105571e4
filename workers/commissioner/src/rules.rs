//! A program's rules, by version.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use omnibus_runtime::Fail;
use omnibus_schemas::commissioner::SetProgram;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};

/// A program as it stands.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) version: i32,
    pub(crate) effective_from: DateTime<Utc>,
    pub(crate) next_run_at: Option<DateTime<Utc>>,
    pub(crate) rules: SetProgram,
}

impl Program {
    /// The program and its latest rules.
    pub(crate) async fn find(db: &mut PgConnection, tenant: &str, program: &str) -> Result<Option<Self>, sqlx::Error> {
        let row = sqlx::query(
            "select p.version, p.next_run_at, r.effective_from, r.rules
             from commissioner.programs p
             join commissioner.rules r on (r.tenant, r.program, r.version) = (p.tenant, p.program, p.version)
             where p.tenant = $1 and p.program = $2",
        )
        .bind(tenant)
        .bind(program)
        .fetch_optional(db)
        .await?;
        row.map(|row| {
            Ok(Program {
                version: row.try_get("version")?,
                effective_from: row.try_get("effective_from")?,
                next_run_at: row.try_get("next_run_at")?,
                rules: row.try_get::<Json<SetProgram>, _>("rules")?.0,
            })
        })
        .transpose()
    }

    /// The program, or a business no.
    pub(crate) async fn wanted(db: &mut PgConnection, tenant: &str, program: &str) -> Result<Self, Fail> {
        Program::find(db, tenant, program).await?.ok_or_else(|| no_program(program))
    }
}

pub(crate) fn no_program(program: &str) -> Fail {
    Fail::reject("no_such_program", format!("program: there is no program {program}; PUT it first"))
}

/// Versions that were read before. A version never changes, and only committed ones get here: they are made in another
/// lane than the one that reads them.
#[derive(Debug, Default)]
pub(crate) struct RuleBook(Mutex<HashMap<(String, String, i32), Arc<SetProgram>>>);

/// Versions kept; beyond it, all are read again.
const KEPT: usize = 10_000;

impl RuleBook {
    pub(crate) async fn version(
        &self,
        db: &mut PgConnection,
        tenant: &str,
        program: &str,
        version: i32,
    ) -> Result<Arc<SetProgram>, sqlx::Error> {
        let key = (tenant.to_owned(), program.to_owned(), version);
        if let Some(known) = self.0.lock().expect("no panic happens under this lock").get(&key) {
            return Ok(known.clone());
        }
        let Json(rules): Json<SetProgram> = sqlx::query_scalar(
            "select rules from commissioner.rules where tenant = $1 and program = $2 and version = $3",
        )
        .bind(tenant)
        .bind(program)
        .bind(version)
        .fetch_one(db)
        .await?;
        let rules = Arc::new(rules);
        let mut book = self.0.lock().expect("no panic happens under this lock");
        if book.len() >= KEPT {
            book.clear();
        }
        book.insert(key, rules.clone());
        Ok(rules)
    }
}
