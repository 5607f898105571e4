//! Goes back to what was active before.

use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, Settled, WhenUncertain};
use omnibus_schemas::brander::{RollbackBranding, Why};

use crate::Brander;
use crate::activation::{POLICY, Put, Switch, Target, current, lock, opened, seen};

impl Effect<RollbackBranding> for Brander {
    const POLICY: Policy = POLICY;

    type Plan = Switch;
    type Done = Put;

    async fn prepare(&self, cx: &mut Cx<'_>, _: RollbackBranding) -> Result<Prepared<Switch>, Fail> {
        lock(cx).await?;
        if opened(cx).await? {
            return self.open(cx, Target::Version(None, Why::RolledBack)).await;
        }
        let back = current(cx).await?.and_then(|current| current.back);
        let back = seen(cx, back).await?;
        let back =
            back.ok_or_else(|| Fail::reject("nothing_before", "nothing was active before what is active now"))?;
        self.open(cx, Target::Back(back, Why::RolledBack)).await
    }

    async fn perform(&self, _: &Meta, switch: &Switch) -> Result<Put, CallError> {
        self.put(switch).await
    }

    async fn record(&self, cx: &mut Cx<'_>, switch: Switch, put: Put) -> Result<Events, Fail> {
        self.close(cx, &switch, put).await
    }

    async fn reconcile(&self, _: &Meta, switch: &Switch) -> Result<Found<Put>, Fail> {
        self.look_up(switch).await
    }

    fn when_uncertain(&self, _: &Switch) -> WhenUncertain {
        WhenUncertain::Resend
    }

    async fn settle(&self, cx: &mut Cx<'_>, _: Option<Switch>, how: &Settled) -> Result<Events, Fail> {
        self.give_up(cx, how).await
    }
}
