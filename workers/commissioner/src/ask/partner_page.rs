//! A partner, with all that is theirs. Another tenant's partner is no partner.

use omnibus_runtime::{Answer, Ask, AskError, clock};
use omnibus_schemas::commissioner::{LinkReport, Money, PartnerBalance, PartnerPage, PartnerReport, TierReport};
use sqlx::Row;
use uuid::Uuid;

use super::partners::summary;
use crate::Commissioner;
use crate::reversal::currency;
use crate::words::read;

pub(super) fn no_partner() -> AskError {
    AskError::NotFound("there is no such partner".into())
}

/// Is there such a partner?
pub(super) async fn known(ask: &mut Ask<'_>, partner_id: Uuid) -> Result<(), AskError> {
    sqlx::query("select 1 from commissioner.partners where tenant = $1 and partner_id = $2")
        .bind(ask.tenant)
        .bind(partner_id)
        .fetch_optional(&mut *ask.db)
        .await?
        .map(drop)
        .ok_or_else(no_partner)
}

impl Answer<PartnerPage> for Commissioner {
    async fn answer(&self, ask: &mut Ask<'_>, query: PartnerPage) -> Result<PartnerReport, AskError> {
        let (tenant, id) = (ask.tenant, query.partner_id);
        let row = sqlx::query(
            "select p.*, coalesce((
                select tier from commissioner.tiers t
                where t.tenant = p.tenant and t.partner_id = p.partner_id and t.effective_from <= $3
                order by t.effective_from desc limit 1), 'bronze') as tier
             from commissioner.partners p where p.tenant = $1 and p.partner_id = $2",
        )
        .bind(tenant)
        .bind(id)
        .bind(clock::now())
        .fetch_optional(&mut *ask.db)
        .await?
        .ok_or_else(no_partner)?;
        let codes = sqlx::query_scalar(
            "select code from commissioner.codes where tenant = $1 and partner_id = $2 order by code limit 200",
        )
        .bind(tenant)
        .bind(id)
        .fetch_all(&mut *ask.db)
        .await?;
        let links = sqlx::query(
            "select link, destination from commissioner.links where tenant = $1 and partner_id = $2 order by link limit 200",
        )
        .bind(tenant)
        .bind(id)
        .fetch_all(&mut *ask.db)
        .await?;
        let links = links.iter().map(|row| {
            let link = format!("/r/{}", row.try_get::<String, _>("link")?);
            Ok::<_, sqlx::Error>(LinkReport { link, destination: row.try_get("destination")? })
        });
        let tiers = sqlx::query(
            "select tier, effective_from, given_by from commissioner.tiers
             where tenant = $1 and partner_id = $2 order by effective_from desc limit 200",
        )
        .bind(tenant)
        .bind(id)
        .fetch_all(&mut *ask.db)
        .await?;
        let tiers = tiers.iter().map(|row| {
            Ok::<_, sqlx::Error>(TierReport {
                tier: read(row.try_get("tier")?)?,
                effective_from: row.try_get("effective_from")?,
                by: read(row.try_get("given_by")?)?,
            })
        });
        Ok(PartnerReport {
            partner: summary(&row)?,
            payable: row.try_get::<Option<String>, _>("payout_account")?.is_some(),
            codes,
            links: links.collect::<Result<_, _>>()?,
            tiers: tiers.collect::<Result<_, _>>()?,
            balances: balances(ask, id).await?,
        })
    }
}

async fn balances(ask: &mut Ask<'_>, id: Uuid) -> Result<Vec<PartnerBalance>, sqlx::Error> {
    let rows = sqlx::query(
        "select currency, coalesce(sum(balance) filter (where account = 'partner'), 0)::bigint as owed,
            coalesce(sum(balance) filter (where account = 'clearing'), 0)::bigint as clearing,
            coalesce((
                select sum(p.amount) from commissioner.payable p
                where p.tenant = $1 and p.partner_id = $2 and p.currency = b.currency and p.available_at <= $3
            ), 0)::bigint as available
         from commissioner.balances b where tenant = $1 and partner_id = $2 and account in ('partner', 'clearing')
         group by currency order by currency",
    )
    .bind(ask.tenant)
    .bind(id)
    .bind(clock::now())
    .fetch_all(&mut *ask.db)
    .await?;
    rows.iter()
        .map(|row| {
            let currency = currency(row.try_get("currency")?)?;
            let money = |amount| Money { amount, currency };
            Ok(PartnerBalance {
                balance: money(row.try_get("owed")?),
                available: money(row.try_get("available")?),
                in_payouts: money(row.try_get("clearing")?),
            })
        })
        .collect()
}
