//! One statement that finds, for many orders at once: the rules of their time, whom they are due to and why, that
//! partner's tier of their time, and the partners above at their time. Every look-up is bound to its order's tenant.

use chrono::{DateTime, Utc};
use omnibus_schemas::commissioner::{Attribution, PartnerStatus, Review, Tier};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::suspicion::Traits;
use crate::words::read;

/// What is asked about one order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) program: &'a str,
    pub(crate) order_id: &'a str,
    pub(crate) customer_id: &'a str,
    pub(crate) code: Option<&'a str>,
    pub(crate) click_id: Option<Uuid>,
    pub(crate) ordered_at: DateTime<Utc>,
}

/// What was found about one order.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The version of the rules; none if there is no such program.
    pub(crate) version: Option<i32>,
    /// The order itself, if it was recorded before.
    pub(crate) before: Option<Before>,
    /// Whom it is due to: an approved partner.
    pub(crate) seller: Option<Seller>,
}

/// An order that was recorded before.
#[derive(Debug)]
pub(crate) struct Before {
    pub(crate) content: Uuid,
    pub(crate) partner_id: Option<Uuid>,
    pub(crate) attribution: Attribution,
    pub(crate) review: Review,
}

/// The partner whom an order is due to.
#[derive(Debug)]
pub(crate) struct Seller {
    pub(crate) partner_id: Uuid,
    pub(crate) attribution: Attribution,
    pub(crate) tier: Tier,
    pub(crate) traits: Traits,
    /// The partners above, nearest first; none in the place of one who is not approved.
    pub(crate) parents: Vec<Option<Uuid>>,
    /// What is known of those.
    pub(crate) above: Vec<Option<Traits>>,
}

/// Laterals with a limit keep each look-up on its index, whatever the planner believes of the tables' sizes.
const FIND: &str = "
with recursive asked as (
    select * from unnest($1::int4[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[],
        $8::timestamptz[]) as a (n, tenant, program, order_id, customer_id, code, click_id, ordered_at)
), found as (
    select a.n, a.tenant, a.ordered_at, r.version, o.content, o.partner_id as was, o.attribution as was_by, o.review,
        coalesce(cu.partner_id, co.partner_id, cl.partner_id) as seller,
        case when cu.partner_id is not null then 'bound' when co.partner_id is not null then 'code' else 'click' end
            as attribution
    from asked a
    left join lateral (
        select version, window_days from commissioner.rules
        where tenant = a.tenant and program = a.program
        order by effective_from <= a.ordered_at desc,
            case when effective_from <= a.ordered_at then version else -version end desc
        limit 1
    ) r on true
    left join lateral (
        select content, partner_id, attribution, review from commissioner.orders
        where tenant = a.tenant and program = a.program and order_id = a.order_id limit 1
    ) o on true
    left join lateral (
        select partner_id from commissioner.customers
        where tenant = a.tenant and program = a.program and customer_id = a.customer_id limit 1
    ) cu on true
    left join lateral (
        select c.partner_id from commissioner.codes c
        cross join lateral (
            select status from commissioner.partners where tenant = c.tenant and partner_id = c.partner_id limit 1
        ) p
        where c.tenant = a.tenant and c.code = a.code and c.program = a.program and p.status = 'approved' limit 1
    ) co on cu.partner_id is null
    left join lateral (
        select k.partner_id from commissioner.clicks k
        cross join lateral (
            select status from commissioner.partners where tenant = k.tenant and partner_id = k.partner_id limit 1
        ) p
        where k.tenant = a.tenant and k.click_id = a.click_id and k.program = a.program and k.consent
            and k.clicked_at <= a.ordered_at
            and k.clicked_at >= a.ordered_at - make_interval(days => r.window_days)
            and p.status = 'approved'
        limit 1
    ) cl on cu.partner_id is null and co.partner_id is null
), up as (
    select n, tenant, ordered_at, seller as partner_id, 0 as level from found where seller is not null
    union all
    select u.n, u.tenant, u.ordered_at, above.parent_id, u.level + 1
    from up u
    cross join lateral (
        select parent_id from commissioner.parents
        where tenant = u.tenant and partner_id = u.partner_id and effective_from <= u.ordered_at
        order by effective_from desc limit 1
    ) above
    where above.parent_id is not null and u.level < 5
)
select f.n, f.version, f.content, f.was, f.was_by, f.review, f.attribution, u.level, u.partner_id,
    p.status, p.email_key, p.payment_fingerprint, p.device, coalesce(t.tier, 'bronze') as tier
from found f
left join up u on u.n = f.n
left join lateral (
    select status, email_key, payment_fingerprint, device from commissioner.partners
    where tenant = f.tenant and partner_id = u.partner_id limit 1
) p on true
left join lateral (
    select tier from commissioner.tiers
    where tenant = f.tenant and partner_id = u.partner_id and effective_from <= f.ordered_at and u.level = 0
    order by effective_from desc limit 1
) t on true
order by f.n, u.level";

/// One answer for each, in the same order.
pub(crate) async fn find(db: &mut PgConnection, asked: &[Asked<'_>]) -> Result<Vec<Found>, sqlx::Error> {
    let codes: Vec<Option<String>> = asked.iter().map(|a| a.code.map(|code| code.trim().to_lowercase())).collect();
    let rows = sqlx::query(FIND)
        .bind((0..).take(asked.len()).collect::<Vec<i32>>())
        .bind(asked.iter().map(|a| a.tenant).collect::<Vec<_>>())
        .bind(asked.iter().map(|a| a.program).collect::<Vec<_>>())
        .bind(asked.iter().map(|a| a.order_id).collect::<Vec<_>>())
        .bind(asked.iter().map(|a| a.customer_id).collect::<Vec<_>>())
        .bind(codes)
        .bind(asked.iter().map(|a| a.click_id).collect::<Vec<_>>())
        .bind(asked.iter().map(|a| a.ordered_at).collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
    let mut all: Vec<Found> = asked.iter().map(|_| Found::default()).collect();
    for row in rows {
        let found = &mut all[usize::try_from(row.try_get::<i32, _>("n")?).unwrap_or_default()];
        let approved = || -> Result<bool, sqlx::Error> {
            Ok(read::<PartnerStatus>(row.try_get("status")?)? == PartnerStatus::Approved)
        };
        match row.try_get::<Option<i32>, _>("level")? {
            None | Some(0) => {
                found.version = row.try_get("version")?;
                if let Some(content) = row.try_get("content")? {
                    found.before = Some(Before {
                        content,
                        partner_id: row.try_get("was")?,
                        attribution: read(row.try_get("was_by")?)?,
                        review: read(row.try_get("review")?)?,
                    });
                }
                if let Some(partner_id) = row.try_get("partner_id")?
                    && approved()?
                {
                    found.seller = Some(Seller {
                        partner_id,
                        attribution: read(row.try_get("attribution")?)?,
                        tier: read(row.try_get("tier")?)?,
                        traits: traits(&row)?,
                        parents: vec![],
                        above: vec![],
                    });
                }
            }
            Some(_) => {
                if let Some(seller) = &mut found.seller {
                    let earns = approved()?;
                    seller.parents.push(if earns { Some(row.try_get("partner_id")?) } else { None });
                    seller.above.push(if earns { Some(traits(&row)?) } else { None });
                }
            }
        }
    }
    Ok(all)
}

fn traits(row: &PgRow) -> Result<Traits, sqlx::Error> {
    Ok(Traits {
        email_key: row.try_get("email_key")?,
        payment_fingerprint: row.try_get("payment_fingerprint")?,
        device: row.try_get("device")?,
    })
}
