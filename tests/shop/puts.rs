//! What a put does: its row, and then the end that it was told.

use std::time::Duration;

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use omnibus_runtime::{Cx, Events, Fail, Handle, HandleMany, One, Policy};
use sqlx::PgConnection;
use uuid::Uuid;

use super::workers::{Shop, number, policy};
use super::{Put, PutDone};

impl<const SECONDS: u64> Handle<Put> for Shop<SECONDS> {
    const POLICY: Policy = policy(SECONDS);

    async fn handle(&self, cx: &mut Cx<'_>, cmd: Put) -> Result<Events, Fail> {
        let (tenant, id, now) = (cx.tenant().to_owned(), cx.meta().id, cx.now());
        sqlx::query("insert into shop.things (tenant, thing, command_id) values ($1, $2, $3)")
            .bind(tenant)
            .bind(&cmd.thing)
            .bind(id)
            .execute(cx.db())
            .await?;
        self.put(cx.db(), id, now, cmd).await
    }
}

impl<const SECONDS: u64> HandleMany<Put> for Shop<SECONDS> {
    const POLICY: Policy = policy(SECONDS);

    async fn handle_many(
        &self,
        db: &mut PgConnection,
        many: Vec<One<'_, Put>>,
    ) -> Result<Vec<Result<Events, Fail>>, Fail> {
        sqlx::query("insert into shop.things select * from unnest($1::text[], $2::text[], $3::uuid[])")
            .bind(many.iter().map(One::tenant).collect::<Vec<_>>())
            .bind(many.iter().map(|one| one.command.thing.as_str()).collect::<Vec<_>>())
            .bind(many.iter().map(|one| one.meta().id).collect::<Vec<_>>())
            .execute(&mut *db)
            .await?;
        // How many it gets at once is for the tests to see.
        self.times(&format!("many-{}", many.len()), many[0].meta().id);
        let mut answers = Vec::new();
        for one in many {
            let (id, now) = (one.meta().id, one.now());
            match one.command.how.as_str() {
                "whole" => return Err(Fail::Retry(anyhow!("told to fail as a whole"))),
                "silent" => {}
                _ => answers.push(self.put(db, id, now, one.command).await),
            }
        }
        Ok(answers)
    }
}

impl<const SECONDS: u64> Shop<SECONDS> {
    /// Ends as the command says, after its row is written.
    async fn put(&self, db: &mut PgConnection, id: Uuid, now: DateTime<Utc>, cmd: Put) -> Result<Events, Fail> {
        let done = Events::of(PutDone { thing: cmd.thing.clone() });
        let once_more = |how: &str| Put { thing: cmd.thing.clone(), how: how.into() };
        match cmd.how.split(':').next().unwrap_or_default() {
            "fail" if cmd.how == "fail" || self.times("put", id) <= number(&cmd.how) => {
                Err(Fail::Retry(anyhow!("told to fail")))
            }
            "panic" => panic!("told to panic"),
            "hang" => std::future::pending().await,
            "reject" => Err(Fail::reject("no_room", "the shop is full")),
            "snooze" if self.times("snooze", id) == 1 => Err(Fail::Snooze(Duration::from_millis(number(&cmd.how)))),
            "database" => {
                sqlx::query("select 1/0").execute(db).await?;
                Ok(done)
            }
            "then" => Ok(Events::none().then(once_more("")).join(done)),
            "later" => {
                let at = now + Duration::from_millis(number(&cmd.how));
                Ok(done.then_at(at, once_more("")))
            }
            "nothing" => Ok(Events::none()),
            "past" => Ok(done.then_at(now - Duration::from_secs(3600), once_more(""))),
            "snoozes" if self.times("snooze", id) <= number(&cmd.how) => Err(Fail::Snooze(Duration::from_millis(1))),
            // What PostgreSQL says when two transactions wait for each other, when it goes down, and when it is broken.
            "deadlock" if self.times("put", id) <= number(&cmd.how) => raise(db, "40P01").await,
            "locks" => {
                self.times("locks", id);
                for lock in cmd.how.trim_start_matches("locks:").split(',').filter_map(|lock| lock.parse::<i64>().ok())
                {
                    sqlx::query("select pg_advisory_xact_lock($1), pg_sleep(0.05)")
                        .bind(lock)
                        .execute(&mut *db)
                        .await?;
                }
                Ok(done)
            }
            "cut" if self.times("put", id) <= number(&cmd.how) => {
                sqlx::query("select pg_terminate_backend(pg_backend_pid())").execute(db).await?;
                Ok(done)
            }
            "broken" => raise(db, "XX000").await,
            "swallow" => {
                let _ = sqlx::query("select 1/0").execute(db).await;
                Ok(done)
            }
            "nowhere" => Ok(done.then_in("nowhere", once_more(""))),
            "large" => Ok(Events::of(PutDone { thing: cmd.thing.repeat(300_000) })),
            "nul" => Err(Fail::Retry(anyhow!("a zero byte: \0"))),
            "telling" => Err(Fail::Retry(anyhow!("no room for {}", cmd.thing))),
            _ => Ok(done),
        }
    }
}

async fn raise(db: &mut PgConnection, code: &'static str) -> Result<Events, Fail> {
    let statement = format!("do $$ begin raise exception using errcode = '{code}'; end $$");
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(db).await?;
    Ok(Events::none())
}
