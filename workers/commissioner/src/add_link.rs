//! Makes one more link of a partner's. What stands in it is a code of the partner's as well, for orders to name.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::commissioner::{AddLink, LinkAdded};

use crate::Commissioner;
use crate::destination::allowed;
use crate::names;
use crate::partner::Partner;
use crate::rules::Program;

impl Handle<AddLink> for Commissioner {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: AddLink) -> Result<Events, Fail> {
        let tenant = cx.tenant();
        let partner = Partner::locked(cx.db(), tenant, cmd.partner_id).await?;
        let program = Program::wanted(cx.db(), tenant, partner.program.as_str()).await?;
        let destination = allowed(&cmd.destination, &program.rules.sites).ok_or_else(|| {
            let sites = program.rules.sites.join(", ");
            let detail = format!("destination: must be an https address on one of the program's sites ({sites})");
            Fail::reject("bad_destination", detail)
        })?;
        for n in 0..8 {
            let link = names::code(cx.id(&format!("link {n}")));
            let made = sqlx::query(
                "with code as (
                    insert into commissioner.codes (tenant, code, program, partner_id)
                    select $2, $1, $3, $4 where not exists (select 1 from commissioner.links where link = $1)
                    on conflict do nothing returning code
                 )
                 insert into commissioner.links (link, tenant, program, partner_id, destination)
                 select code, $2, $3, $4, $5 from code on conflict do nothing",
            )
            .bind(&link)
            .bind(tenant)
            .bind(partner.program.as_str())
            .bind(cmd.partner_id)
            .bind(destination.as_str())
            .execute(cx.db())
            .await?;
            if made.rows_affected() == 1 {
                let (partner_id, link) = (cmd.partner_id, format!("/r/{link}"));
                let event = LinkAdded { partner_id, link, destination: destination.to_string() };
                return Ok(Events::none().about(partner_id.to_string(), event));
            }
        }
        Err(Fail::Retry(anyhow::anyhow!("eight derived links were all taken")))
    }
}
