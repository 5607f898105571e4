//! What is forgotten each minute, and what that reads.

use std::time::Duration;

use omnibus_runtime::testing::PATIENCE;
use omnibus_texter::worker;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::scene::Scene;

/// Rows of each kind that stay.
const MANY: i64 = 3000;

/// Each table that something is forgotten from, and its rows: `{id}` is another for each, `{at}` its time.
const TABLES: [(&str, &str); 6] = [
    (
        "code_requests",
        "(tenant, message_id, at, recipient, prefix, country, ip) select 'acme', {id}, {at}, 'r', 'p', 'US', ''",
    ),
    ("alarms", "(tenant, kind, key, window_start) select 'acme', 'ip', n::text, {at}"),
    (
        "verifications",
        "(tenant, verification_id, recipient, purpose, country, prefix, code_hash, digits, status, sends, most_checks,
             created_at, expires_at, code_sealed)
         select 'acme', {id}, n::text, 'login', 'US', 'p', '', 6, 'waiting', 1, 5, {at}, {at} + interval '1 day', 's'",
    ),
    ("lockouts", "(tenant, recipient, purpose, level, until) select 'acme', n::text, 'login', 1, {at}"),
    ("replies", "(tenant, recipient, word, day, message_id) select 'acme', n::text, 'help', ({at})::date, {id}"),
    (
        "messages",
        "(tenant, message_id, recipient, country, sender, provider, status, encoding, segments, likeness, currency,
             estimate_micro, actual_micro, day, queued_at, sent_at, body)
         select 'acme', {id}, 'r', 'US', 's', 'twilio', 'delivered', 'GSM-7', 1, '', 'USD', 0, 0, current_date, {at},
             {at}, 'x'",
    ),
];

/// Writes rows numbered from `first` to `last`, so old.
async fn fill(db: &PgPool, first: i64, last: i64, age: &str) {
    for (table, rows) in TABLES {
        let rows = rows
            .replace("{id}", "lpad(to_hex(n), 32, '0')::uuid")
            .replace("{at}", &format!("now() - interval '{age}'"));
        let statement = format!("insert into texter.{table} {rows} from generate_series({first}, {last}) n");
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(db).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_forgotten_is_found_without_reading_what_stays() {
    let Scene { stage, twilio, running } = Scene::new().await;
    running.stop().await;
    fill(&stage.db, 1, MANY, "1 minute").await;
    fill(&stage.db, MANY + 1, MANY + 1, "40 days").await;
    for (table, _) in TABLES {
        // As PostgreSQL does by itself, a while after so many rows were written.
        sqlx::query(sqlx::AssertSqlSafe(format!("analyze texter.{table}"))).execute(&stage.db).await.unwrap();
    }
    // A texter looks when it starts.
    let running = stage.run(worker(twilio.settings()).unwrap()).await;
    // The last that it forgets.
    let last = "select body is null from texter.messages
        where tenant = 'acme' and message_id = lpad(to_hex($1), 32, '0')::uuid";
    let forgotten = async {
        while !sqlx::query_scalar::<_, bool>(last).bind(MANY + 1).fetch_one(&stage.db).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, forgotten).await.expect("it is forgotten");
    running.stop().await;
    stage.db.close().await;
    let db = PgPoolOptions::new().max_connections(1).connect(&stage.database_url).await.unwrap();
    // A connection's counts are told at the latest when it ends.
    let others = "select count(*) from pg_stat_activity
        where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()";
    let alone = async {
        while sqlx::query_scalar::<_, i64>(others).fetch_one(&db).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, alone).await.expect("nobody else is connected");
    let counts = "select seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_user_tables
        where schemaname = 'texter' and relname = $1";
    for (table, _) in TABLES {
        let read: i64 = sqlx::query_scalar(counts).bind(table).fetch_one(&db).await.unwrap();
        assert!(read < MANY, "{read} rows of {table} were read to forget one");
        // Of a text, the words alone go.
        let what = if table == "messages" { "body" } else { "*" };
        let left = sqlx::AssertSqlSafe(format!("select count({what}) from texter.{table}"));
        assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&db).await.unwrap(), MANY, "{table}");
    }
}
