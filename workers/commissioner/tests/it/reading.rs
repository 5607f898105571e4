//! What partners and their program's people read.

use omnibus_schemas::commissioner::{
    ExplainCommission, Ledger, PartnerCommissions, PartnerReferrals, PartnerStats, Partners, Programs, RecordClick,
    RecordOrder, RecordRefund, Statement,
};

use crate::scene::{Scene, line, of, one_month, order};

#[tokio::test]
async fn every_list_is_read_page_by_page_and_whole() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    scene.partner("bob", Some(&code)).await;
    scene.partner("cleo", None).await;
    for n in 0..5 {
        scene.does(&order(&n.to_string(), Some(&code))).await;
    }
    let program = || "main".parse().unwrap();
    let (mut after, mut seen) = (None, vec![]);
    loop {
        let page = scene.asks(&PartnerCommissions { partner_id: ada, after, limit: 2 }).await.unwrap();
        seen.extend(page.items.into_iter().map(|item| item.order_id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["4", "3", "2", "1", "0"]);
    let (mut after, mut customers) = (None, 0);
    loop {
        let page = scene.asks(&PartnerReferrals { partner_id: ada, after, limit: 2 }).await.unwrap();
        customers += page.items.iter().filter(|item| item.orders == 1).count();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(customers, 5);
    let page = scene.asks(&Ledger { program: program(), partner_id: Some(ada), after: None, limit: 2 }).await.unwrap();
    assert_eq!((page.items.len(), page.next.is_some()), (2, true));
    let list = |parent_id, limit| Partners { program: program(), parent_id, pending: false, after: None, limit };
    let names = |page: omnibus_schemas::commissioner::PartnersPage| -> Vec<String> {
        page.items.into_iter().map(|item| item.name).collect()
    };
    assert_eq!(names(scene.asks(&list(None, 10)).await.unwrap()), ["cleo", "bob", "ada"]);
    assert_eq!(names(scene.asks(&list(Some(ada), 10)).await.unwrap()), ["bob"]);
    let page = scene.asks(&list(None, 2)).await.unwrap();
    let rest = Partners { after: page.next, ..list(None, 2) };
    assert_eq!(names(scene.asks(&rest).await.unwrap()), ["ada"]);
    assert_eq!(scene.asks(&Partners { after: Some("nonsense".into()), ..list(None, 2) }).await.unwrap_err().0, 422);
    assert_eq!(scene.asks(&Programs { after: None, limit: 1 }).await.unwrap().items.len(), 1);
    scene.program(|p| p.program = "another".parse().unwrap()).await;
    let (mut after, mut programs) = (None, vec![]);
    loop {
        let page = scene.asks(&Programs { after, limit: 1 }).await.unwrap();
        programs.extend(page.items.into_iter().map(|item| item.rules.program.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(programs, ["another", "main"]);
    let stats = scene.asks(&PartnerStats { program: program(), partner_id: Some(ada), days: 1 }).await.unwrap();
    assert_eq!((stats.orders, stats.customers, stats.sums[0].earned.amount), (5, 5, 2_500));
    assert_eq!(stats.sums[0].base.to_string(), "EUR 500.00");
    scene.running.stop().await;
}

#[tokio::test]
async fn a_commission_is_explained_from_the_click_to_the_ledger() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (_, a) = scene.partner("ada", None).await;
    let (bob, b) = scene.partner("bob", Some(&a)).await;
    let click = RecordClick { link: b.clone(), consent: true, referrer: None, clicked_at: None };
    let click_id = scene.does(&click).await.data["click_id"].as_str().unwrap().parse().unwrap();
    let told = scene.does(&RecordOrder { click_id: Some(click_id), ..order("1", None) }).await;
    let refund =
        RecordRefund { program: "main".parse().unwrap(), order_id: "1".into(), refund_id: "r-7".into(), lines: vec![] };
    scene.does(&refund).await;
    let above = of(&scene, &told, "commission_earned")[1].data["commission_id"].as_str().unwrap().parse().unwrap();
    let explained = scene.asks(&ExplainCommission { commission_id: above }).await.unwrap();
    assert_eq!((explained.click_id, explained.sold_by, explained.rules_version), (Some(click_id), bob, 1));
    assert_eq!((explained.commission.earned.amount, explained.commission.reversed.amount), (200, 200));
    let kinds: Vec<_> = explained.transfers.iter().map(|t| t.kind.as_str()).collect();
    assert_eq!(kinds, ["earned", "reversed"]);
    for (sentence, part) in explained.chain.iter().zip([
        &format!("/r/{b}"),
        "Order 1 line 1",
        "version 1: the partner 1 level(s) above the seller earns 2.00 % of EUR 100.00",
        "Commission: EUR 2.00",
        "earned EUR 2.00 from expense to partner",
        "reversed EUR 2.00 from partner to expense for refund r-7",
    ]) {
        assert!(sentence.contains(part), "{sentence} has not {part}");
    }
    assert_eq!(explained.chain.len(), 6);
    scene.running.stop().await;
}

#[tokio::test]
async fn what_was_taken_back_is_explained_whole_however_many_refunds_did() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (_, code) = scene.partner("ada", None).await;
    let told = scene.does(&RecordOrder { lines: vec![line("1", 100_000)], ..order("1", Some(&code)) }).await;
    let id = of(&scene, &told, "commission_earned")[0].data["commission_id"].as_str().unwrap().parse().unwrap();
    sqlx::query(
        "insert into commissioner.transfers (tenant, transfer_id, program, partner_id, kind, debit, credit, amount,
            currency, booked_at, available_at, commission_id, order_id, refund_id)
         select tenant, gen_random_uuid(), program, partner_id, 'reversed', credit, debit, 3, currency,
            booked_at + n * interval '1 ms', available_at, commission_id, order_id, 'r' || n
         from commissioner.transfers, generate_series(1, 600) n",
    )
    .execute(scene.db())
    .await
    .unwrap();
    let explained = scene.asks(&ExplainCommission { commission_id: id }).await.unwrap();
    assert_eq!((explained.commission.earned.amount, explained.commission.reversed.amount), (5_000, 1_800));
    assert_eq!(explained.transfers.len(), 500);
    let last = explained.chain.last().unwrap();
    assert!(last.contains("more follows these 500"), "{last}");
    scene.running.stop().await;
}

#[tokio::test]
async fn the_lines_of_a_statement_come_to_its_totals() {
    let (year, month) = one_month().await;
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    for n in 0..3 {
        scene.does(&order(&n.to_string(), Some(&code))).await;
    }
    let refund =
        RecordRefund { program: "main".parse().unwrap(), order_id: "1".into(), refund_id: "r".into(), lines: vec![] };
    scene.does(&refund).await;
    let (mut after, mut sum, mut lines) = (None, 0, 0);
    loop {
        let page = scene.asks(&Statement { partner_id: ada, year, month, after, limit: 3 }).await.unwrap();
        sum += page.lines.iter().map(|line| line.money.amount).sum::<i64>();
        lines += page.lines.len();
        let total = &page.totals[0];
        assert_eq!((total.opening.amount, total.earned.amount, total.reversed.amount), (0, 1_500, 500));
        assert_eq!(total.closing.amount, 1_000);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((sum, lines), (1_000, 4));
    let none = Statement { partner_id: ada, year: 2020, month: 1, after: None, limit: 3 };
    assert_eq!(scene.asks(&none).await.unwrap().lines.len(), 0);
    scene.running.stop().await;
}
