//! Registers a partner: a row, a first code, a first link, the lowest tier, a place in the tree.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::commissioner::{PartnerRegistered, PartnerStatus, RegisterPartner};
use uuid::Uuid;

use crate::Commissioner;
use crate::names;
use crate::rules::Program;
use crate::suspicion::email_key;
use crate::tree;
use crate::words::word;

impl Handle<RegisterPartner> for Commissioner {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RegisterPartner) -> Result<Events, Fail> {
        let (tenant, now, partner_id) = (cx.tenant(), cx.now(), cx.meta().id);
        let program = Program::wanted(cx.db(), tenant, cmd.program.as_str()).await?;
        tree::lock(cx.db(), tenant, cmd.program.as_str()).await?;
        let parent_id = match &cmd.parent_code {
            Some(code) => Some(self.parent_by_code(cx, &cmd, code, program.rules.max_depth).await?),
            None => None,
        };
        let status = if program.rules.auto_approve { PartnerStatus::Approved } else { PartnerStatus::Pending };
        let written = sqlx::query(
            "insert into commissioner.partners (tenant, partner_id, program, name, email, email_key,
                payment_fingerprint, device, status, parent_id, revision, registered_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11)
             on conflict do nothing",
        )
        .bind(tenant)
        .bind(partner_id)
        .bind(cmd.program.as_str())
        .bind(&cmd.name)
        .bind(&cmd.email)
        .bind(email_key(&cmd.email))
        .bind(&cmd.payment_fingerprint)
        .bind(&cmd.device)
        .bind(word(&status))
        .bind(parent_id)
        .bind(now)
        .execute(cx.db())
        .await?;
        if written.rows_affected() == 0 {
            let detail = "email: a partner of this program has it; a second registration would be a second self";
            return Err(Fail::reject("already_registered", detail));
        }
        sqlx::query(
            "insert into commissioner.tiers (tenant, partner_id, effective_from, tier, given_by)
             values ($1, $2, $3, 'bronze', 'rule')",
        )
        .bind(tenant)
        .bind(partner_id)
        .bind(now)
        .execute(cx.db())
        .await?;
        if parent_id.is_some() {
            tree::put_below(cx.db(), tenant, cmd.program.as_str(), partner_id, parent_id, now).await?;
        }
        let code = first_code(cx, &cmd, program.rules.sites.first().map(String::as_str)).await?;
        let link = format!("/r/{code}");
        let program = cmd.program;
        Ok(Events::none().about(
            partner_id.to_string(),
            PartnerRegistered { partner_id, program, code, link, status, parent_id, revision: 1 },
        ))
    }
}

impl Commissioner {
    async fn parent_by_code(
        &self,
        cx: &mut Cx<'_>,
        cmd: &RegisterPartner,
        code: &str,
        max_depth: u32,
    ) -> Result<Uuid, Fail> {
        let tenant = cx.tenant();
        let parent: Option<Uuid> = sqlx::query_scalar(
            "select c.partner_id from commissioner.codes c
             join commissioner.partners p on p.tenant = c.tenant and p.partner_id = c.partner_id
             where c.tenant = $1 and c.code = lower($2) and c.program = $3 and p.status = 'approved'",
        )
        .bind(tenant)
        .bind(code)
        .bind(cmd.program.as_str())
        .fetch_optional(cx.db())
        .await?;
        let parent = parent.ok_or_else(|| {
            Fail::reject("no_such_code", "parent_code: no approved partner of this program has this code")
        })?;
        let above = tree::line_up(cx.db(), tenant, parent).await?.len();
        match above > max_depth as usize {
            true => Err(too_deep(max_depth)),
            false => Ok(parent),
        }
    }
}

pub(crate) fn too_deep(max_depth: u32) -> Fail {
    Fail::reject("too_deep", format!("parent: the program has at most {max_depth} levels above a partner"))
}

/// A code that nobody has. Two of 2^50 meet seldom, but a shop may have chosen one.
async fn first_code(cx: &mut Cx<'_>, cmd: &RegisterPartner, site: Option<&str>) -> Result<String, Fail> {
    let (tenant, partner_id) = (cx.tenant(), cx.meta().id);
    for n in 0..8 {
        let code = names::code(cx.id(&format!("code {n}")));
        // The link leads nowhere until the program has a site.
        let destination = site.map(|site| format!("https://{site}/")).unwrap_or_default();
        let made = sqlx::query(
            "with code as (
                insert into commissioner.codes (tenant, code, program, partner_id)
                select $1, $2, $3, $4 where not exists (select 1 from commissioner.links where link = $2)
                on conflict do nothing returning code
             )
             insert into commissioner.links (link, tenant, program, partner_id, destination)
             select code, $1, $3, $4, $5 from code on conflict do nothing",
        )
        .bind(tenant)
        .bind(&code)
        .bind(cmd.program.as_str())
        .bind(partner_id)
        .bind(destination)
        .execute(cx.db())
        .await?;
        if made.rows_affected() == 1 {
            return Ok(code);
        }
    }
    Err(Fail::Retry(anyhow::anyhow!("eight derived codes were all taken")))
}
