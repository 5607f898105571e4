//! Whatever happens, in whatever order it is told again: the books balance, and come to what a book-keeper comes to who
//! does all of it again from the beginning, knowing nothing of how the worker does it.

use async_nats::HeaderMap;
use chrono::{DateTime, DurationRound, SecondsFormat, TimeDelta, Utc};
use omnibus_runtime::clock;
use omnibus_runtime::testing::Told;
use omnibus_schemas::commissioner::{
    CheckLedger, MovePartner, OverrideBase, PayoutResult, RecordOrder, RecordRefund, RefundLine, RequestPayout,
    ReviewDecision, ReviewOrder, RunPayouts, SetPayoutAccount, SetProgram, SetTier, SettlePayout, Tier,
};
use omnibus_schemas::{Command, headers};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;
use uuid::Uuid;

use crate::bookkeeper::{Books, Fate, HOLD_DAYS, Paid, Payout, Rules};
use crate::scene::{Scene, line, order, program, registration};

/// Partners in every case: each but the first begins below the one before.
const PARTNERS: usize = 4;
/// In what they earn.
const CURRENCIES: [&str; 2] = ["EUR", "USD"];

/// An order.
#[derive(Debug, Clone)]
struct Sold {
    seller: usize,
    customer: u8,
    amounts: [i64; 2],
    paid: Paid,
    /// Is it the partner's own?
    own: bool,
    /// When it was made, if it is told late: so many thousandths of the way from the beginning to now.
    made: Option<i32>,
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Order(Sold),
    /// Of which order, which line, how many thousandths of it.
    Refund(usize, usize, i64),
    /// All that is left of an order.
    Whole(usize),
    Tier(usize, Tier),
    /// Below whom, if anybody.
    Move(usize, Option<usize>),
    Rules(Rules),
    Pay(usize, &'static str),
    /// Everybody is paid.
    Run,
    /// What becomes of an earlier payout.
    Settle(usize, PayoutResult),
    Review(usize, ReviewDecision),
    /// An earlier command is delivered again.
    Again(usize),
    /// The shop reports an earlier order or refund once more, as a new command.
    Repeat(usize),
}

fn sold() -> impl Strategy<Value = Step> {
    let paid = prop_oneof![
        3 => Just(Paid::Euro),
        2 => Just(Paid::Dollar),
        1 => (1_000_000..20_000_000i64).prop_map(Paid::Yen),
    ];
    let made = prop::option::weighted(0.4, 0..1_000i32);
    (0..PARTNERS, 0..6u8, 0..200_000i64, 0..50i64, paid, prop::bool::weighted(0.2), made).prop_map(
        |(seller, customer, a, b, paid, own, made)| {
            Step::Order(Sold { seller, customer, amounts: [a, b], paid, own, made })
        },
    )
}

fn rules() -> impl Strategy<Value = Rules> {
    let base = prop::sample::select(vec![OverrideBase::Sale, OverrideBase::ChildCommission]);
    (100..900i64, prop::collection::vec(50..400i64, 0..3), base)
        .prop_map(|(bronze_bp, overrides_bp, override_base)| Rules { bronze_bp, overrides_bp, override_base })
}

fn step() -> impl Strategy<Value = Step> {
    let partner = 0..PARTNERS;
    let tier = prop::sample::select(Tier::ALL.to_vec());
    let result = prop::sample::select(vec![PayoutResult::Confirmed, PayoutResult::Failed, PayoutResult::Returned]);
    let decision = prop::sample::select(vec![ReviewDecision::Clear, ReviewDecision::Refuse]);
    prop_oneof![
        8 => sold(),
        5 => (any::<usize>(), 0..2usize, 1..1_100i64).prop_map(|(o, l, part)| Step::Refund(o, l, part)),
        1 => any::<usize>().prop_map(Step::Whole),
        2 => (partner.clone(), tier).prop_map(|(p, t)| Step::Tier(p, t)),
        2 => (partner.clone(), prop::option::of(partner.clone())).prop_map(|(p, to)| Step::Move(p, to)),
        1 => rules().prop_map(Step::Rules),
        2 => (partner, prop::sample::select(CURRENCIES.to_vec())).prop_map(|(p, c)| Step::Pay(p, c)),
        2 => Just(Step::Run),
        3 => (any::<usize>(), result).prop_map(|(p, r)| Step::Settle(p, r)),
        2 => (any::<usize>(), decision).prop_map(|(o, d)| Step::Review(o, d)),
        3 => any::<usize>().prop_map(Step::Again),
        1 => any::<usize>().prop_map(Step::Repeat),
    ]
}

/// A command as it was sent, to be sent again.
struct Sent {
    subject: String,
    headers: HeaderMap,
    body: Vec<u8>,
    repeatable: bool,
}

struct Case<'a> {
    scene: &'a Scene,
    tenant: String,
    began: DateTime<Utc>,
    now: DateTime<Utc>,
    sent: Vec<Sent>,
    partners: Vec<(Uuid, String)>,
    books: Books,
}

impl Case<'_> {
    /// Sends a command under a time of its own, hours after the one before, and waits for its outcome.
    async fn does<C: Command>(&mut self, command: &C, repeatable: bool) -> Told {
        self.now += TimeDelta::hours(3);
        let entry = self.scene.stage.catalogue().command(C::DOMAIN, C::NAME).unwrap();
        let id = clock::new_id();
        let mut map = HeaderMap::new();
        map.insert(headers::ID, id.to_string().as_str());
        map.insert(headers::TIME, self.now.to_rfc3339_opts(SecondsFormat::Micros, true).as_str());
        map.insert(headers::CONTENT_TYPE, "application/json");
        let sent = Sent {
            subject: entry.subject(&self.tenant),
            headers: map,
            body: serde_json::to_vec(command).unwrap(),
            repeatable,
        };
        self.scene.stage.publish_raw(&sent.subject, sent.headers.clone(), sent.body.clone()).await;
        self.sent.push(sent);
        self.scene.stage.outcome(id).await
    }

    async fn has_rules(&mut self, rules: Rules) {
        let bp = |rate: i64| u32::try_from(rate).unwrap();
        let set: SetProgram = program(|p| {
            p.hold_days = HOLD_DAYS;
            p.rates.bronze_bp = bp(rules.bronze_bp);
            p.overrides_bp = rules.overrides_bp.iter().copied().map(bp).collect();
            p.override_base = rules.override_base;
        });
        self.does(&set, false).await;
        self.books.rules.push((self.now, rules));
    }

    /// The worker has set this aside, and it is what the book-keeper owes.
    async fn reserved(&mut self, told: &Value) {
        let id: Uuid = told["payout_id"].as_str().unwrap().parse().unwrap();
        let partner = self.partners.iter().position(|(id, _)| told["partner_id"] == id.to_string()).unwrap();
        let currency = CURRENCIES.into_iter().find(|currency| told["currency"] == *currency).unwrap();
        let amount = self.books.due(partner, currency, self.now);
        assert_eq!(told["amount"].as_i64(), Some(amount), "{told}");
        let left = |told: &Told| told.name == "payout_submitted" && told.data["payout_id"] == id.to_string();
        self.scene.stage.event(left).await;
        self.books.payouts.push(Payout { id, partner, currency, amount, fate: Fate::Out });
    }

    async fn sells(&mut self, sold: &Sold) {
        let id = self.books.sales.len().to_string();
        let seller = self.books.bound.get(&sold.customer).copied().unwrap_or(sold.seller);
        let so_far = (self.now - self.began).num_milliseconds();
        let made = sold.made.map(|part| self.began + TimeDelta::milliseconds(so_far * i64::from(part) / 1_000));
        let rate = if let Paid::Yen(rate) = sold.paid { Some(rate) } else { None };
        let order = RecordOrder {
            customer_id: sold.customer.to_string(),
            lines: vec![line("0", sold.amounts[0]), line("1", sold.amounts[1])],
            currency: sold.paid.currency().parse().unwrap(),
            fx_rate_e9: rate,
            ordered_at: made,
            customer_email: sold.own.then(|| format!("p{seller}@p{seller}.example")),
            ..order(&id, Some(&self.partners[sold.seller].1.clone()))
        };
        let told = self.does(&order, true).await.data;
        assert_eq!(told["order_id"], id.as_str(), "{told}");
        let Sold { seller, customer, amounts, paid, own, .. } = *sold;
        self.books.order(seller, customer, amounts, paid, own, made.unwrap_or(self.now));
    }

    async fn happens(&mut self, step: &Step) {
        match step {
            Step::Order(sold) => self.sells(sold).await,
            Step::Refund(of, which, part) => {
                let Some(n) = of.checked_rem(self.books.sales.len()) else { return };
                let line = &self.books.sales[n].lines[*which];
                let amount = (line.paid * part / 1_000).max(1);
                let fits = line.back + amount <= line.paid;
                let lines = vec![RefundLine { line_id: which.to_string(), amount }];
                self.refunds(n, lines, fits).await;
                if fits {
                    self.books.sales[n].lines[*which].back += amount;
                }
            }
            Step::Whole(of) => {
                let Some(n) = of.checked_rem(self.books.sales.len()) else { return };
                self.refunds(n, vec![], true).await;
                let sale = &mut self.books.sales[n];
                sale.whole = true;
                sale.lines.iter_mut().for_each(|line| line.back = line.paid);
            }
            Step::Tier(partner, tier) => {
                let partner_id = self.partners[*partner].0;
                self.does(&SetTier { partner_id, tier: *tier, effective_from: None }, false).await;
                self.books.tiers.push((self.now, *partner, *tier));
            }
            Step::Move(partner, to) => {
                let parent_id = to.map(|to| self.partners[to].0);
                let told = self.does(&MovePartner { partner_id: self.partners[*partner].0, parent_id }, false).await;
                let cycle = to.is_some_and(|to| to == *partner || self.books.above(to, self.now).contains(partner));
                assert_eq!(told.data["code"] == "cycle", cycle, "{told:?}");
                if !cycle {
                    self.books.parents.push((self.now, *partner, *to));
                }
            }
            Step::Rules(rules) => self.has_rules(rules.clone()).await,
            Step::Pay(partner, currency) => {
                let partner_id = self.partners[*partner].0;
                let told = self.does(&RequestPayout { partner_id, currency: currency.parse().unwrap() }, false).await;
                match self.books.due(*partner, currency, self.now) > 0 {
                    true => self.reserved(&told.data).await,
                    false => assert_eq!(told.data["code"], "below_minimum", "{told:?}"),
                }
            }
            Step::Run => {
                let told = self.does(&RunPayouts { program: "main".parse().unwrap() }, false).await;
                let (books, now) = (&self.books, self.now);
                let all = (0..PARTNERS).flat_map(|p| CURRENCIES.map(|currency| books.due(p, currency, now)));
                let owed = all.filter(|due| *due > 0).count();
                assert_eq!(told.data["reserved"].as_u64(), Some(owed as u64), "{told:?}");
                let reserved = crate::scene::of(self.scene, &told, "payout_reserved");
                assert_eq!(reserved.len(), owed);
                for told in reserved {
                    self.reserved(&told.data).await;
                }
            }
            Step::Settle(of, result) => {
                let Some(n) = of.checked_rem(self.books.payouts.len()) else { return };
                let payout_id = self.books.payouts[n].id;
                let told = self.does(&SettlePayout { payout_id, result: *result, note: String::new() }, false).await;
                let fate = match (*result, self.books.payouts[n].fate) {
                    (PayoutResult::Confirmed, Fate::Out) => Fate::Arrived,
                    (PayoutResult::Failed, Fate::Out) => Fate::Failed,
                    (PayoutResult::Returned, Fate::Out | Fate::Arrived) => Fate::Returned,
                    // It had left after all.
                    (PayoutResult::Confirmed, Fate::Failed) if !self.books.paid_again(n) => Fate::Arrived,
                    (PayoutResult::Confirmed, Fate::Failed) => return assert_eq!(told.data["code"], "paid_again"),
                    _ => return assert_eq!(told.data["code"], "wrong_status"),
                };
                assert_eq!(told.name, "payout_settled", "{told:?}");
                self.books.payouts[n].fate = fate;
            }
            Step::Review(of, decision) => {
                let Some(n) = of.checked_rem(self.books.sales.len()) else { return };
                let (program, order_id) = ("main".parse().unwrap(), n.to_string());
                let review = ReviewOrder { program, order_id, decision: *decision, note: String::new() };
                let told = self.does(&review, false).await;
                let sale = &mut self.books.sales[n];
                assert_eq!(told.data["code"] == "not_held", !sale.held, "{told:?}");
                sale.refused |= sale.held && *decision == ReviewDecision::Refuse;
                sale.held = false;
            }
            Step::Again(n) => {
                let Some(n) = n.checked_rem(self.sent.len()) else { return };
                let Sent { subject, headers, body, .. } = &self.sent[n];
                self.scene.stage.publish_raw(subject, headers.clone(), body.clone()).await;
            }
            Step::Repeat(n) => {
                let repeatable: Vec<_> = self.sent.iter().filter(|sent| sent.repeatable).collect();
                let Some(n) = n.checked_rem(repeatable.len()) else { return };
                let mut map = repeatable[n].headers.clone();
                let id = clock::new_id();
                map.insert(headers::ID, id.to_string().as_str());
                self.scene.stage.publish_raw(&repeatable[n].subject, map, repeatable[n].body.clone()).await;
                self.scene.stage.outcome(id).await;
            }
        }
    }

    async fn refunds(&mut self, order: usize, lines: Vec<RefundLine>, fits: bool) {
        let (program, order_id) = ("main".parse().unwrap(), order.to_string());
        let refund_id = format!("r{}", self.sent.len());
        let told = self.does(&RecordRefund { program, order_id, refund_id, lines }, true).await;
        assert_eq!(told.data["code"] == "more_than_paid", !fits, "{told:?}");
    }
}

async fn holds(scene: &Scene, tenant: String, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let began = clock::now().duration_trunc(TimeDelta::seconds(1)).unwrap() - TimeDelta::days(20);
    let (now, books) = (began, Books::default());
    let mut case = Case { scene, tenant: tenant.clone(), began, now, sent: vec![], partners: vec![], books };
    let (bronze_bp, override_base) = (500, OverrideBase::ChildCommission);
    case.has_rules(Rules { bronze_bp, overrides_bp: vec![250, 125], override_base }).await;
    for n in 0..PARTNERS {
        let above = n.checked_sub(1).map(|above| case.partners[above].1.clone());
        let told = case.does(&registration(&format!("p{n}"), above.as_deref()), false).await.data;
        let id = told["partner_id"].as_str().unwrap().parse().unwrap();
        case.partners.push((id, told["code"].as_str().unwrap().to_owned()));
        case.books.parents.push((case.now, n, n.checked_sub(1)));
        case.does(&SetPayoutAccount { partner_id: id, account: "DE1".into() }, false).await;
    }
    for step in &steps {
        case.happens(step).await;
    }
    // Everything once more, the last first.
    for sent in case.sent.iter().rev() {
        scene.stage.publish_raw(&sent.subject, sent.headers.clone(), sent.body.clone()).await;
    }
    // And every order and refund as a new command, the last first and none waited for: the handlers see them again.
    let mut again = vec![];
    for sent in case.sent.iter().rev().filter(|sent| sent.repeatable) {
        let (mut map, id) = (sent.headers.clone(), clock::new_id());
        map.insert(headers::ID, id.to_string().as_str());
        scene.stage.publish_raw(&sent.subject, map, sent.body.clone()).await;
        again.push(id);
    }
    for id in again {
        scene.stage.outcome(id).await;
    }
    let check = CheckLedger { program: "main".parse().unwrap() };
    case.does(&RecordOrder { lines: vec![line("0", 0)], ..order("last", None) }, false).await;
    let told = case.does(&check, false).await.data;
    prop_assert_eq!(&told["differences"], 0, "{}", told);
    prop_assert_eq!(told["orders"].as_u64(), Some(case.books.sales.len() as u64 + 1));

    let (balances, books) = (balances(scene, &tenant).await, &case.books);
    for (n, (id, _)) in case.partners.iter().enumerate() {
        for currency in CURRENCIES {
            let theirs = balances.iter().filter(|(whose, of, _, _)| whose == id && of == currency);
            let theirs: Vec<_> = theirs.map(|(_, _, account, balance)| (account.as_str(), *balance)).collect();
            let balance = |account: &str| theirs.iter().filter(|(of, _)| *of == account).map(|(_, b)| *b).sum::<i64>();
            let (owed, paid) = (books.owed(n, currency), books.paid(n, currency));
            prop_assert_eq!(balance("partner"), owed - paid, "partner {} in {}", n, currency);
            prop_assert_eq!(balance("clearing") + balance("bank"), paid, "partner {} in {}", n, currency);
            prop_assert_eq!(theirs.iter().map(|(_, b)| b).sum::<i64>(), 0);
        }
    }
    prop_assert!(balances.iter().all(|(_, currency, _, _)| CURRENCIES.contains(&currency.as_str())));
    Ok(())
}

/// Whose, in which currency, of which account, how much.
async fn balances(scene: &Scene, tenant: &str) -> Vec<(Uuid, String, String, i64)> {
    let balances = "select partner_id, currency, account, balance from commissioner.balances where tenant = $1";
    sqlx::query_as(balances).bind(tenant).fetch_all(scene.db()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_course_of_events_told_in_any_order_ends_balanced_and_as_worked_out_from_scratch() {
    let scene = Scene::new().await;
    let here = tokio::runtime::Handle::current();
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let result = tokio::task::block_in_place(|| {
        let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
        TestRunner::new(config).run(&prop::collection::vec(step(), 1..60), |steps| {
            // Shrinking takes a fresh tenant each time as well.
            let tenant = format!("case-{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            here.block_on(holds(&scene, tenant, steps))
        })
    });
    result.unwrap();
    scene.running.stop().await;
}

static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
