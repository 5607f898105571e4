//! A notice for a room, a user or the whole tenant.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::presence::{Broadcast, BroadcastSent, Kind, TENANT_CHANNEL, What};
use omnibus_schemas::{Fault, Token};

use crate::Presence;
use crate::channel::{entry, next};

impl Handle<Broadcast> for Presence {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: Broadcast) -> Result<Events, Fail> {
        let Broadcast { to, id, data } = cmd;
        let id: Token = match (to, id) {
            (Kind::Tenant, None) => TENANT_CHANNEL.parse()?,
            (Kind::Tenant, Some(_)) => {
                let fault = Fault::new("/id", "must be absent: the tenant is the credential's");
                return Err(Fail::Invalid(vec![fault]));
            }
            (Kind::Room | Kind::User, Some(id)) => id,
            (Kind::Room | Kind::User, None) => {
                return Err(Fail::Invalid(vec![Fault::new("/id", "is missing: which room or user?")]));
            }
        };
        if to == Kind::Room {
            let tenant = cx.tenant();
            let known: bool = sqlx::query_scalar(
                "select exists (select from presence.channels where tenant = $1 and kind = 'room' and id = $2)",
            )
            .bind(tenant)
            .bind(id.as_str())
            .fetch_one(cx.db())
            .await?;
            if !known {
                return Err(Fail::reject("no_such_room", format!("nobody has ever joined a room {id}")));
            }
        }
        let revision = next(cx, to, id.as_str()).await?;
        Ok(entry(cx, to, id.as_str(), revision, What::Notice { data })
            .about(id.as_str(), BroadcastSent { to, id: id.clone(), revision }))
    }
}
