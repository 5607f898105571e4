//! Sets a tenant's quiet hours.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::texter::{ClearQuietHours, QuietHoursChanged, SetQuietHours};

use crate::{Texter, quiet};

impl Handle<SetQuietHours> for Texter {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: SetQuietHours) -> Result<Events, Fail> {
        let read = |field: &str, text: &str| {
            quiet::minutes(text).ok_or_else(|| Fail::reject("invalid", format!("/{field} is not a time such as 21:00")))
        };
        let (begins, ends) = (read("from", &cmd.from)?, read("to", &cmd.to)?);
        if cmd.timezone.parse::<chrono_tz::Tz>().is_err() {
            return Err(Fail::reject("invalid", "/timezone is not an IANA zone such as Europe/Berlin"));
        }
        let tenant = cx.tenant();
        sqlx::query(
            "insert into texter.quiet_hours (tenant, begins, ends, timezone) values ($1, $2, $3, $4)
             on conflict (tenant) do update set begins = excluded.begins, ends = excluded.ends,
                                                timezone = excluded.timezone",
        )
        .bind(tenant)
        .bind(begins)
        .bind(ends)
        .bind(&cmd.timezone)
        .execute(cx.db())
        .await?;
        let (from, to, timezone) = (Some(cmd.from), Some(cmd.to), Some(cmd.timezone));
        Ok(Events::of(QuietHoursChanged { from, to, timezone }))
    }
}

impl Handle<ClearQuietHours> for Texter {
    async fn handle(&self, cx: &mut Cx<'_>, _: ClearQuietHours) -> Result<Events, Fail> {
        let tenant = cx.tenant();
        sqlx::query("delete from texter.quiet_hours where tenant = $1").bind(tenant).execute(cx.db()).await?;
        Ok(Events::of(QuietHoursChanged { from: None, to: None, timezone: None }))
    }
}
