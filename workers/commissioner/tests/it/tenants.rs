//! One tenant's partners, codes, orders and money are nobody else's.

use std::collections::BTreeSet;

use omnibus_schemas::commissioner::{
    AddCode, AddLink, ApplyTiers, CheckLedger, CheckLedgerPart, CommissionsCsv, DecidePartner, ExplainCommission,
    HeldOrders, Ledger, LedgerCsv, LedgerHealth, MovePartner, PartnerCommissions, PartnerDecision, PartnerPage,
    PartnerReferrals, PartnerStats, Partners, PartnersCsv, PayoutResult, Payouts, PayoutsCsv, ProgramRules, Programs,
    RecordClick, RecordOrder, RecordRefund, ReferralsCsv, RequestPayout, ReviewDecision, ReviewOrder,
    RotateWebhookSecret, RunPayouts, RunPayoutsPart, SetPayoutAccount, SetProgram, SetTier, SettlePayout, Simulate,
    Statement, StatementCsv, SubmitPayout, Tier, WebhookSecret,
};
use omnibus_schemas::{Command, Domain, Query, Token};
use uuid::Uuid;

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

/// Who names what is another tenant's.
struct Stranger<'a> {
    scene: &'a Scene,
    tried: BTreeSet<&'static str>,
}

impl Stranger<'_> {
    async fn refused<C: Command>(&mut self, command: C, code: &str) {
        refused(self.scene, command, code).await;
        self.tried.insert(C::NAME);
    }

    async fn unknown<Q: Query>(&mut self, query: Q) {
        unknown(self.scene, query).await;
        self.tried.insert(Q::NAME);
    }

    async fn empty<Q: Query>(&mut self, query: Q, rows: impl Fn(&Q::Answer) -> usize) {
        let theirs = self.scene.asks(&query).await.unwrap();
        assert!(rows(&theirs) > 0, "{}: there is nothing to be hidden", Q::NAME);
        let ours = self.scene.stage.ask("commissioner", "globex", &query).await.unwrap();
        assert_eq!(rows(&ours), 0, "{}", Q::NAME);
        self.tried.insert(Q::NAME);
    }
}

#[tokio::test]
async fn every_command_and_query_knows_the_own_tenants_things_alone() {
    let scene = Scene::new().await;
    scene.program(|_| {}).await;
    let (ada, code) = scene.partner("ada", None).await;
    scene.does(&SetPayoutAccount { partner_id: ada, account: "DE1".into() }).await;
    let told = scene.does(&order("1", Some(&code))).await;
    let commission_id =
        of(&scene, &told, "commission_earned")[0].data["commission_id"].as_str().unwrap().parse().unwrap();
    let reserved = scene.does(&RequestPayout { partner_id: ada, currency: "EUR".parse().unwrap() }).await;
    let payout_id: Uuid = reserved.data["payout_id"].as_str().unwrap().parse().unwrap();
    scene.does(&RecordOrder { customer_email: Some("ada@ada.example".into()), ..order("2", Some(&code)) }).await;
    let before = counts(&scene).await;

    let (partner_id, main) = (ada, || "main".parse::<Token>().unwrap());
    let mut stranger = Stranger { scene: &scene, tried: BTreeSet::new() };
    let s = &mut stranger;
    s.refused(RotateWebhookSecret { program: main(), overlap_hours: 0 }, "no_such_program").await;
    s.refused(registration("eve", Some(&code)), "no_such_program").await;
    let decision = PartnerDecision::Suspend;
    s.refused(DecidePartner { partner_id, decision, note: String::new() }, "no_such_partner").await;
    s.refused(SetTier { partner_id, tier: Tier::Gold, effective_from: None }, "no_such_partner").await;
    s.refused(ApplyTiers { program: main() }, "no_such_program").await;
    s.refused(MovePartner { partner_id, parent_id: None }, "no_such_partner").await;
    s.refused(AddLink { partner_id, destination: "https://shop.example.com/".into() }, "no_such_partner").await;
    s.refused(AddCode { partner_id, code: "MINE".into() }, "no_such_partner").await;
    s.refused(SetPayoutAccount { partner_id, account: "XX".into() }, "no_such_partner").await;
    let click = RecordClick { link: code.clone(), consent: true, referrer: None, clicked_at: None };
    s.refused(click, "no_such_link").await;
    s.refused(order("9", Some(&code)), "no_such_program").await;
    let (order_id, decision) = ("2".to_owned(), ReviewDecision::Refuse);
    s.refused(ReviewOrder { program: main(), order_id, decision, note: String::new() }, "no_such_order").await;
    s.refused(RequestPayout { partner_id, currency: "EUR".parse().unwrap() }, "no_such_partner").await;
    s.refused(RunPayouts { program: main() }, "no_such_program").await;
    s.refused(RunPayoutsPart { program: main(), due: None, after: None }, "no_such_program").await;
    s.refused(SubmitPayout { payout_id }, "no_such_payout").await;
    s.refused(SettlePayout { payout_id, result: PayoutResult::Failed, note: String::new() }, "no_such_payout").await;
    s.refused(CheckLedger { program: main() }, "no_such_program").await;
    let part = CheckLedgerPart { program: main(), after: None, orders: 0, differences: 0 };
    s.refused(part, "no_such_program").await;
    s.refused(Simulate { program: main(), from: None, until: None, ..Simulate::example() }, "no_such_program").await;

    s.unknown(ProgramRules { program: main() }).await;
    s.unknown(WebhookSecret { program: main() }).await;
    s.unknown(PartnerPage { partner_id }).await;
    s.unknown(PartnerReferrals { partner_id, after: None, limit: 5 }).await;
    s.unknown(PartnerCommissions { partner_id, after: None, limit: 5 }).await;
    s.unknown(ReferralsCsv { partner_id, after: None, limit: 5 }).await;
    s.unknown(CommissionsCsv { partner_id, after: None, limit: 5 }).await;
    s.unknown(ExplainCommission { commission_id }).await;
    s.unknown(PartnerStats { program: main(), partner_id: None, days: 5 }).await;
    s.unknown(Statement { partner_id, year: 2026, month: 11, after: None, limit: 5 }).await;
    s.unknown(StatementCsv { partner_id, year: 2026, month: 11, after: None, limit: 5 }).await;
    s.unknown(LedgerHealth { program: main() }).await;
    s.unknown(LedgerCsv { program: main(), partner_id: None, after: None, limit: 5 }).await;
    s.unknown(PayoutsCsv { program: main(), partner_id: None, after: None, limit: 5 }).await;
    s.unknown(PartnersCsv { program: main(), after: None, limit: 5 }).await;
    s.empty(Programs { after: None, limit: 5 }, |page| page.items.len()).await;
    let partners = Partners { program: main(), parent_id: None, pending: false, after: None, limit: 5 };
    s.empty(partners, |page| page.items.len()).await;
    s.empty(HeldOrders { program: main(), after: None, limit: 5 }, |page| page.items.len()).await;
    s.empty(Payouts { program: main(), partner_id: None, after: None, limit: 5 }, |page| page.items.len()).await;
    s.empty(Ledger { program: main(), partner_id: None, after: None, limit: 5 }, |page| page.items.len()).await;

    assert_eq!(counts(&scene).await, before, "something of acme's was changed");
    // A program of the same name is another's. Refunds are tried above: one that finds no order waits for it.
    assert_eq!(scene.does_as("globex", &program(|_| {})).await.name, "program_set");
    stranger.tried.extend([SetProgram::NAME, RecordRefund::NAME]);
    assert_eq!(counts(&scene).await[1..], before[1..], "something of acme's was changed");

    let (domain, shared) = (omnibus_schemas::commissioner::domain(), Domain::new("x", "what every domain has"));
    let all = |of: &Domain| -> BTreeSet<&'static str> {
        of.commands.iter().map(|command| command.name).chain(of.queries.iter().map(|query| query.name)).collect()
    };
    let own: BTreeSet<_> = all(&domain).difference(&all(&shared)).copied().collect();
    assert_eq!(own.difference(&stranger.tried).collect::<Vec<_>>(), Vec::<&&str>::new(), "was not tried");
    scene.running.stop().await;
}

async fn counts(scene: &Scene) -> Vec<i64> {
    let mut counts = vec![];
    for table in ["rules", "partners", "codes", "links", "clicks", "orders", "refunds", "transfers", "payouts"] {
        counts.push(scene.count(table).await);
    }
    counts
}

#[test]
fn all_of_the_domain_is_handled() {
    let dir = tempfile::tempdir().unwrap();
    let worker = omnibus_commissioner::worker(crate::scene::settings(dir.path())).unwrap();
    assert_eq!(worker.unhandled(&omnibus_schemas::Catalogue::omnibus()), [""; 0]);
}
