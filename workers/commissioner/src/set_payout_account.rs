//! Says where a partner's money goes. The account stays in this row and in the plans of payouts.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::commissioner::{PayoutAccountSet, SetPayoutAccount};

use crate::Commissioner;
use crate::partner::{Partner, revised};

impl Handle<SetPayoutAccount> for Commissioner {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: SetPayoutAccount) -> Result<Events, Fail> {
        let tenant = cx.tenant();
        Partner::locked(cx.db(), tenant, cmd.partner_id).await?;
        if cmd.account.chars().any(char::is_control) || cmd.account.trim().is_empty() {
            return Err(Fail::reject("bad_account", "account: must be one line, and not blank"));
        }
        // The bank gets it as it is, and a spreadsheet must not take it for a formula.
        if cmd.account.trim().starts_with(['=', '+', '-', '@']) {
            return Err(Fail::reject("bad_account", "account: must not begin with '=', '+', '-' or '@'"));
        }
        sqlx::query("update commissioner.partners set payout_account = $3 where tenant = $1 and partner_id = $2")
            .bind(tenant)
            .bind(cmd.partner_id)
            .bind(cmd.account.trim())
            .execute(cx.db())
            .await?;
        let revision = revised(cx.db(), tenant, cmd.partner_id).await?;
        let event = PayoutAccountSet { partner_id: cmd.partner_id, revision };
        Ok(Events::none().about(cmd.partner_id.to_string(), event))
    }
}
