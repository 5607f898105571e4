//! Providers that are left alone for a while, because the next text would fare no better.

use std::sync::Arc;

use omnibus_runtime::{Cx, Desk, Events, Fail, Handle, clock};
use omnibus_schemas::texter::{NoteTrouble, ProviderResumed, ProviderStopped, ResumeProvider};
use tokio::sync::{Mutex, mpsc};

use crate::Texter;
use crate::errors::{self, Verdict};

/// For how long a provider is left alone, seconds.
const PAUSE: i32 = 300;
/// After that one text tries it each so many seconds, until one gets through.
const PROBE: i32 = 60;

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

/// A call met a refusal that every other would meet too.
#[derive(Debug)]
pub(crate) struct Trouble {
    tenant: String,
    provider: String,
    error_code: u32,
}

/// Troubles on their way from calls, which have no database, to where they are written down.
#[derive(Debug)]
pub(crate) struct Troubles {
    met: mpsc::UnboundedSender<Trouble>,
    heard: Mutex<mpsc::UnboundedReceiver<Trouble>>,
}

impl Troubles {
    pub(crate) fn new() -> Self {
        let (met, heard) = mpsc::unbounded_channel();
        Troubles { met, heard: Mutex::new(heard) }
    }

    pub(crate) fn meet(&self, tenant: &str, provider: &str, error_code: u32) {
        let (tenant, provider) = (tenant.to_owned(), provider.to_owned());
        // The other end lives as long as this one.
        let _ = self.met.send(Trouble { tenant, provider, error_code });
    }
}

/// Turns troubles into commands. One that is lost with its process is met again by the next call.
pub(crate) async fn note(texter: Arc<Texter>, desk: Desk) -> anyhow::Result<()> {
    let mut heard = texter.troubles.heard.lock().await;
    while let Some(Some(Trouble { tenant, provider, error_code })) = desk.stop.run_until_cancelled(heard.recv()).await {
        let proof = texter.secret.proof(&["trouble", &tenant, &provider, &error_code.to_string()]);
        let trouble = NoteTrouble { provider, error_code, proof };
        desk.publish(&tenant, clock::new_id(), &trouble).await?;
    }
    Ok(())
}

impl Handle<NoteTrouble> for Texter {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: NoteTrouble) -> Result<Events, Fail> {
        let parts = ["trouble", cx.tenant(), &cmd.provider, &cmd.error_code.to_string()];
        if !self.secret.is_proof(&parts, &cmd.proof) {
            return Err(Fail::reject("forged", "only the texter itself writes this command"));
        }
        stop(cx, &cmd.provider, cmd.error_code).await
    }
}

/// After a pause, one text tries the provider. Is it this one?
pub(crate) async fn may_probe(cx: &mut Cx<'_>, provider: &str) -> Result<bool, Fail> {
    let tenant = cx.tenant();
    let taken = sqlx::query(
        "update texter.stops set until = now() + make_interval(secs => $3)
         where tenant in ('', $1) and provider = $2 and until <= now()",
    )
    .bind(tenant)
    .bind(provider)
    .bind(f64::from(PROBE))
    .execute(cx.db())
    .await?;
    Ok(taken.rows_affected() > 0)
}

/// The one that tried it got through.
pub(crate) async fn lift(cx: &mut Cx<'_>, provider: &str) -> Result<(), Fail> {
    let tenant = cx.tenant();
    sqlx::query("delete from texter.stops where tenant in ('', $1) and provider = $2")
        .bind(tenant)
        .bind(provider)
        .execute(cx.db())
        .await?;
    Ok(())
}

impl Handle<ResumeProvider> for Texter {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: ResumeProvider) -> Result<Events, Fail> {
        let tenant = cx.tenant();
        let gone = sqlx::query("delete from texter.stops where tenant = $1 and provider = $2")
            .bind(tenant)
            .bind(&cmd.provider)
            .execute(cx.db())
            .await?;
        if gone.rows_affected() == 0 {
            let detail = format!(
                "the provider {} is not stopped for this tenant alone; a stop for all ends when a text gets through again",
                cmd.provider
            );
            return Err(Fail::reject("not_stopped", detail));
        }
        Ok(Events::of(ProviderResumed { provider: cmd.provider, note: cmd.note }))
    }
}
