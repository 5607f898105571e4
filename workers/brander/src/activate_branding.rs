//! Makes a version the one that people see.

use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, Settled, WhenUncertain};
use omnibus_schemas::brander::{ActivateBranding, Why};

use crate::Brander;
use crate::activation::{POLICY, Put, Switch, Target};

impl Effect<ActivateBranding> for Brander {
    const POLICY: Policy = POLICY;

    type Plan = Switch;
    type Done = Put;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: ActivateBranding) -> Result<Prepared<Switch>, Fail> {
        self.open(cx, Target::Version(cmd.version, Why::Activated)).await
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
