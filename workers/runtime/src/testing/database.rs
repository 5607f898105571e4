//! A database per test: cloned from one that is migrated once per process.

use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::Mutex;

use crate::local::Postgres;
use crate::migrate::Migrations;

/// Cloning needs a template that nobody is connected to, and PostgreSQL clones one at a time.
static TEMPLATE: Mutex<Vec<String>> = Mutex::const_new(Vec::new());

/// A new database with `migrations` applied.
pub(super) async fn fresh(postgres: &Postgres, migrations: Migrations) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let template = format!("template_{}", migrations.schema);
    let mut made = TEMPLATE.lock().await;
    let server = postgres.url("postgres");
    let mut db = PgConnection::connect(&server).await.expect("PostgreSQL answers");
    let key = postgres.url(&template);
    if !made.contains(&key) {
        execute(&mut db, format!("create database {template}")).await;
        let pool = PgPoolOptions::new().max_connections(1).connect(&key).await.expect("the template answers");
        migrations.apply(&pool).await.expect("the migrations apply");
        pool.close().await;
        made.push(key);
    }
    execute(&mut db, format!("create database {name} template {template}")).await;
    db.close().await.expect("PostgreSQL says goodbye");
    postgres.url(&name)
}

async fn execute(db: &mut PgConnection, statement: String) {
    sqlx::query(AssertSqlSafe(statement)).execute(db).await.expect("the kit may create databases");
}
