//! apalis on PostgreSQL: 64 jobs at once, fetched 200 at a time, each its own statement.

use std::time::Duration;

use apalis::prelude::*;
use apalis_postgres::queries::push_tasks;
use apalis_postgres::{Config, PgPool, PostgresStorage};
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

const QUEUE: &str = "store";

async fn store(body: String, pool: Data<PgPool>) -> Result<(), BoxDynError> {
    sqlx::query("insert into peer.rows (id, body) values ($1, $2)")
        .bind(Uuid::new_v4())
        .bind(body)
        .execute(&*pool)
        .await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxDynError> {
    let pool = PgPoolOptions::new().max_connections(30).connect(&std::env::var("DATABASE_URL")?).await?;
    PostgresStorage::setup(&pool).await?;
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [verb, jobs] = &arguments[..]
        && verb == "enqueue"
    {
        let jobs: usize = jobs.parse()?;
        let mut db = pool.acquire().await?;
        for at in (0..jobs).step_by(500) {
            let bodies = (at..jobs.min(at + 500)).map(|n| serde_json::to_vec(&format!("{n:0>245}")));
            let tasks = bodies.map(|body| Ok(TaskBuilder::new(body?).build()));
            push_tasks(&mut *db, QUEUE, tasks.collect::<serde_json::Result<_>>()?).await?;
        }
        return Ok(());
    }
    let config = Config::default().queue(QUEUE).batch_size(200).persist_results(false);
    let storage = PostgresStorage::<String>::new(&pool)
        .with_config(config)
        .poll_with_interval(Duration::from_millis(5));
    let worker = WorkerBuilder::new("worker").backend(storage).data(pool).parallelize(tokio::spawn).concurrency(64);
    worker.build(store).run().await?;
    Ok(())
}
