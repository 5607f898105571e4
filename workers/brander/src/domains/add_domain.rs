//! A claim on a host. It costs nothing, serves nothing, and stands in nobody's way.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::brander::{AddDomain, DomainAdded};
use sha2::{Digest, Sha256};

use crate::Brander;
use crate::domains::{claim, host, record_name};

/// Claims of one tenant, at most.
const MOST: i64 = 500;

impl Handle<AddDomain> for Brander {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: AddDomain) -> Result<Events, Fail> {
        let host = host::claimable(&cmd.host, &self.ours)
            .map_err(|why| Fail::reject("domain_not_claimable", format!("/host: {why}")))?;
        let record_value = match claim(cx, &host).await? {
            // Once more is the same claim: its record is in DNS by now, perhaps.
            Some(claim) => claim.record_value,
            None => {
                let count: i64 = sqlx::query_scalar("select count(*) from brander.domains where tenant = $1")
                    .bind(cx.tenant())
                    .fetch_one(cx.db())
                    .await?;
                if count >= MOST {
                    return Err(Fail::reject("too_many_domains", format!("a tenant has at most {MOST} domains")));
                }
                let record_value = proof(cx, &host);
                sqlx::query_scalar(
                    "insert into brander.domains (tenant, host, status, record_value, added_at)
                     values ($1, $2, 'pending', $3, $4)
                     on conflict (tenant, host) do update set host = excluded.host returning record_value",
                )
                .bind(cx.tenant())
                .bind(&host)
                .bind(&record_value)
                .bind(cx.now())
                .fetch_one(cx.db())
                .await?
            }
        };
        let record_name = record_name(&host);
        Ok(Events::none().about(host.clone(), DomainAdded { host, record_name, record_value }))
    }
}

/// Bound to the tenant, the host and this claim: what another tenant put into DNS, or this one long ago, proves nothing.
fn proof(cx: &Cx<'_>, host: &str) -> String {
    let claim = cx.meta().id;
    let digest = Sha256::digest(format!("omnibus domain\0{}\0{host}\0{claim}", cx.tenant()));
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("omnibus-verify={hex}")
}
