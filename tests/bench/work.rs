//! Commands a second through a worker with everything on, beside bare loops that write the same rows and publish the same
//! event. The backlog is there before the clock starts.

use std::time::{Duration, Instant};

use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::Catalogue;
use omnibus_schemas::greeter::Greet;
use sqlx::postgres::PgPoolOptions;

use crate::bare::{self, Commit};
use crate::figures::{Series, Table};

pub(crate) async fn run(postgres: &Postgres, rounds: usize, commands: usize) -> anyhow::Result<Table> {
    let contestants: [(&str, Option<Commit>); 4] = [
        ("Omnibus, an ordinary Handle", None),
        ("bare, one transaction a message, 64 at once", Some(Commit::Each(64))),
        ("bare, one transaction for 256", Some(Commit::Batch(256))),
        ("bare, one transaction for 1024", Some(Commit::Batch(1024))),
    ];
    let mut series = vec![Series::default(); contestants.len()];
    for round in 0..=rounds {
        for ((_, commit), series) in contestants.iter().zip(&mut series) {
            let took = once(postgres, commands, *commit).await?;
            if round > 0 {
                series.push(commands as f64 / took.as_secs_f64());
            }
        }
    }
    let omnibus = series[0].median();
    let rows = contestants.iter().zip(&series).map(|((name, _), series)| {
        vec![(*name).to_owned(), series.to_string(), format!("{:.2}", omnibus / series.median())]
    });
    Ok(Table {
        title: format!("Commands a second, {commands} waiting: median (least..most) of {rounds} rounds"),
        columns: vec!["", "commands/s", "Omnibus to this"],
        rows: rows.collect(),
    })
}

/// On a fresh bus and database each time: the backlog first, then the clock.
async fn once(postgres: &Postgres, commands: usize, commit: Option<Commit>) -> anyhow::Result<Duration> {
    let stage = Stage::with(Catalogue::omnibus(), omnibus_bus::Settings::default(), postgres).await;
    stage.backlog("acme", commands, |n| Greet { name: format!("guest {}", n % 1000) }).await;
    let bus = stage.connect("greeter").await;
    match commit {
        Some(commit) => {
            let db = PgPoolOptions::new().max_connections(64).connect(&stage.database_url).await?;
            for statement in [
                "create schema bare",
                "create table bare.inbox (message_id uuid primary key, at timestamptz default now())",
                "create table bare.rows (id uuid primary key, body bytea)",
            ] {
                sqlx::query(statement).execute(&db).await?;
            }
            bare::consume(&bus, &db, commands, commit).await
        }
        None => {
            let worker = minimal_worker::worker(minimal_worker::Settings {})?;
            let began = Instant::now();
            let running = stage.run(worker).await;
            loop {
                let (pending, out) = stage.lane("greeter", "default").await;
                if pending == 0 && out == 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let took = began.elapsed();
            running.stop().await;
            Ok(took)
        }
    }
}
