//! The ledger takes nothing that does not balance, and gives nothing up.

use sqlx::AssertSqlSafe;

use crate::scene::{Scene, order};

#[tokio::test]
async fn an_unbalanced_or_changed_entry_can_not_be_written() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (_, code) = scene.partner("ada", None).await;
    scene.does(&order("1", Some(&code))).await;
    let copy = |change: &str| {
        format!(
            "insert into commissioner.transfers select (jsonb_populate_record(t, '{change}'::jsonb)).*
             from commissioner.transfers t"
        )
    };
    let other = "\"transfer_id\": \"00000000-0000-0000-0000-000000000001\"";
    for (wrong, because) in [
        (copy(&format!("{{{other}, \"amount\": 0}}")), "amount"),
        (copy(&format!("{{{other}, \"amount\": -5}}")), "amount"),
        (copy(&format!("{{{other}, \"debit\": \"partner\"}}")), "transfers_check"),
        (copy(&format!("{{{other}, \"credit\": \"bank\"}}")), "transfers_check"),
        (copy(&format!("{{{other}, \"credit\": null}}")), "credit"),
        (copy(&format!("{{{other}, \"currency\": \"EURO\"}}")), "currency"),
        (copy(&format!("{{{other}, \"commission_id\": null}}")), "transfers_check"),
        (copy("{}"), "transfers_pkey"),
        ("update commissioner.transfers set amount = amount + 1".into(), "only ever added to"),
        ("delete from commissioner.transfers".into(), "only ever added to"),
        ("truncate commissioner.transfers".into(), "only ever added to"),
    ] {
        let error = sqlx::query(AssertSqlSafe(wrong.clone())).execute(scene.db()).await.unwrap_err().to_string();
        assert!(error.contains(because), "{wrong}: {error}");
    }
    let sums: Vec<i64> = sqlx::query_scalar(
        "select sum(amount)::bigint from commissioner.entries group by tenant, transfer_id, currency",
    )
    .fetch_all(scene.db())
    .await
    .unwrap();
    assert_eq!(sums, [0]);
    scene.running.stop().await;
}

#[tokio::test]
async fn a_transfer_is_in_one_live_payout_at_most() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (_, code) = scene.partner("ada", None).await;
    scene.does(&order("1", Some(&code))).await;
    let put = |payout: u8, live: bool| {
        let put = format!(
            "insert into commissioner.payout_items
             select tenant, '00000000-0000-0000-0000-00000000000{payout}', transfer_id, {live} from commissioner.transfers"
        );
        sqlx::query(AssertSqlSafe(put)).execute(scene.db())
    };
    put(1, false).await.unwrap();
    put(2, true).await.unwrap();
    assert!(put(3, true).await.unwrap_err().to_string().contains("payout_items_live"));
    scene.running.stop().await;
}
