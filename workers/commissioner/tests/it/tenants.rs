//! One tenant's partners, codes, orders and money are nobody else's.

use omnibus_schemas::commissioner::{
    AddCode, DecidePartner, ExplainCommission, MovePartner, PartnerCommissions, PartnerDecision, PartnerPage,
    PayoutResult, Payouts, RecordRefund, RequestPayout, SetPayoutAccount, SetTier, SettlePayout, Statement, Tier,
};
use omnibus_schemas::{Command, Query};

use crate::scene::{Scene, of, order, program, registration};

async fn refused<C: Command>(scene: &Scene, command: C, code: &str) {
    let told = scene.does_as("globex", &command).await;
    assert_eq!(told.data["code"], code, "{}", C::NAME);
}

async fn unknown<Q: Query>(scene: &Scene, query: Q) {
    let answer = scene.stage.ask("commissioner", "globex", &query).await;
    assert_eq!(answer.err().map(|(code, _)| code), Some(404), "{}", Q::NAME);
}

#[tokio::test]
async fn a_tenant_can_neither_see_nor_touch_what_is_anothers() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    scene.does_as("globex", &program(|_| {})).await;
    let (ada, code) = scene.partner("ada", None).await;
    scene.does(&SetPayoutAccount { partner_id: ada, account: "DE1".into() }).await;
    let told = scene.does(&order("1", Some(&code))).await;
    let commission_id =
        of(&scene, &told, "commission_earned")[0].data["commission_id"].as_str().unwrap().parse().unwrap();
    let reserved = scene.does(&RequestPayout { partner_id: ada, currency: "EUR".parse().unwrap() }).await;
    let payout_id = reserved.data["payout_id"].as_str().unwrap().parse().unwrap();

    // The same order, code and address in another tenant are others.
    let theirs = scene.does_as("globex", &order("1", Some(&code))).await;
    assert_eq!((theirs.name.as_str(), theirs.data["attribution"].as_str()), ("order_recorded", Some("none")));
    let namesake = scene.does_as("globex", &registration("ada", None)).await;
    let namesake = namesake.data["partner_id"].as_str().unwrap().parse().unwrap();
    let claimed = scene.does_as("globex", &AddCode { partner_id: namesake, code: code.clone() }).await;
    assert_eq!(claimed.name, "code_added");
    assert_eq!(
        scene.does_as("globex", &registration("bob", Some(&code))).await.data["parent_id"],
        claimed.data["partner_id"]
    );

    let partner_id = ada;
    refused(&scene, SetTier { partner_id, tier: Tier::Gold, effective_from: None }, "no_such_partner").await;
    refused(&scene, MovePartner { partner_id, parent_id: None }, "no_such_partner").await;
    refused(&scene, MovePartner { partner_id: namesake, parent_id: Some(ada) }, "no_such_parent").await;
    let suspend = DecidePartner { partner_id, decision: PartnerDecision::Suspend, note: String::new() };
    refused(&scene, suspend, "no_such_partner").await;
    refused(&scene, SetPayoutAccount { partner_id, account: "XX".into() }, "no_such_partner").await;
    refused(&scene, RequestPayout { partner_id, currency: "EUR".parse().unwrap() }, "no_such_partner").await;
    let settle = SettlePayout { payout_id, result: PayoutResult::Failed, note: String::new() };
    refused(&scene, settle, "no_such_payout").await;
    let refund =
        RecordRefund { program: "main".parse().unwrap(), order_id: "1".into(), refund_id: "r".into(), lines: vec![] };
    assert_eq!(scene.does_as("globex", &refund).await.data["reversed"], 0);

    unknown(&scene, PartnerPage { partner_id }).await;
    unknown(&scene, PartnerCommissions { partner_id, after: None, limit: 5 }).await;
    unknown(&scene, ExplainCommission { commission_id }).await;
    unknown(&scene, Statement { partner_id, year: 2026, month: 11, after: None, limit: 5 }).await;
    let payouts = Payouts { program: "main".parse().unwrap(), partner_id: Some(ada), after: None, limit: 5 };
    assert_eq!(scene.stage.ask("commissioner", "globex", &payouts).await.unwrap().items.len(), 0);
    assert_eq!(scene.asks(&payouts).await.unwrap().items.len(), 1);
    scene.running.stop().await;
}

#[test]
fn all_of_the_domain_is_handled() {
    let dir = tempfile::tempdir().unwrap();
    let worker = omnibus_commissioner::worker(crate::scene::settings(dir.path())).unwrap();
    assert_eq!(worker.unhandled(&omnibus_schemas::Catalogue::omnibus()), [""; 0]);
}
