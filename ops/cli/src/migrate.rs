//! `omnibus migrate`: the tables of the runtime and of every worker.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use omnibus_runtime::migrate::MigrationError;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::home::{self, Home};
use crate::parts;
use crate::show::{self, Output};

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// PostgreSQL, as postgres://user:password@host/database; by default the one that `omnibus up` runs.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<SecretString>,
    /// Changes nothing; exits 1 if a migration is missing.
    #[arg(long)]
    check: bool,
}

impl Migrate {
    pub(crate) async fn run(self, home: &Home, output: Output) -> anyhow::Result<ExitCode> {
        let url = match self.database_url {
            Some(url) => url,
            None => match home::read_line(&home.database_url())? {
                Some(url) => url.into(),
                None => bail!("no database is known: set DATABASE_URL, or start one with `omnibus up`"),
            },
        };
        let options = PgPoolOptions::new().max_connections(1).acquire_timeout(std::time::Duration::from_secs(10));
        let db = options.connect(url.expose_secret()).await.context("can't connect to PostgreSQL (DATABASE_URL)")?;
        let mut rows = Vec::new();
        for migrations in parts::migrations()? {
            let before = lacks(migrations.check(&db).await)?;
            let state = match (&before, self.check) {
                (None, _) => "up to date".to_owned(),
                (Some(lack), true) => lack.clone(),
                (Some(lack), false) => {
                    migrations.apply(&db).await?;
                    format!("applied ({lack})")
                }
            };
            rows.push((migrations.schema, migrations.files.len(), state, before.is_some()));
        }
        db.close().await;
        let missing = self.check && rows.iter().any(|(.., lacked)| *lacked);
        match output {
            Output::Table => show::text(&show::table(
                ["schema", "migrations", "state"],
                rows.iter().map(|(schema, files, state, _)| [(*schema).to_owned(), files.to_string(), state.clone()]),
            )),
            Output::Json => show::json(
                &rows
                    .iter()
                    .map(|(schema, files, state, lacked)| {
                        json!({ "schema": schema, "migrations": files, "state": state, "pending": *lacked && self.check })
                    })
                    .collect::<Vec<_>>(),
            ),
        }
        Ok(if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// What is missing, in words; `None` if nothing.
fn lacks(checked: Result<(), MigrationError>) -> anyhow::Result<Option<String>> {
    match checked {
        Ok(()) => Ok(None),
        Err(MigrationError::Pending { applied, known, .. }) => Ok(Some(format!("{applied} of {known} were there"))),
        Err(error) => Err(error.into()),
    }
}

/// Applies everything that is missing.
pub(crate) async fn apply_all(db: &PgPool) -> anyhow::Result<()> {
    for migrations in parts::migrations()? {
        migrations.apply(db).await?;
    }
    Ok(())
}
