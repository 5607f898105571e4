//! Providers that are left alone for a while, because the next text would fare no better.

use std::time::Duration;

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::texter::{ProviderResumed, ProviderStopped, ResumeProvider};

use crate::Texter;
use crate::errors::{self, Verdict};

/// How long texts wait before they look again.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// For how long a provider is left alone, seconds; then one text tries it.
const PAUSE: i32 = 300;

/// Leaves a provider alone. Told once in each pause.
pub(crate) async fn stop(cx: &mut Cx<'_>, provider: &str, error_code: u32) -> Result<Events, Fail> {
    let Verdict::Stop { tenant_only } = errors::verdict(error_code) else { return Ok(Events::none()) };
    let whose = if tenant_only { cx.tenant() } else { "" };
    let stopped = sqlx::query(
        "insert into texter.stops (tenant, provider, error_code, until)
         values ($1, $2, $3, now() + make_interval(secs => $4))
         on conflict (tenant, provider) do update set error_code = excluded.error_code, until = excluded.until
         where stops.until < now()",
    )
    .bind(whose)
    .bind(provider)
    .bind(i32::try_from(error_code)?)
    .bind(f64::from(PAUSE))
    .execute(cx.db())
    .await?;
    if stopped.rows_affected() == 0 {
        return Ok(Events::none());
    }
    Ok(Events::of(ProviderStopped {
        provider: provider.to_owned(),
        error_code,
        detail: errors::meaning(error_code).to_owned(),
        tenant_only,
    }))
}

impl Handle<ResumeProvider> for Texter {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: ResumeProvider) -> Result<Events, Fail> {
        let tenant = cx.tenant();
        let gone = sqlx::query("delete from texter.stops where tenant in ('', $1) and provider = $2")
            .bind(tenant)
            .bind(&cmd.provider)
            .execute(cx.db())
            .await?;
        if gone.rows_affected() == 0 {
            return Err(Fail::reject("not_stopped", format!("the provider {} is not stopped", cmd.provider)));
        }
        Ok(Events::of(ProviderResumed { provider: cmd.provider, note: cmd.note }))
    }
}
