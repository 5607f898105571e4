//! Whatever happens, in whatever order it is told again: the books balance, and come to what a book-keeper comes to who
//! does all of it again from the beginning, knowing nothing of how the worker does it.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use omnibus_runtime::clock;
use omnibus_schemas::commissioner::{
    CheckLedger, MovePartner, OverrideBase, PayoutResult, RecordOrder, RecordRefund, RefundLine, RequestPayout,
    ReviewDecision, ReviewOrder, SetPayoutAccount, SetTier, SettlePayout, Tier,
};
use omnibus_schemas::{Command, headers};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;
use uuid::Uuid;

use crate::scene::{Scene, line, order, program, registration};

/// Partners in every case: each but the first begins below the one before.
const PARTNERS: usize = 4;
const OVERRIDES: [i64; 2] = [250, 125];

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// Seller, customer, two lines, is it the partner's own?
    Order(usize, u8, i64, i64, bool),
    /// Of which order, which line, how many thousandths of it.
    Refund(usize, usize, i64),
    /// All that is left of an order.
    Whole(usize),
    Tier(usize, Tier),
    /// Below whom, if anybody.
    Move(usize, Option<usize>),
    Pay(usize),
    /// What becomes of a partner's latest payout.
    Settle(usize, PayoutResult),
    Review(usize, ReviewDecision),
    /// An earlier command is delivered again.
    Again(usize),
    /// The shop reports an earlier order or refund once more, as a new command.
    Repeat(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let partner = 0..PARTNERS;
    let tier = prop::sample::select(Tier::ALL.to_vec());
    let result = prop::sample::select(vec![PayoutResult::Confirmed, PayoutResult::Failed, PayoutResult::Returned]);
    let decision = prop::sample::select(vec![ReviewDecision::Clear, ReviewDecision::Refuse]);
    prop_oneof![
        6 => (partner.clone(), 0..6u8, 0..200_000i64, 0..50i64, prop::bool::weighted(0.2))
            .prop_map(|(p, c, a, b, own)| Step::Order(p, c, a, b, own)),
        5 => (any::<usize>(), 0..2usize, 1..1_100i64).prop_map(|(o, l, part)| Step::Refund(o, l, part)),
        1 => any::<usize>().prop_map(Step::Whole),
        2 => (partner.clone(), tier).prop_map(|(p, t)| Step::Tier(p, t)),
        2 => (partner.clone(), prop::option::of(partner.clone())).prop_map(|(p, to)| Step::Move(p, to)),
        2 => partner.clone().prop_map(Step::Pay),
        2 => (partner, result).prop_map(|(p, r)| Step::Settle(p, r)),
        2 => (any::<usize>(), decision).prop_map(|(o, d)| Step::Review(o, d)),
        3 => any::<usize>().prop_map(Step::Again),
        1 => any::<usize>().prop_map(Step::Repeat),
    ]
}

/// A line of the book-keeper's.
#[derive(Debug, Clone)]
struct Line {
    paid: i64,
    back: i64,
    /// Whose, and how much.
    earned: Vec<(usize, i64)>,
}

#[derive(Debug, Clone)]
struct Sale {
    lines: Vec<Line>,
    held: bool,
    refused: bool,
    whole: bool,
}

/// What a commission is worth after refunds: by fractions, cross-multiplied, not by the worker's formula.
fn worth(earned: i64, line: &Line, sale: &Sale) -> i64 {
    if sale.refused || sale.whole {
        return 0;
    }
    if line.paid == 0 {
        return earned;
    }
    // The largest r with (2 r - 1) paid <= 2 earned back is the nearest, halves up.
    let (twice, paid) = (2 * i128::from(earned) * i128::from(line.back), i128::from(line.paid));
    let mut taken = twice / (2 * paid);
    while (2 * (taken + 1) - 1) * paid <= twice {
        taken += 1;
    }
    earned - i64::try_from(taken).unwrap()
}

/// The same for a rate in basis points.
fn at(base: i64, rate_bp: i64) -> i64 {
    let rest = base * rate_bp % 10_000;
    base * rate_bp / 10_000 + i64::from(rest >= 5_000)
}

#[derive(Debug, Default)]
struct Books {
    sales: Vec<Sale>,
    bound: BTreeMap<u8, usize>,
    tiers: BTreeMap<usize, Tier>,
    parents: BTreeMap<usize, usize>,
    /// Paid out for good or on its way, by partner; payouts in order with whether they may still be settled.
    payouts: BTreeMap<usize, Vec<(i64, &'static str)>>,
}

impl Books {
    fn above(&self, partner: usize) -> Vec<usize> {
        std::iter::successors(self.parents.get(&partner), |p| self.parents.get(p)).copied().collect()
    }

    fn order(&mut self, seller: usize, customer: u8, amounts: [i64; 2], own: bool) {
        let bound = self.bound.get(&customer).copied();
        let seller = bound.unwrap_or(seller);
        self.bound.insert(customer, seller);
        let rate = match self.tiers.get(&seller).copied().unwrap_or_default() {
            Tier::Bronze => 500,
            Tier::Silver => 1_000,
            Tier::Gold => 1_500,
            Tier::Platinum => 2_000,
        };
        let lines = amounts.map(|paid| {
            let mut earned = vec![(seller, at(paid, rate))];
            let mut below = at(paid, rate);
            for (above, rate) in self.above(seller).into_iter().zip(OVERRIDES) {
                below = at(below, rate);
                earned.push((above, below));
            }
            Line { paid, back: 0, earned }
        });
        self.sales.push(Sale { lines: lines.to_vec(), held: own, refused: false, whole: false });
    }

    /// What orders owe a partner; of those that are held only if asked for.
    fn owed(&self, partner: usize, held_too: bool) -> i64 {
        let of = |sale: &Sale, line: &Line| -> i64 {
            line.earned.iter().filter(|(whose, _)| *whose == partner).map(|(_, e)| worth(*e, line, sale)).sum()
        };
        let sales = self.sales.iter().filter(|sale| held_too || !sale.held);
        sales.map(|sale| sale.lines.iter().map(|line| of(sale, line)).sum::<i64>()).sum()
    }

    fn paid(&self, partner: usize) -> i64 {
        let all = self.payouts.get(&partner).into_iter().flatten();
        all.filter(|(_, status)| ["out", "in"].contains(status)).map(|(amount, _)| amount).sum()
    }
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
    now: DateTime<Utc>,
    sent: Vec<Sent>,
    partners: Vec<(Uuid, String)>,
    payouts: BTreeMap<usize, Vec<Uuid>>,
    books: Books,
}

impl Case<'_> {
    /// Sends a command under a time of its own, each later than the one before, and waits for its outcome.
    async fn does<C: Command>(&mut self, command: &C, repeatable: bool) -> Value {
        self.now += TimeDelta::milliseconds(1);
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
        self.scene.stage.outcome(id).await.data
    }

    async fn happens(&mut self, step: &Step) {
        match step {
            Step::Order(seller, customer, a, b, own) => {
                let id = self.books.sales.len().to_string();
                let seller_of_it = self.books.bound.get(customer).copied().unwrap_or(*seller);
                let order = RecordOrder {
                    customer_id: customer.to_string(),
                    lines: vec![line("0", *a), line("1", *b)],
                    customer_email: own.then(|| format!("p{seller_of_it}@p{seller_of_it}.example")),
                    ..order(&id, Some(&self.partners[*seller].1.clone()))
                };
                let told = self.does(&order, true).await;
                assert_eq!(told["order_id"], id.as_str(), "{told}");
                self.books.order(*seller, *customer, [*a, *b], *own);
            }
            Step::Refund(of, which, part) => {
                let Some(n) = of.checked_rem(self.books.sales.len()) else { return };
                let line = &self.books.sales[n].lines[*which];
                let amount = (line.paid * part / 1_000).max(1);
                let fits = line.back + amount <= line.paid;
                let lines = vec![RefundLine { line_id: which.to_string(), amount }];
                let refund_id = format!("r{}", self.sent.len());
                let program = "main".parse().unwrap();
                let told = self.does(&RecordRefund { program, order_id: n.to_string(), refund_id, lines }, true).await;
                assert_eq!(told["code"] == "more_than_paid", !fits, "{told}");
                if fits {
                    self.books.sales[n].lines[*which].back += amount;
                }
            }
            Step::Whole(of) => {
                let Some(n) = of.checked_rem(self.books.sales.len()) else { return };
                let refund_id = format!("r{}", self.sent.len());
                let program = "main".parse().unwrap();
                self.does(&RecordRefund { program, order_id: n.to_string(), refund_id, lines: vec![] }, true).await;
                let sale = &mut self.books.sales[n];
                sale.whole = true;
                sale.lines.iter_mut().for_each(|line| line.back = line.paid);
            }
            Step::Tier(partner, tier) => {
                let partner_id = self.partners[*partner].0;
                self.does(&SetTier { partner_id, tier: *tier, effective_from: None }, false).await;
                self.books.tiers.insert(*partner, *tier);
            }
            Step::Move(partner, to) => {
                let parent_id = to.map(|to| self.partners[to].0);
                let told = self.does(&MovePartner { partner_id: self.partners[*partner].0, parent_id }, false).await;
                let cycle = to.is_some_and(|to| to == *partner || self.books.above(to).contains(partner));
                assert_eq!(told["code"] == "cycle", cycle, "{told}");
                match to {
                    _ if cycle => {}
                    Some(to) => drop(self.books.parents.insert(*partner, *to)),
                    None => drop(self.books.parents.remove(partner)),
                }
            }
            Step::Pay(partner) => {
                let pay = RequestPayout { partner_id: self.partners[*partner].0, currency: "EUR".parse().unwrap() };
                let told = self.does(&pay, false).await;
                let due = self.books.owed(*partner, false) - self.books.paid(*partner);
                assert_eq!(told["amount"].as_i64(), (due > 0).then_some(due), "{told}");
                if due > 0 {
                    let id: Uuid = told["payout_id"].as_str().unwrap().parse().unwrap();
                    let there = |told: &omnibus_runtime::testing::Told| {
                        told.name == "payout_submitted" && told.data["payout_id"] == id.to_string()
                    };
                    self.scene.stage.event(there).await;
                    self.payouts.entry(*partner).or_default().push(id);
                    self.books.payouts.entry(*partner).or_default().push((due, "out"));
                }
            }
            Step::Settle(partner, result) => {
                let Some(payout_id) = self.payouts.get(partner).and_then(|all| all.last().copied()) else { return };
                let told = self.does(&SettlePayout { payout_id, result: *result, note: String::new() }, false).await;
                let last = self.books.payouts.get_mut(partner).unwrap().last_mut().unwrap();
                let status = match (*result, last.1) {
                    (PayoutResult::Confirmed, "out") => "in",
                    (PayoutResult::Failed, "out") | (PayoutResult::Returned, "out" | "in") => "back",
                    _ => return assert_eq!(told["code"], "wrong_status"),
                };
                last.1 = status;
            }
            Step::Review(of, decision) => {
                let Some(n) = of.checked_rem(self.books.sales.len()) else { return };
                let (program, order_id) = ("main".parse().unwrap(), n.to_string());
                let review = ReviewOrder { program, order_id, decision: *decision, note: String::new() };
                let told = self.does(&review, false).await;
                let sale = &mut self.books.sales[n];
                assert_eq!(told["code"] == "not_held", !sale.held, "{told}");
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
}

async fn holds(scene: &Scene, tenant: String, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut case = Case {
        scene,
        tenant: tenant.clone(),
        now: clock::now() - TimeDelta::minutes(10),
        sent: vec![],
        partners: vec![],
        payouts: BTreeMap::new(),
        books: Books::default(),
    };
    let rules = program(|p| {
        p.overrides_bp = OVERRIDES.map(|rate| u32::try_from(rate).unwrap()).to_vec();
        p.override_base = OverrideBase::ChildCommission;
    });
    case.does(&rules, false).await;
    for n in 0..PARTNERS {
        let above = n.checked_sub(1).map(|above| case.partners[above].1.clone());
        let told = case.does(&registration(&format!("p{n}"), above.as_deref()), false).await;
        let id = told["partner_id"].as_str().unwrap().parse().unwrap();
        case.partners.push((id, told["code"].as_str().unwrap().to_owned()));
        case.does(&SetPayoutAccount { partner_id: id, account: "DE1".into() }, false).await;
        if n > 0 {
            case.books.parents.insert(n, n - 1);
        }
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
    let told = case.does(&check, false).await;
    prop_assert_eq!(&told["differences"], 0, "{}", told);
    prop_assert_eq!(told["orders"].as_u64(), Some(case.books.sales.len() as u64 + 1));

    for (n, (id, _)) in case.partners.iter().enumerate() {
        let balances: Vec<(String, i64)> =
            sqlx::query_as("select account, balance from commissioner.balances where tenant = $1 and partner_id = $2")
                .bind(&tenant)
                .bind(id)
                .fetch_all(scene.db())
                .await
                .unwrap();
        let balance = |account: &str| balances.iter().filter(|(of, _)| of == account).map(|(_, b)| *b).sum::<i64>();
        prop_assert_eq!(balance("partner"), case.books.owed(n, true) - case.books.paid(n), "partner {}", n);
        prop_assert_eq!(balance("clearing") + balance("bank"), case.books.paid(n), "partner {}", n);
        prop_assert_eq!(balances.iter().map(|(_, b)| b).sum::<i64>(), 0);
    }
    Ok(())
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
