//! Writes down that a link was followed.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::commissioner::{ClickRecorded, RecordClick};
use sqlx::Row;

use crate::Commissioner;
use crate::partner::token;

impl Handle<RecordClick> for Commissioner {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RecordClick) -> Result<Events, Fail> {
        let (tenant, now, click_id) = (cx.tenant(), cx.now(), cx.meta().id);
        let row = sqlx::query(
            "with click as (
                insert into commissioner.clicks
                    (tenant, click_id, program, partner_id, link, clicked_at, consent, referrer)
                select tenant, $3, program, partner_id, link, $4, $5, $6
                from commissioner.links where tenant = $1 and link = lower($2)
                returning program, partner_id
             )
             select program, partner_id from click",
        )
        .bind(tenant)
        .bind(&cmd.link)
        .bind(click_id)
        // A clock that runs ahead must not bring an order that lies before the click.
        .bind(cmd.clicked_at.map_or(now, |at| at.min(now)))
        .bind(cmd.consent)
        .bind(&cmd.referrer)
        .fetch_optional(cx.db())
        .await?;
        let row = row.ok_or_else(|| Fail::reject("no_such_link", "link: there is no such link"))?;
        let (partner_id, program) = (row.try_get("partner_id")?, token(row.try_get("program")?)?);
        let event = ClickRecorded { click_id, partner_id, program, consent: cmd.consent };
        Ok(Events::none().about(click_id.to_string(), event))
    }
}
