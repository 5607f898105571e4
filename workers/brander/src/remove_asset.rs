//! A picture or font that a tenant gives up. At its address there is nothing at once; the content itself goes when it is no
//! tenant's any more, see [`crate::contents`].

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::brander::{AssetRemoved, RemoveAsset};

use crate::Brander;

impl Handle<RemoveAsset> for Brander {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: RemoveAsset) -> Result<Events, Fail> {
        let tenant = cx.tenant();
        // Waits for those who are just about to use it: they hold the row.
        let found = sqlx::query("select from brander.assets where tenant = $1 and hash = $2 for update")
            .bind(tenant)
            .bind(&cmd.hash.0)
            .fetch_optional(cx.db())
            .await?;
        if found.is_none() {
            return Err(Fail::reject("asset_unknown", "/hash: no such asset is stored"));
        }
        let user: Option<(i32, &str)> = sqlx::query_as::<_, (i32, bool, bool)>(
            "select v.version, coalesce(v.version = t.active_version, false) or exists (
                     select from brander.activations a
                     where a.tenant = $1 and a.version = v.version and a.status = 'open'), v.version = t.newest
             from brander.versions v join brander.tenants t using (tenant)
             where v.tenant = $1
               and $2 in (v.look->'logo'->>'light', v.look->'logo'->>'dark', v.look->>'icon', v.look->>'font')
               and (v.version in (t.active_version, t.newest)
                    or exists (select from brander.activations a
                               where a.tenant = $1 and a.version = v.version and a.status = 'open')
                    or exists (select from brander.schedules s
                               where s.tenant = $1 and s.version = v.version and s.status = 'waiting'))
             order by v.version limit 1",
        )
        .bind(tenant)
        .bind(&cmd.hash.0)
        .fetch_optional(cx.db())
        .await?
        .map(|(version, active, newest)| match (active, newest) {
            (true, _) => (version, "is active; activate one without it first"),
            (_, true) => (version, "is the newest; set a look without it first"),
            _ => (version, "is scheduled; cancel the schedule first"),
        });
        if let Some((version, why)) = user {
            return Err(Fail::reject("asset_in_use", format!("/hash: version {version} shows it and {why}")));
        }
        sqlx::query("delete from brander.assets where tenant = $1 and hash = $2")
            .bind(tenant)
            .bind(&cmd.hash.0)
            .execute(cx.db())
            .await?;
        Ok(Events::none().about(cmd.hash.0.clone(), AssetRemoved { hash: cmd.hash }))
    }
}
