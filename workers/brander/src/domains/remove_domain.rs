//! A host given back.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::brander::{DomainRemoved, RemoveDomain};

use crate::Brander;
use crate::certificates;

impl Handle<RemoveDomain> for Brander {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RemoveDomain) -> Result<Events, Fail> {
        let host = self.host(&cmd.host);
        let removed = sqlx::query("delete from brander.domains where tenant = $1 and host = $2")
            .bind(cx.tenant())
            .bind(&host)
            .execute(cx.db())
            .await?;
        if removed.rows_affected() == 0 {
            return Err(Fail::reject("domain_unknown", "/host: this domain was not added"));
        }
        let tenant = cx.tenant();
        certificates::forget(cx.db(), tenant, &host).await?;
        Ok(Events::none().about(host.clone(), DomainRemoved { host }))
    }
}
