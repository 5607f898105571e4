//! From an order to what it earns.

use chrono::{DateTime, Utc};
use omnibus_schemas::commissioner::{OverrideBase, RecordOrder, RecordRefund};
use serde_json::json;
use uuid::Uuid;

use crate::scene::{Scene, line, of, order};

#[tokio::test]
async fn an_order_earns_the_seller_a_rate_and_the_parent_two_percent_of_the_sale() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    let (bob, below) = scene.partner("bob", Some(&code)).await;

    let told = scene.does(&order("1", Some(&below.to_uppercase()))).await;
    assert_eq!(told.name, "order_recorded");
    assert_eq!(told.data["partner_id"], bob.to_string());
    assert_eq!((&told.data["attribution"], &told.data["commissions"]), (&json!("code"), &json!(2)));
    let earned = of(&scene, &told, "commission_earned");
    let facts: Vec<_> = earned
        .iter()
        .map(|told| (told.data["partner_id"].clone(), told.data["level"].clone(), told.data["amount"].clone()))
        .collect();
    assert_eq!(facts, [(json!(bob), json!(0), json!(500)), (json!(ada), json!(1), json!(200))]);
    assert_eq!((scene.balance(bob, "EUR").await, scene.balance(ada, "EUR").await), (500, 200));
    scene.running.stop().await;
}

#[tokio::test]
async fn an_order_counts_once_whatever_command_brings_it() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    let first = scene.does(&order("1", Some(&code))).await;
    let again = scene.does(&order("1", Some(&code))).await;
    assert_eq!((again.name.as_str(), &again.data["duplicate"]), ("order_recorded", &json!(true)));
    assert_eq!(again.data["partner_id"], first.data["partner_id"]);
    assert_eq!(of(&scene, &again, "commission_earned").len(), 0);
    let other = scene.does(&RecordOrder { lines: vec![line("1", 20_000)], ..order("1", Some(&code)) }).await;
    assert_eq!((other.name.as_str(), &other.data["code"]), ("command_rejected", &json!("order_differs")));
    assert_eq!(scene.balance(ada, "EUR").await, 500);
    scene.running.stop().await;
}

#[tokio::test]
async fn orders_that_come_at_once_are_each_decided_as_if_alone() {
    let scene = Scene::new().await;
    scene.program(|p| (p.overrides_bp, p.override_base) = (vec![1000], OverrideBase::ChildCommission)).await;
    let (ada, code) = scene.partner("ada", None).await;
    let (bob, below) = scene.partner("bob", Some(&code)).await;
    // One customer's two orders, an order twice, one without a program, one that earns nobody anything.
    let mut same = order("2", Some(&code));
    same.customer_id = order("1", None).customer_id;
    let nowhere = RecordOrder { program: "nowhere".parse().unwrap(), ..order("3", None) };
    let all = [order("1", Some(&below)), same, nowhere, order("1", Some(&below)), order("4", Some("unknown"))];
    let mut ids = vec![];
    for order in &all {
        ids.push(scene.stage.publish("acme", order).await);
    }
    let mut told = vec![];
    for id in ids {
        told.push(scene.stage.outcome(id).await);
    }
    let facts: Vec<_> = told.iter().map(|told| told.data["attribution"].as_str().unwrap_or("-")).collect();
    assert_eq!(facts, ["code", "bound", "-", "code", "none"]);
    assert_eq!(told[1].data["partner_id"], bob.to_string());
    assert_eq!(told[2].data["code"], "no_such_program");
    assert_eq!(told[3].data["duplicate"], json!(true));
    assert_eq!((scene.balance(bob, "EUR").await, scene.balance(ada, "EUR").await), (1000, 100));
    scene.running.stop().await;
}

#[tokio::test]
async fn an_order_reads_what_is_its_own_however_much_there_is_and_nothing_is_known_of_the_tables() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (_, code) = scene.partner("ada", None).await;
    let (_, below) = scene.partner("bob", Some(&code)).await;
    // How to look up is settled while the tables are all but empty.
    for n in 0..10 {
        scene.does(&order(&n.to_string(), Some(&below))).await;
    }
    for more in [
        "insert into commissioner.partners (tenant, partner_id, program, name, email, email_key, status, revision,
            registered_at)
         select tenant, gen_random_uuid(), program, name, email, n || email_key, status, revision, registered_at
         from commissioner.partners, generate_series(1, 1000) n where parent_id is null",
        "insert into commissioner.orders
         select (jsonb_populate_record(o, jsonb_build_object('order_id', 'more' || n, 'customer_id', 'more' || n))).*
         from commissioner.orders o, generate_series(1, 1000) n where order_id = '1'",
    ] {
        sqlx::query(more).execute(scene.db()).await.unwrap();
    }
    let orders: Vec<_> = (10..60).map(|n| order(&n.to_string(), Some(&below))).collect();
    scene.do_at_once(&orders).await;
    // A connection's counts are told at the latest when it ends.
    scene.running.stop().await;
    scene.stage.db.close().await;
    let counts = "select relname, n_tup_ins, seq_tup_read + idx_tup_fetch from pg_stat_user_tables
        where relid in ('commissioner.orders'::regclass, 'commissioner.partners'::regclass) order by relname";
    let told = async {
        loop {
            let mut db = <sqlx::PgConnection as sqlx::Connection>::connect(&scene.stage.database_url).await.unwrap();
            let counts: Vec<(String, i64, i64)> = sqlx::query_as(counts).fetch_all(&mut db).await.unwrap();
            if counts[0].1 == 1060 && counts[1].1 == 1002 {
                break counts.into_iter().map(|(table, _, read)| (table, read)).collect::<Vec<_>>();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let told = tokio::time::timeout(std::time::Duration::from_secs(120), told).await.expect("the counts are told");
    for (table, read) in told {
        assert!(read < 1000, "{read} rows of {table} were read for 60 orders");
    }
}

#[tokio::test]
async fn a_commission_of_nothing_is_there_and_moves_nothing() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (_, code) = scene.partner("ada", None).await;
    let told = scene.does(&RecordOrder { lines: vec![line("1", 0), line("2", 100)], ..order("1", Some(&code)) }).await;
    assert_eq!(told.data["commissions"], 2);
    assert_eq!((scene.count("commissions").await, scene.count("transfers").await), (2, 1));
    scene.running.stop().await;
}

#[tokio::test]
async fn ids_in_the_ledger_begin_with_the_time_at_which_they_were_recorded() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (_, code) = scene.partner("ada", None).await;
    let (_, below) = scene.partner("bob", Some(&code)).await;
    for id in ["b", "a"] {
        scene.does(&order(id, Some(&below))).await;
        let refund = RecordRefund {
            program: "main".parse().unwrap(),
            order_id: id.into(),
            refund_id: "r".into(),
            lines: vec![],
        };
        scene.does(&refund).await;
    }
    let rows: Vec<(Uuid, DateTime<Utc>)> = sqlx::query_as(
        "select commission_id, recorded_at from commissioner.commissions
         join commissioner.orders using (tenant, program, order_id)
         union all select transfer_id, booked_at from commissioner.transfers",
    )
    .fetch_all(scene.db())
    .await
    .unwrap();
    assert_eq!(rows.len(), 4 + 8);
    for (id, at) in rows {
        assert_eq!(id.as_u128() >> 80, u128::from(at.timestamp_millis().unsigned_abs()), "{id} of {at}");
    }
    scene.running.stop().await;
}
