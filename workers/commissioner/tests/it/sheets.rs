//! The lists as files for spreadsheets and accounts.

use omnibus_schemas::Query;
use omnibus_schemas::commissioner::{
    CommissionsCsv, LedgerCsv, PartnersCsv, PayoutsCsv, RecordOrder, RecordRefund, ReferralsCsv, RefundLine,
    RequestPayout, SetPayoutAccount, Sheet, StatementCsv,
};

use crate::scene::{Scene, one_month, order};

/// All pages in a row; each is asked for with where it begins.
async fn whole<Q: Query<Answer = Sheet>>(scene: &Scene, page: impl Fn(Option<String>) -> Q) -> Vec<Vec<String>> {
    let (mut after, mut file, mut pages) = (None, String::new(), 0);
    loop {
        let page = scene.asks(&page(after)).await.unwrap();
        file += &page.csv;
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(pages > 1, "{} has one page only", Q::NAME);
    let mut rows = csv::ReaderBuilder::new().has_headers(false).from_reader(file.as_bytes());
    rows.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

fn column(rows: &[Vec<String>], name: &str) -> Vec<String> {
    let n = rows[0].iter().position(|heading| heading == name).unwrap_or_else(|| panic!("{name} in {:?}", rows[0]));
    rows[1..].iter().map(|row| row[n].clone()).collect()
}

fn cents(amounts: &[String]) -> i64 {
    amounts.iter().map(|amount| amount.replace('.', "").parse::<i64>().unwrap()).sum()
}

#[tokio::test]
async fn every_list_is_a_file_whose_pages_make_one_whole() {
    let (year, month) = one_month().await;
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    let (bob, _) = scene.partner("bob", Some(&code)).await;
    for id in ["=cmd()", "2", "3"] {
        scene.does(&RecordOrder { customer_id: format!("{id} customer"), ..order(id, Some(&code)) }).await;
    }
    let program = || "main".parse().unwrap();
    let lines = vec![RefundLine { line_id: "1".into(), amount: 5_000 }];
    scene.does(&RecordRefund { program: program(), order_id: "2".into(), refund_id: "r".into(), lines }).await;
    scene.does(&SetPayoutAccount { partner_id: ada, account: "DE02120300000000202051".into() }).await;
    let pay = RequestPayout { partner_id: ada, currency: "EUR".parse().unwrap() };
    for n in ["4", "5"] {
        assert_eq!(scene.does(&pay).await.name, "payout_reserved");
        scene.does(&order(n, Some(&code))).await;
    }

    let ledger = whole(&scene, |after| LedgerCsv { program: program(), partner_id: None, after, limit: 3 }).await;
    assert_eq!(ledger.len(), 1 + 5 + 1 + 2);
    assert_eq!(column(&ledger, "currency"), ["EUR"; 8]);
    assert!(column(&ledger, "order_id").contains(&"'=cmd()".to_owned()), "no spreadsheet runs it: {ledger:?}");

    let commissions = whole(&scene, |after| CommissionsCsv { partner_id: ada, after, limit: 2 }).await;
    assert_eq!(cents(&column(&commissions, "earned")) - cents(&column(&commissions, "reversed")), 5 * 500 - 250);
    assert_eq!(column(&commissions, "order_id"), ["5", "4", "3", "2", "'=cmd()"]);

    let referrals = whole(&scene, |after| ReferralsCsv { partner_id: ada, after, limit: 2 }).await;
    assert_eq!(column(&referrals, "orders"), ["1"; 5]);

    let payouts = whole(&scene, |after| PayoutsCsv { program: program(), partner_id: None, after, limit: 1 }).await;
    assert_eq!(column(&payouts, "amount"), ["5.00", "12.50"]);
    assert!(!format!("{payouts:?}").contains("DE0212"), "accounts are in no list");

    let partners = whole(&scene, |after| PartnersCsv { program: program(), after, limit: 1 }).await;
    assert_eq!(column(&partners, "partner_id"), [bob.to_string(), ada.to_string()]);
    assert_eq!(column(&partners, "parent_id"), [ada.to_string(), String::new()]);

    let statement = whole(&scene, |after| StatementCsv { partner_id: ada, year, month, after, limit: 3 }).await;
    assert_eq!(cents(&column(&statement, "amount")), scene.balance(ada, "EUR").await, "it comes to what is owed");
    let none = StatementCsv { partner_id: ada, year: 2020, month: 1, after: None, limit: 3 };
    assert_eq!(scene.asks(&none).await.unwrap().csv.lines().count(), 1, "a month without bookings has its heading");
    scene.running.stop().await;
}
