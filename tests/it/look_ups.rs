//! What a database that has just begun looks like to PostgreSQL's planner.
//!
//! Of a table that was never analysed it knows nothing: any tenant seems to have next to no rows, so any index that begins with
//! the tenant seems as good as the primary key. A statement prepared then stays as it is until the table is analysed, a
//! minute and tens of thousands of rows later.

use std::ops::RangeInclusive;
use std::time::Instant;

use sqlx::Row;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::catalogue::workers;
use crate::scene::{Scene, eventually, headers, put};
use omnibus_runtime::RunError;
use omnibus_runtime::testing::{PATIENCE, Stage};
use omnibus_schemas::Catalogue;
use omnibus_schemas::platform::HeldCommands;

/// Tables that never hold so many rows of a tenant, or of what else their key begins with, that it matters.
const SMALL: [&str; 7] = [
    "auditor.audits",
    "auditor.evidence",
    "auditor.findings",
    "auditor.policies",
    "auditor.risks",
    "brander.certificate_orders",
    // Only changes of a message look for it.
    "presence.messages",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_looked_up_by_its_whole_key_also_when_nothing_is_known_of_its_table() {
    let stage = Stage::new(Catalogue::omnibus()).await;
    let home = tempfile::tempdir().unwrap();
    for worker in workers(home.path()) {
        stage.run(worker).await.stop().await;
    }
    let mut db = stage.db.acquire().await.unwrap();
    let keys = sqlx::query(
        "select i.indrelid::regclass::text as table, array_agg(a.attname::text order by k.n) as columns,
            array_agg(format_type(a.atttypid, a.atttypmod) order by k.n) as types
         from pg_index i join pg_class t on t.oid = i.indrelid and t.relkind = 'r'
         cross join unnest(i.indkey) with ordinality k (attribute, n)
         join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attribute
         where i.indisprimary and t.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
         group by i.indrelid order by 1",
    )
    .fetch_all(&mut *db)
    .await
    .unwrap();
    assert!(keys.len() > 60, "the tables of all workers are there: {}", keys.len());
    sqlx::raw_sql("set plan_cache_mode = force_generic_plan").execute(&mut *db).await.unwrap();
    let mut elsewhere = vec![];
    for (n, key) in keys.iter().enumerate() {
        let (table, columns, types): (String, Vec<String>, Vec<String>) =
            (key.get("table"), key.get("columns"), key.get("types"));
        let wanted: Vec<_> = columns.iter().enumerate().map(|(at, name)| format!("\"{name}\" = ${}", at + 1)).collect();
        let prepared =
            format!("prepare look_{n} ({}) as select * from {table} where {}", types.join(", "), wanted.join(" and "));
        sqlx::raw_sql(sqlx::AssertSqlSafe(prepared)).execute(&mut *db).await.unwrap();
        let explained = format!("explain execute look_{n} ({})", vec!["null"; columns.len()].join(", "));
        let plan = sqlx::raw_sql(sqlx::AssertSqlSafe(explained)).fetch_all(&mut *db).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        // What stands beside a condition of an index is a filter: rows that are read in vain.
        if plan.iter().any(|line| line.contains("Filter:") || line.contains("Seq Scan")) {
            elsewhere.push(table);
        }
    }
    elsewhere.retain(|table| !SMALL.contains(&table.as_str()));
    assert!(elsewhere.is_empty(), "let no other index of these begin as their key does: {elsewhere:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_migration_that_lies_beside_a_worker_is_carried_out() {
    let stage = Stage::new(Catalogue::omnibus()).await;
    let home = tempfile::tempdir().unwrap();
    for worker in workers(home.path()) {
        stage.run(worker).await.stop().await;
    }
    let mut folders = 0;
    for folder in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../workers")).unwrap() {
        let folder = folder.unwrap().path();
        let Ok(files) = std::fs::read_dir(folder.join("migrations")) else { continue };
        let files = files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "sql"));
        let schema = match folder.file_name().unwrap().to_str().unwrap() {
            "runtime" => "bus",
            worker => worker,
        };
        let done = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {schema}._migrations")));
        let done: i64 = done.fetch_one(&stage.db).await.unwrap();
        assert_eq!(files.count(), usize::try_from(done).unwrap(), "{schema}: a file that no worker names does nothing");
        folders += 1;
    }
    assert!(folders >= 7, "{folders} have tables");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_call_reads_its_own_row_however_many_there_are() {
    let scene = Scene::new().await;
    let running = scene.run().await;
    let charged = async |count: usize| {
        let mut ids = vec![];
        for _ in 0..count {
            ids.push(scene.charge("ok", "done").await);
        }
        for id in ids {
            scene.stage.outcome(id).await;
        }
    };
    // How to look up is settled while the table is all but empty.
    for _ in 0..10 {
        charged(1).await;
    }
    scene
        .sql(
            "insert into bus.inbox (consumer, tenant, message_id, name, sequence, deliveries, outcome, received_at,
                finished_at, published_at)
             select consumer, tenant, gen_random_uuid(), name, sequence, deliveries, outcome, received_at, finished_at,
                published_at
             from bus.inbox, generate_series(1, 300)",
        )
        .await;
    charged(40).await;
    // A connection's counts are told at the latest when it ends.
    running.stop().await;
    scene.stage.db.close().await;
    let counts = "select n_tup_ins, seq_tup_read + idx_tup_fetch from pg_stat_user_tables
        where relid = 'bus.inbox'::regclass";
    let told = async {
        loop {
            let mut db = <sqlx::PgConnection as sqlx::Connection>::connect(&scene.stage.database_url).await.unwrap();
            let (written, read): (i64, i64) = sqlx::query_as(counts).fetch_one(&mut db).await.unwrap();
            // What was taken back and written once more counts twice.
            if written >= 10 + 3000 + 40 {
                break read;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let read = tokio::time::timeout(PATIENCE, told).await.expect("the counts are told");
    assert!(read < 3000, "{read} rows were read for 50 calls");
}

/// A worker whose statements keep the plans that they get at first, as all do that are carried out a few times before there
/// are rows.
struct Early {
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

impl Early {
    async fn run(scene: &Scene, republish_after_seconds: u64) -> Self {
        scene.migrate().await;
        let mut parts = scene.parts("shop").await;
        let options: PgConnectOptions = scene.stage.database_url.parse().unwrap();
        let options = options.options([("plan_cache_mode", "force_generic_plan")]);
        // Plans are kept by each connection for itself.
        parts.db = PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        parts.settings.republish_after_seconds = republish_after_seconds;
        let (stop, worker) = (parts.stop.clone(), scene.worker());
        Early { stop, task: tokio::spawn(worker.run(parts)) }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Adds rows of ended commands, as wide as such rows are.
async fn fill(scene: &Scene, consumer: &str, numbers: RangeInclusive<u64>, received_at: &str, published_at: &str) {
    let (first, last) = (numbers.start(), numbers.end());
    let rows = format!(
        "insert into bus.inbox (consumer, tenant, message_id, name, sequence, deliveries, outcome, received_at,
            finished_at, published_at, detail)
         select '{consumer}', 'acme', lpad(to_hex(n), 32, '0')::uuid, 'put', n, 1, 'succeeded', {received_at},
            {received_at}, {published_at}, repeat('x', 400)
         from generate_series({first}, {last}) n"
    );
    assert_eq!(scene.sql(&rows).await, last - first + 1);
}

/// One of the shop's rows that [`fill`] has added, as a condition.
fn row(number: u64) -> String {
    format!("consumer = 'shop_default' and tenant = 'acme' and message_id = lpad('{number:x}', 32, '0')::uuid")
}

/// How many rows of the inbox were looked at, in whatever way.
async fn looked_at(scene: &Scene) -> i64 {
    scene.stage.db.close().await;
    let db = PgPoolOptions::new().max_connections(1).connect(&scene.stage.database_url).await.unwrap();
    // A connection's counts are told at the latest when it ends.
    let others = "select count(*) from pg_stat_activity
        where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()";
    eventually("nobody else is connected", || async {
        sqlx::query_scalar::<_, i64>(others).fetch_one(&db).await.unwrap() == 0
    })
    .await;
    let counts = "select seq_tup_read
            + (select sum(idx_tup_read)::bigint from pg_stat_user_indexes where relid = 'bus.inbox'::regclass)
        from pg_stat_user_tables where relid = 'bus.inbox'::regclass";
    sqlx::query_scalar(counts).fetch_one(&db).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_repetitions_retries_and_what_is_held_read_their_own_rows_however_many_there_are() {
    let scene = Scene::new().await;
    let (began, running) = (Instant::now(), Early::run(&scene, 60).await);
    let each_way = async || {
        let id = scene.put("").await;
        scene.stage.outcome(id).await;
        let map = headers(&[("ce-id", &id.to_string())]);
        scene.stage.publish_raw("cmd.shop.default.put.acme", map, serde_json::to_vec(&put("")).unwrap()).await;
        for (how, reconcile) in [("not_done:1", "not_done"), ("unknown", "cannot_tell")] {
            let id = scene.charge(how, reconcile).await;
            scene.stage.outcome(id).await;
        }
        scene.stage.ask("shop", "acme", &HeldCommands { limit: 9 }).await.unwrap();
        eventually("the lane is empty", || async { scene.stage.lane("shop", "default").await == (0, 0) }).await;
    };
    each_way().await;
    fill(&scene, "shop_default", 1..=1000, "now()", "now()").await;
    fill(&scene, "shop_calls", 1..=1000, "now()", "now()").await;
    // Another worker's, of which the bus has nothing yet.
    fill(&scene, "elsewhere_default", 1..=1000, "now()", "null").await;
    for _ in 0..5 {
        each_way().await;
    }
    running.stop().await;
    // Each sweep may look at all that is unpublished. There is one at the start, and one every 15 seconds.
    let sweeps = 1 + (began.elapsed().as_secs() / 15) as i64;
    let read = looked_at(&scene).await;
    assert!(read < 2000 + 1000 * sweeps, "{read} rows were read for 6 commands of each kind, and by {sweeps} sweeps");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweeper_looks_at_what_is_unpublished_and_not_at_all_that_was_ever_done() {
    let scene = Scene::new().await;
    scene.migrate().await;
    fill(&scene, "shop_default", 1..=3000, "now()", "now()").await;
    let running = scene.run_with(|settings| settings.republish_after_seconds = 1).await;
    let row = row(1);
    for _ in 0..3 {
        let left = "set published_at = null, finished_at = now() - interval '10 seconds'";
        assert_eq!(scene.sql(&format!("update bus.inbox {left} where {row}")).await, 1);
        scene.until(&format!("select count(*) from bus.inbox where {row} and published_at is not null"), 1).await;
    }
    running.stop().await;
    let read = looked_at(&scene).await;
    // The trimmer looks at all of them, when the worker starts.
    assert!(read < 6000, "{read} rows were read for 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_of_what_is_unpublished_leads_to_its_rows_however_many_there_are() {
    let scene = Scene::new().await;
    let running = Early::run(&scene, 1).await;
    let noted = async |rows: i64| {
        let note = format!(
            "insert into bus.unpublished (id, consumer, tenants, message_ids, at)
             select gen_random_uuid(), consumer, array_agg(tenant), array_agg(message_id), now() - interval '1 hour'
             from (select *, row_number() over (order by message_id) / {rows} as note from bus.inbox) x
             group by consumer, note"
        );
        scene.sql(&note).await;
        scene.until("select count(*) from bus.unpublished", 0).await;
    };
    let id = scene.put("").await;
    scene.stage.outcome(id).await;
    noted(1).await;
    fill(&scene, "shop_default", 1..=1000, "now()", "now()").await;
    noted(10).await;
    running.stop().await;
    let read = looked_at(&scene).await;
    // Each row for its note, and a few times while it is published anew.
    assert!(read < 20_000, "{read} rows were read for 100 notes of 10");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweeper_goes_on_where_it_stopped_however_much_is_left() {
    let scene = Scene::new().await;
    // As transactions leave them: many rows of each, one transaction after another.
    let received_at = "now() - interval '1 hour' + n / 250 * interval '10 ms'";
    fill(&scene, "shop_default", 1..=5000, received_at, "null").await;
    let running = Early::run(&scene, 1).await;
    let last = row(5000);
    scene.until(&format!("select count(*) from bus.inbox where {last} and published_at is not null"), 1).await;
    running.stop().await;
    let read = looked_at(&scene).await;
    // Each is found, written, and perhaps found to be written; and the trimmer looks at all of them.
    assert!(read < 40_000, "{read} rows were read for 5000");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trimmer_does_not_read_what_stays_for_each_thousand_that_go() {
    let scene = Scene::new().await;
    fill(&scene, "shop_default", 1..=3000, "now()", "now()").await;
    // Statistics of a time at which nothing was old, as they are when they are late.
    scene.sql("analyze bus.inbox").await;
    fill(&scene, "shop_default", 3001..=8000, "now() - interval '2 days'", "now()").await;
    let running = scene
        .run_with(|settings| {
            settings.keep_done_days = 0;
            settings.keep_inbox_days = 1;
        })
        .await;
    let last = row(8000);
    scene.until(&format!("select count(*) from bus.inbox where {last}"), 0).await;
    running.stop().await;
    assert_eq!(scene.count("select count(*) from bus.inbox").await, 3000);
    let read = looked_at(&scene).await;
    assert!(read < 20_000, "{read} rows were read for 5000 that went and 3000 that stayed");
}
