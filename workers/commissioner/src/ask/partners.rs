//! A program's partners, newest first.

use omnibus_runtime::{Answer, Ask, AskError};
use omnibus_schemas::commissioner::{PartnerSummary, Partners, PartnersPage};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::Commissioner;
use crate::cursor::{after, cut, one_more, place_of_id};
use crate::partner::token;
use crate::words::read;

impl Answer<Partners> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: Partners) -> Result<PartnersPage, AskError> {
        page(ask, &query).await
    }
}

pub(super) async fn page(ask: &mut Ask<'_>, query: &Partners) -> Result<PartnersPage, AskError> {
    let (at, id) = place_of_id(query.after.as_deref())?.unzip();
    let rows = sqlx::query(
            "select p.*, coalesce(t.tier, 'bronze') as tier from commissioner.partners p
             left join lateral (
                select tier from commissioner.tiers
                where tenant = p.tenant and partner_id = p.partner_id and effective_from <= now()
                order by effective_from desc limit 1
             ) t on true
             where p.tenant = $1 and p.program = $2 and ($3::timestamptz is null or (p.registered_at, p.partner_id) < ($3, $4))
                and ($5::uuid is null or p.parent_id = $5) and (not $6 or p.status = 'pending')
             order by p.registered_at desc, p.partner_id desc limit $7",
        )
        .bind(ask.tenant)
        .bind(query.program.as_str())
        .bind(at)
        .bind(id)
        .bind(query.parent_id)
        .bind(query.pending)
        .bind(one_more(query.limit))
        .fetch_all(&mut *ask.db)
        .await?;
    let mut items = rows.iter().map(summary).collect::<Result<Vec<_>, _>>()?;
    let next = cut(&mut items, query.limit, |item| after(item.registered_at, item.partner_id));
    Ok(PartnersPage { items, next })
}

/// A row of `commissioner.partners` with the tier of today.
pub(super) fn summary(row: &PgRow) -> Result<PartnerSummary, sqlx::Error> {
    Ok(PartnerSummary {
        partner_id: row.try_get("partner_id")?,
        program: token(row.try_get("program")?)?,
        name: row.try_get("name")?,
        status: read(row.try_get("status")?)?,
        tier: read(row.try_get("tier")?)?,
        parent_id: row.try_get("parent_id")?,
        registered_at: row.try_get("registered_at")?,
        revision: row.try_get("revision")?,
    })
}
