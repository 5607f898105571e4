//! What a database that has just begun looks like to PostgreSQL's planner.
//!
//! Of a table that was never analysed it knows nothing: any tenant seems to have next to no rows, so any index that begins with
//! the tenant seems as good as the primary key. A statement prepared then stays as it is until the table is analysed, a
//! minute and tens of thousands of rows later.

use sqlx::Row;

use crate::catalogue::workers;
use crate::scene::Scene;
use omnibus_runtime::testing::Stage;
use omnibus_schemas::Catalogue;

/// Tables that never hold so many rows of a tenant, or of what else their key begins with, that it matters.
const SMALL: [&str; 8] = [
    "auditor.audits",
    "auditor.evidence",
    "auditor.findings",
    "auditor.policies",
    "auditor.risks",
    "brander.certificate_orders",
    // Found by a part of its key, which no other index has.
    "commissioner.commissions",
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
            if written == 10 + 3000 + 40 {
                break read;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let read = tokio::time::timeout(std::time::Duration::from_secs(30), told).await.expect("the counts are told");
    assert!(read < 3000, "{read} rows were read for 50 calls");
}
