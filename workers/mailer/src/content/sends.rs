//! By which template a mail was made: looked up before it is made again, and kept when it was made, for many mails at
//! once.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::Rendered;

/// By which version of its template a mail was made before, and which is the tenant's active one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct InUse {
    pub(crate) before: Option<u32>,
    pub(crate) active: Option<u32>,
}

/// What a mail was made of, without what is confidential.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    name: String,
    version: u32,
    variables: Map<String, Value>,
}

impl Made {
    pub(crate) fn of(rendered: &Rendered) -> Self {
        Made { name: rendered.template.clone(), version: rendered.version, variables: rendered.keepable.clone() }
    }
}

/// Of each of these mails (tenant, email, template), in their order.
pub(crate) async fn in_use(db: &mut PgConnection, mails: &[(&str, Uuid, &str)]) -> Result<Vec<InUse>, sqlx::Error> {
    if mails.is_empty() {
        return Ok(vec![]);
    }
    // Each is looked up by its key: of a table that was never analysed, a join would read all rows there are.
    let rows = sqlx::query(
        "select s.version, t.active
         from unnest($1::text[], $2::uuid[], $3::text[]) with ordinality as x(tenant, email_id, name, n)
         left join lateral (
             select version from mailer.template_sends
             where tenant = x.tenant and email_id = x.email_id limit 1) s on true
         left join lateral (
             select active from mailer.templates where tenant = x.tenant and name = x.name limit 1) t on true
         order by x.n",
    )
    .bind(mails.iter().map(|(tenant, ..)| *tenant).collect::<Vec<_>>())
    .bind(mails.iter().map(|(_, email_id, _)| *email_id).collect::<Vec<_>>())
    .bind(mails.iter().map(|(.., name)| *name).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    let version = |version: Option<i32>| version.map(i32::unsigned_abs);
    rows.iter().map(|row| Ok(InUse { before: version(row.try_get(0)?), active: version(row.try_get(1)?) })).collect()
}

/// Keeps what these mails (tenant, email, queued at) were made of. What was kept before stays.
pub(crate) async fn keep_all(
    db: &mut PgConnection,
    mails: &[(&str, Uuid, Made, DateTime<Utc>)],
) -> Result<(), sqlx::Error> {
    if mails.is_empty() {
        return Ok(());
    }
    // In one order everywhere: who writes the same at the same time waits, and nobody waits in a circle.
    sqlx::query(
        "insert into mailer.template_sends (tenant, email_id, name, version, variables, queued_at)
         select x.tenant, x.email_id, x.name, x.version, x.variables, x.queued_at
         from unnest($1::text[], $2::uuid[], $3::text[], $4::int[], $5::jsonb[], $6::timestamptz[])
             as x(tenant, email_id, name, version, variables, queued_at)
         order by x.tenant, x.email_id
         on conflict (tenant, email_id) do nothing",
    )
    .bind(mails.iter().map(|(tenant, ..)| *tenant).collect::<Vec<_>>())
    .bind(mails.iter().map(|(_, email_id, ..)| *email_id).collect::<Vec<_>>())
    .bind(mails.iter().map(|(_, _, made, _)| made.name.as_str()).collect::<Vec<_>>())
    .bind(mails.iter().map(|(_, _, made, _)| i32::try_from(made.version).unwrap_or(i32::MAX)).collect::<Vec<_>>())
    .bind(mails.iter().map(|(_, _, made, _)| Value::Object(made.variables.clone())).collect::<Vec<_>>())
    .bind(mails.iter().map(|(.., queued_at)| *queued_at).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}
