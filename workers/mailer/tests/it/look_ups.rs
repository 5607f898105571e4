//! What PostgreSQL reads and writes for a mail does not grow with what is there already.

use omnibus_mailer::worker;
use omnibus_runtime::settings::WorkSettings;
use omnibus_runtime::testing::Stage;
use omnibus_runtime::{Health, Parts};
use omnibus_schemas::mailer::{BatchRecipient, CancelEmail, SendBatch};
use omnibus_schemas::{Catalogue, Command as _};
use serde_json::{Map, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use uuid::Uuid;

use crate::scene::{done, email, run, stage, until};
use crate::server::SmtpServer;

/// What the database's statistics say once nobody can add to them: a connection's counts are told at the latest when it
/// ends.
async fn counted(stage: &Stage, query: &'static str) -> (i64, i64) {
    stage.db.close().await;
    let db = PgPoolOptions::new().max_connections(1).connect(&stage.database_url).await.unwrap();
    let others = "select count(*) from pg_stat_activity
        where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()";
    let ask = || async { sqlx::query_scalar::<_, i64>(others).fetch_one(&db).await.unwrap() };
    until(ask, |others| *others == 0).await;
    sqlx::query_as(query).fetch_one(&db).await.unwrap()
}

/// Mails with a secret that are told "later": each of their attempts but the first looks into the ledger twice.
async fn told_later(stage: &Stage, mails: usize) -> Vec<Uuid> {
    let mut ids = vec![];
    for _ in 0..mails {
        let secret = email(|e| {
            e.to = vec!["defer@example.com".into()];
            e.confidential = true;
        });
        ids.push(stage.publish("acme", &secret).await);
    }
    ids
}

/// Waits for so many attempts beside the first ones. Returns how many there are.
async fn repeated(stage: &Stage, attempts: i64) -> i64 {
    let ask = || async {
        let tries = "select coalesce(sum(tries), 0)::bigint from mailer.recipients";
        sqlx::query_scalar::<_, i64>(tries).fetch_one(&stage.db).await.unwrap()
    };
    until(ask, |tries| *tries >= attempts).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_says_of_a_mail_is_found_by_its_key_however_much_stands_there() {
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let worker = worker(server.settings(&["--smtp-timeout", "5"])).unwrap();
    worker.migrations().unwrap().apply(&stage.db).await.unwrap();
    // Statements keep the plans that they get at first, by each connection for itself.
    let options: PgConnectOptions = stage.database_url.parse().unwrap();
    let options = options.options([("plan_cache_mode", "force_generic_plan")]);
    let parts = Parts {
        bus: stage.connect("mailer").await,
        db: PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap(),
        catalogue: Catalogue::omnibus(),
        settings: WorkSettings::defaults(),
        health: Health::default(),
        stop: Default::default(),
    };
    let stop = parts.stop.clone();
    let running = tokio::spawn(worker.run(parts));

    let mails = told_later(&stage, 8).await;
    let early = stage.publish("acme", &CancelEmail { email_id: mails[0] }).await;
    stage.outcome(early).await;
    let before = repeated(&stage, 4).await;
    sqlx::query(
        "insert into bus.attempts (consumer, tenant, message_id, number, attempt_id, plan, started_at, lease_until,
             closed_at, result)
         select 'mailer_default', 'acme', gen_random_uuid(), 1, gen_random_uuid(), '', now(), now(), now(), 'done'
         from generate_series(1, 3000)",
    )
    .execute(&stage.db)
    .await
    .unwrap();
    repeated(&stage, before + 8).await;
    for email_id in mails {
        let cancel = stage.publish("acme", &CancelEmail { email_id }).await;
        stage.outcome(cancel).await;
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    let (written, read) = counted(
        &stage,
        "select n_tup_ins, seq_tup_read
             + (select sum(idx_tup_read)::bigint from pg_stat_user_indexes where relid = 'bus.attempts'::regclass)
         from pg_stat_user_tables where relid = 'bus.attempts'::regclass",
    )
    .await;
    assert!(written > 3000 && read < 3000, "{read} rows were read, {written} were there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batchs_rows_are_written_without_reading_the_batch_for_each_of_them() {
    const ROWS: usize = 500;
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    let running = run(&stage, &server).await;
    let to = |n: usize| BatchRecipient { to: format!("r{n}@example.com"), variables: Map::new() };
    let recipients = (0..ROWS).map(to).collect();
    done(&stage, "acme", &SendBatch { recipients, stream: "transactional".into(), ..SendBatch::example() }).await;
    running.stop().await;
    let (written, read) = counted(
        &stage,
        "select n_tup_ins, seq_tup_read
             + (select sum(idx_tup_read)::bigint from pg_stat_user_indexes where relid = t.relid)
         from pg_stat_user_tables t where relid = 'mailer.batch_rows'::regclass",
    )
    .await;
    assert_eq!(written, ROWS as i64);
    // Each for each before it would be 125,000.
    assert!(read < 60 * written, "{read} rows were read for {written}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_mail_is_written_beside_it_and_no_index_once_more() {
    const MAILS: usize = 300;
    let server = SmtpServer::start(json!({})).await;
    let stage = stage().await;
    stage.backlog("acme", MAILS, |n| email(|e| e.to = vec![format!("r{n}@example.com")])).await;
    let running = run(&stage, &server).await;
    until(|| stage.lane("mailer", "default"), |lane| *lane == (0, 0)).await;
    running.stop().await;
    let (written, beside) = counted(
        &stage,
        "select sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint from pg_stat_user_tables
         where relid in ('mailer.emails'::regclass, 'mailer.recipients'::regclass)",
    )
    .await;
    assert!(written >= 2 * MAILS as i64, "{written} rows were written once more");
    assert!(beside * 10 >= written * 9, "{beside} of {written} were written beside what stood there");
}
