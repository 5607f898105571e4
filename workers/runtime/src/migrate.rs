//! Migrations: each worker's tables in a PostgreSQL schema of its own, the runtime's in `bus`. They expand, then
//! contract: a version that is being rolled out stands beside the one before.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, PgPool, SqlSafeStr};

/// A schema and what makes it: files named `0001_what.sql`, in order.
#[derive(Debug, Clone, Copy)]
pub struct Migrations {
    /// The PostgreSQL schema; made if it is not there.
    pub schema: &'static str,
    /// Name and SQL.
    pub files: &'static [(&'static str, &'static str)],
}

/// The runtime's own tables.
pub const BUS: Migrations = Migrations {
    schema: "bus",
    files: &[
        ("0001_inbox", include_str!("../migrations/0001_inbox.sql")),
        ("0002_unpublished", include_str!("../migrations/0002_unpublished.sql")),
        ("0003_closing", include_str!("../migrations/0003_closing.sql")),
    ],
};

/// Why a database is not as this version needs it.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// Migrations are missing.
    #[error("the schema '{schema}' lacks migrations ({applied} of {known} applied); run `omnibus migrate`")]
    Pending {
        /// Where.
        schema: &'static str,
        /// How many are applied.
        applied: i64,
        /// How many this version knows.
        known: i64,
    },
    /// The database's words.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The migrator's words.
    #[error("the schema '{schema}': {error}")]
    Migrate {
        /// Where.
        schema: &'static str,
        /// What.
        error: sqlx::migrate::MigrateError,
    },
}

impl Migrations {
    /// Applies what is missing. Several processes may do so at once.
    pub async fn apply(&self, db: &PgPool) -> Result<(), MigrationError> {
        let list = self.files.iter().map(|(name, sql)| {
            let (version, what) = name.split_once('_').expect("a migration is named 0001_what");
            let version = version.parse().expect("a migration's name begins with its number");
            let kind = MigrationType::Simple;
            Migration::new(version, Cow::Borrowed(what), kind, (*sql).into_sql_str(), false)
        });
        let mut migrator = Migrator::with_migrations(list.collect());
        migrator.create_schema(self.schema);
        migrator.dangerous_set_table_name(format!("{}._migrations", self.schema));
        migrator.run(db).await.map_err(|error| MigrationError::Migrate { schema: self.schema, error })
    }

    /// # Errors
    /// If migrations that this version knows are not applied. More than it knows is fine: a newer version stands beside.
    pub async fn check(&self, db: &PgPool) -> Result<(), MigrationError> {
        let known = i64::try_from(self.files.len()).unwrap_or(i64::MAX);
        let table = format!("{}._migrations", self.schema);
        let there: Option<String> =
            sqlx::query_scalar("select to_regclass($1)::text").bind(&table).fetch_one(db).await?;
        let applied: i64 = match there {
            None => 0,
            Some(_) => {
                let count = format!("select count(*) from {table} where success");
                sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(db).await?
            }
        };
        match applied >= known {
            true => Ok(()),
            false => Err(MigrationError::Pending { schema: self.schema, applied, known }),
        }
    }
}
