//! Gives a partner one more code. The primary key says that one partner of the tenant has it.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::commissioner::{AddCode, CodeAdded};
use uuid::Uuid;

use crate::Commissioner;
use crate::partner::Partner;

impl Handle<AddCode> for Commissioner {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: AddCode) -> Result<Events, Fail> {
        let tenant = cx.tenant();
        let partner = Partner::locked(cx.db(), tenant, cmd.partner_id).await?;
        let code = cmd.code.to_lowercase();
        // The update changes nothing: it is what makes a row that was there come back.
        let owner: Uuid = sqlx::query_scalar(
            "insert into commissioner.codes as c (tenant, code, program, partner_id) values ($1, $2, $3, $4)
             on conflict (tenant, code) do update set code = c.code returning partner_id",
        )
        .bind(tenant)
        .bind(&code)
        .bind(partner.program.as_str())
        .bind(cmd.partner_id)
        .fetch_one(cx.db())
        .await?;
        if owner != cmd.partner_id {
            return Err(Fail::reject("code_taken", "code: another partner has it; codes know no case"));
        }
        let event = CodeAdded { partner_id: cmd.partner_id, code };
        Ok(Events::none().about(cmd.partner_id.to_string(), event))
    }
}
