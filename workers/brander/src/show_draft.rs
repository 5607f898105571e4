//! Puts the newest version where previews of mails find it. As with an activation, the highest number wins.

use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, WhenUncertain};
use omnibus_schemas::brand::{Brand, DRAFTS};
use omnibus_schemas::brander::ShowDraft;
use serde::{Deserialize, Serialize};

use crate::Brander;
use crate::activation::{POLICY, put};
use crate::version::Version;

/// What is about to be written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Draft {
    tenant: String,
    brand: Brand,
}

impl Effect<ShowDraft> for Brander {
    const POLICY: Policy = POLICY;

    type Plan = Draft;
    type Done = ();

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: ShowDraft) -> Result<Prepared<Draft>, Fail> {
        let tenant = cx.tenant().to_owned();
        let found = Version::find(cx.db(), &tenant, Some(cmd.version)).await?;
        let found = found.ok_or_else(|| Fail::reject("version_unknown", "/version: there is no such version"))?;
        let brand = found.brand(cx.db(), &tenant, u64::from(cmd.version), self.settings.base()).await?;
        Ok(Prepared::go(Draft { tenant, brand }))
    }

    async fn perform(&self, _: &Meta, draft: &Draft) -> Result<(), CallError> {
        let store = self.bucket(DRAFTS).await.map_err(CallError::NotDone)?;
        put(&store, &draft.tenant, &draft.brand).await.map(drop).map_err(CallError::Unknown)
    }

    async fn record(&self, _: &mut Cx<'_>, _: Draft, (): ()) -> Result<Events, Fail> {
        Ok(Events::none())
    }

    async fn reconcile(&self, _: &Meta, _: &Draft) -> Result<Found<()>, Fail> {
        Ok(Found::NotDone)
    }

    fn when_uncertain(&self, _: &Draft) -> WhenUncertain {
        WhenUncertain::Resend
    }
}
