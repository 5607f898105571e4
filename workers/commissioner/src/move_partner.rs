//! Puts a partner below another, or below nobody. One change of a program's tree at a time: see [`crate::tree`].

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::commissioner::{MovePartner, PartnerMoved};

use crate::Commissioner;
use crate::partner::{Partner, no_partner, revised};
use crate::register_partner::too_deep;
use crate::rules::Program;
use crate::tree;

impl Handle<MovePartner> for Commissioner {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: MovePartner) -> Result<Events, Fail> {
        let (tenant, now) = (cx.tenant(), cx.now());
        let program: Option<String> =
            sqlx::query_scalar("select program from commissioner.partners where tenant = $1 and partner_id = $2")
                .bind(tenant)
                .bind(cmd.partner_id)
                .fetch_optional(cx.db())
                .await?;
        let program = program.ok_or_else(no_partner)?;
        // The tree before the partner, as everywhere: two orders of locking would wait for each other.
        tree::lock(cx.db(), tenant, &program).await?;
        let partner = Partner::locked(cx.db(), tenant, cmd.partner_id).await?;
        let max_depth = Program::wanted(cx.db(), tenant, &program).await?.rules.max_depth;
        if let Some(parent_id) = cmd.parent_id {
            let theirs: Option<String> =
                sqlx::query_scalar("select program from commissioner.partners where tenant = $1 and partner_id = $2")
                    .bind(tenant)
                    .bind(parent_id)
                    .fetch_optional(cx.db())
                    .await?;
            if theirs.as_deref() != Some(program.as_str()) {
                return Err(Fail::reject("no_such_parent", "parent_id: there is no such partner in this program"));
            }
            let above = tree::line_up(cx.db(), tenant, parent_id).await?;
            if above.contains(&cmd.partner_id) {
                let detail =
                    "parent_id: stands below the partner (or is the partner), and nobody stands above themselves";
                return Err(Fail::reject("cycle", detail));
            }
            if above.len() + tree::height(cx.db(), tenant, cmd.partner_id).await? > max_depth as usize {
                return Err(too_deep(max_depth));
            }
        }
        let effective_from = if partner.parent_id == cmd.parent_id {
            now
        } else {
            sqlx::query("update commissioner.partners set parent_id = $3 where tenant = $1 and partner_id = $2")
                .bind(tenant)
                .bind(cmd.partner_id)
                .bind(cmd.parent_id)
                .execute(cx.db())
                .await?;
            tree::put_below(cx.db(), tenant, &program, cmd.partner_id, cmd.parent_id, now).await?
        };
        let revision = revised(cx.db(), tenant, cmd.partner_id).await?;
        let (partner_id, parent_id) = (cmd.partner_id, cmd.parent_id);
        let event = PartnerMoved { partner_id, parent_id, effective_from, revision };
        Ok(Events::none().about(partner_id.to_string(), event))
    }
}
