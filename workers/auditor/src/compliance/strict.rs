//! Where compliance is strict, a control that is not met keeps what leans on it from being done.
//!
//! | what is done | must be met |
//! | --- | --- |
//! | a policy is published | `audit-log`: who approved what can't be proved else |
//! | an audit is closed | every control of its scope, but for those whose risk somebody has accepted |

use omnibus_runtime::{Cx, Fail};
use omnibus_schemas::Token;
use omnibus_schemas::auditor::Standing;

use super::book::book;
use super::facts::Facts;
use super::judge::Judge;
use crate::Auditor;
use crate::settings::ComplianceMode;

impl Auditor {
    /// Refuses if one of these controls is not met and no accepted risk stands for it. Judged at this moment, not by what
    /// was said last.
    pub(crate) async fn demand(&self, cx: &mut Cx<'_>, controls: &[Token]) -> Result<(), Fail> {
        if self.settings.compliance_mode != ComplianceMode::Strict {
            return Ok(());
        }
        let (tenant, now) = (cx.tenant(), cx.now());
        let facts = Facts::gather(cx.db(), tenant, now).await?;
        let judge = Judge { tenant, now, retention_days: self.settings.audit_retention_days, facts: &facts };
        let mut unmet = Vec::new();
        for control in controls.iter().filter_map(|name| book().control(name)) {
            let verdict = judge.control(book(), control);
            if verdict.standing != Standing::Met && !facts.accepted.contains_key(control.control.as_str()) {
                unmet.push(format!("{} is {}: {}", control.control, verdict.standing.as_str(), verdict.detail));
            }
        }
        match unmet.is_empty() {
            true => Ok(()),
            false => Err(Fail::reject("control_not_met", unmet.join("; "))),
        }
    }
}
