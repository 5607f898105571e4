//! Records paid orders: whom they are due to, what they earn, all in two statements for as many as come at once.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use omnibus_runtime::{Events, Fail, HandleMany, One};
use omnibus_schemas::commissioner::{
    Attribution, CommissionEarned, Currency, OrderRecorded, RecordOrder, Review, SetProgram, Tier,
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Commissioner;
use crate::names::{commission, timed};
use crate::order::booking::{Booking, CommissionRow, CustomerRow, LineRow, OrderRow};
use crate::order::lookup::{Asked, Before, Found, find};
use crate::rules::no_program;
use crate::split::{Terms, base, exchanged, shares};
use crate::suspicion::suspected;

/// How far a shop's clock may run ahead of ours.
const AHEAD: TimeDelta = TimeDelta::minutes(5);

impl HandleMany<RecordOrder> for Commissioner {
    async fn handle_many(
        &self,
        db: &mut PgConnection,
        many: Vec<One<'_, RecordOrder>>,
    ) -> Result<Vec<Result<Events, Fail>>, Fail> {
        let mut answers = Vec::with_capacity(many.len());
        for wave in waves(&many) {
            answers.extend(self.record(db, wave).await?);
        }
        Ok(answers)
    }
}

/// Runs of orders of which none depends on another: each order and each customer at most once.
fn waves<'a, 'b>(many: &'a [One<'b, RecordOrder>]) -> Vec<&'a [One<'b, RecordOrder>]> {
    let (mut waves, mut from) = (Vec::new(), 0);
    let (mut orders, mut customers) = (HashSet::new(), HashSet::new());
    for (n, one) in many.iter().enumerate() {
        let place = (one.tenant(), one.command.program.as_str());
        let order = orders.insert((place, one.command.order_id.as_str()));
        let customer = customers.insert((place, one.command.customer_id.as_str()));
        if !order || !customer {
            waves.push(&many[from..n]);
            from = n;
            orders.clear();
            customers.clear();
            orders.insert((place, one.command.order_id.as_str()));
            customers.insert((place, one.command.customer_id.as_str()));
        }
    }
    waves.push(&many[from..]);
    waves
}

impl Commissioner {
    async fn record(
        &self,
        db: &mut PgConnection,
        wave: &[One<'_, RecordOrder>],
    ) -> Result<Vec<Result<Events, Fail>>, Fail> {
        let asked: Vec<_> = wave
            .iter()
            .map(|one| Asked {
                tenant: one.tenant(),
                program: one.command.program.as_str(),
                order_id: &one.command.order_id,
                customer_id: &one.command.customer_id,
                code: one.command.code.as_deref(),
                click_id: one.command.click_id,
                ordered_at: ordered_at(one),
            })
            .collect();
        let (mut booking, mut answers) = (Booking::default(), Vec::with_capacity(wave.len()));
        for (one, found) in wave.iter().zip(find(db, &asked).await?) {
            answers.push(match (found.version, &found.before) {
                (None, _) => Err(no_program(one.command.program.as_str())),
                (Some(_), Some(before)) => again(one, before),
                (Some(version), None) => {
                    let program = one.command.program.as_str();
                    let rules = self.rules.version(db, one.tenant(), program, version).await?;
                    book(one, found, version, &rules, &mut booking)
                }
            });
        }
        match booking.write(db).await? {
            true => Ok(answers),
            // The next look finds whom the customer is bound to.
            false => Err(Fail::Snooze(std::time::Duration::from_millis(20))),
        }
    }
}

fn ordered_at(one: &One<'_, RecordOrder>) -> DateTime<Utc> {
    one.command.ordered_at.unwrap_or_else(|| one.now())
}

/// What the order says, as one number: two orders of one id must say the same.
fn content(order: &RecordOrder) -> Uuid {
    let text = serde_json::to_vec(order).expect("contract types have string keys and no failing serializers");
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &text)
}

fn again(one: &One<'_, RecordOrder>, before: &Before) -> Result<Events, Fail> {
    let order = &one.command;
    if before.content != content(order) {
        let detail =
            "order_id: the order was recorded with other content, which it keeps; what was paid back is a refund";
        return Err(Fail::reject("order_differs", detail));
    }
    Ok(Events::none().about(
        order.order_id.clone(),
        OrderRecorded {
            program: order.program.clone(),
            order_id: order.order_id.clone(),
            partner_id: before.partner_id,
            attribution: before.attribution,
            review: before.review,
            reasons: vec![],
            commissions: 0,
            duplicate: true,
        },
    ))
}

fn check(one: &One<'_, RecordOrder>, rules: &SetProgram) -> Result<Currency, Fail> {
    let order = &one.command;
    if ordered_at(one) > one.now() + AHEAD {
        return Err(Fail::reject("in_the_future", "ordered_at: must not be in the future"));
    }
    let mut seen = HashSet::new();
    for (n, line) in order.lines.iter().enumerate() {
        if !seen.insert(line.line_id.as_str()) {
            let detail = format!("lines/{n}/line_id: an earlier line of the order has it; each needs its own");
            return Err(Fail::reject("line_twice", detail));
        }
        if line.tax + line.shipping > line.amount {
            let detail = format!("lines/{n}: tax and shipping are parts of the amount and can't be more than it");
            return Err(Fail::reject("parts_exceed_amount", detail));
        }
    }
    match order.fx_rate_e9 {
        Some(_) if order.currency == rules.currency => {
            let detail = format!("fx_rate_e9: the order is in the program's own currency, {}", rules.currency);
            Err(Fail::reject("rate_not_needed", detail))
        }
        Some(_) => Ok(rules.currency),
        None => Ok(order.currency),
    }
}

fn book<'a>(
    one: &'a One<'_, RecordOrder>,
    found: Found,
    version: i32,
    rules: &SetProgram,
    into: &mut Booking<'a>,
) -> Result<Events, Fail> {
    let (tenant, order, at) = (one.tenant(), &one.command, ordered_at(one));
    let (program, order_id) = (order.program.as_str(), order.order_id.as_str());
    let currency = check(one, rules)?;
    let available_at = at + TimeDelta::days(rules.hold_days.into());
    // Also those who earn nothing under these rules: what-if may give them something.
    let parents = found.seller.as_ref().map(|seller| seller.parents.clone()).unwrap_or_default();
    // Those above who earn nothing on it have no reason to buy through it.
    let earning = rules.overrides_bp.len();
    let suspected = found
        .seller
        .as_ref()
        .map(|seller| suspected(order, &seller.traits, seller.above.iter().take(earning).flatten()));
    let suspected = suspected.unwrap_or_default();
    let review = if suspected.is_empty() { Review::None } else { Review::Held };
    let tier = found.seller.as_ref().map_or(Tier::Bronze, |seller| seller.tier);

    let (mut lines, mut commissions, mut events) = (vec![], vec![], Events::none());
    let too_large = |n: usize| {
        Fail::reject("too_large", format!("lines/{n}: comes to more than the ledger takes (10^15 minor units)"))
    };
    for (n, line) in order.lines.iter().enumerate() {
        let own = base(rules, line);
        let of = match order.fx_rate_e9 {
            Some(rate) => exchanged(own, order.currency, currency, rate).ok_or_else(|| too_large(n))?,
            None => own,
        };
        lines.push(LineRow {
            tenant,
            program,
            order_id,
            line_id: &line.line_id,
            amount: line.amount,
            tax: line.tax,
            shipping: line.shipping,
            discount: line.discount,
            base: of,
            base_currency: currency.code(),
            fx_rate_e9: order.fx_rate_e9,
        });
        let Some(seller) = &found.seller else { continue };
        let all = shares(Terms::of(rules), tier, seller.partner_id, &parents, of).ok_or_else(|| too_large(n))?;
        for share in all {
            let rate_bp = i32::try_from(share.rate_bp)?;
            let one_of = commission(tenant, program, order_id, &line.line_id, share.level, share.partner_id);
            let commission_id = timed(one.now(), one_of);
            commissions.push(CommissionRow {
                tenant,
                program,
                order_id,
                line_id: &line.line_id,
                level: share.level,
                partner_id: share.partner_id,
                commission_id,
                rate_bp,
                base: share.base,
                amount: share.amount,
                currency: currency.code(),
                ordered_at: at,
                booked_at: one.now(),
                available_at,
            });
            events = events.about(
                commission_id.to_string(),
                CommissionEarned {
                    commission_id,
                    partner_id: share.partner_id,
                    program: order.program.clone(),
                    order_id: order_id.to_owned(),
                    line_id: line.line_id.clone(),
                    level: share.level,
                    tier,
                    rate_bp,
                    base: share.base,
                    amount: share.amount,
                    currency,
                    available_at,
                    held: review == Review::Held,
                },
            );
        }
    }
    let (partner_id, attribution) = match &found.seller {
        Some(seller) => (Some(seller.partner_id), seller.attribution),
        None => (None, Attribution::None),
    };
    if let Some(partner_id) = partner_id
        && attribution != Attribution::Bound
    {
        let customer_id = order.customer_id.as_str();
        into.customers.push(CustomerRow {
            tenant,
            program,
            customer_id,
            partner_id,
            bound_at: at,
            bound_by: attribution,
        });
    }
    let recorded = OrderRecorded {
        program: order.program.clone(),
        order_id: order_id.to_owned(),
        partner_id,
        attribution,
        review,
        reasons: suspected.clone(),
        commissions: u32::try_from(commissions.len())?,
        duplicate: false,
    };
    into.orders.push(OrderRow {
        tenant,
        program,
        order_id,
        content: content(order),
        command_id: one.meta().id,
        customer_id: &order.customer_id,
        currency: order.currency.code(),
        ordered_at: at,
        recorded_at: one.now(),
        partner_id,
        attribution,
        click_id: order.click_id.filter(|_| attribution == Attribution::Click),
        rules_version: version,
        tier,
        parents,
        available_at,
        review,
        reasons: suspected,
    });
    into.lines.extend(lines);
    into.commissions.extend(commissions);
    Ok(events.about(order_id.to_owned(), recorded))
}
