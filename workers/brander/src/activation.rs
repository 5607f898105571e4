//! Switching from one version to another, exactly once, seen by everyone.
//!
//! The switch has two halves that no transaction spans: rows in PostgreSQL and an entry in the bucket `brands`. So it is a
//! call that leaves the database. A revision is handed out in the transaction before the call; the call is one write to
//! one key, guarded by the bucket's own revision, and it is left out where a higher revision stands already. However
//! often it is made, by however many workers, in whatever order, the key ends on the highest revision. That makes a
//! repetition harmless, and whether it happened can be read back: nothing is ever uncertain for long.

use async_nats::jetstream::kv;
use omnibus_runtime::{CallError, Cx, Events, Fail, Found, Policy, Prepared, Settled};
use omnibus_schemas::brand::{BUCKET, Brand};
use omnibus_schemas::brander::{BrandingActivated, BrandingSuperseded, Why};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use std::time::Duration;

use crate::Brander;
use crate::look::contrast;
use crate::version::Version;

/// People wait for it, so it is tried again soon; a bus that is away for an hour is waited for too.
pub(crate) const POLICY: Policy = Policy {
    attempts: 24,
    backoff: Duration::from_millis(100),
    backoff_cap: Duration::from_secs(300),
    timeout: Duration::from_secs(10),
};

/// What is about to be written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Switch {
    pub(crate) tenant: String,
    pub(crate) version: u32,
    pub(crate) why: Why,
    pub(crate) brand: Brand,
}

/// How the bucket stands after the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// With this switch's revision.
    Ours,
    /// With a higher one.
    Higher,
}

/// Which version is to be the active one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// The one of that number, or the newest.
    Version(Option<u32>, Why),
    /// That of an earlier activation, with what stood behind it then.
    Back(i64, Why),
}

/// An activation as it stands in its row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Activation {
    pub(crate) revision: i64,
    pub(crate) back: Option<i64>,
}

/// Keeps other activations of the tenant waiting until this transaction has ended.
pub(crate) async fn lock(cx: &mut Cx<'_>) -> Result<(), Fail> {
    sqlx::query(
        "insert into brander.tenants (tenant) values ($1) on conflict (tenant) do update set tenant = excluded.tenant",
    )
    .bind(cx.tenant())
    .execute(cx.db())
    .await?;
    Ok(())
}

/// The last activation that was not given up: what people see, or are about to.
pub(crate) async fn current(cx: &mut Cx<'_>) -> Result<Option<Activation>, Fail> {
    let row = sqlx::query(
        "select revision, back from brander.activations
         where tenant = $1 and status in ('open', 'done') and command_id <> $2 order by revision desc limit 1",
    )
    .bind(cx.tenant())
    .bind(cx.meta().id)
    .fetch_optional(cx.db())
    .await?;
    row.map(|row| Ok(Activation { revision: row.try_get("revision")?, back: row.try_get("back")? })).transpose()
}

/// The nearest activation, from this one back, that people have seen: what was given up or overtaken is none to go to.
pub(crate) async fn seen(cx: &mut Cx<'_>, from: Option<i64>) -> Result<Option<i64>, Fail> {
    let mut next = from;
    while let Some(revision) = next {
        let (status, back): (String, Option<i64>) =
            sqlx::query_as("select status, back from brander.activations where tenant = $1 and revision = $2")
                .bind(cx.tenant())
                .bind(revision)
                .fetch_one(cx.db())
                .await?;
        if status == "done" {
            return Ok(next);
        }
        next = back;
    }
    Ok(None)
}

/// Was this command's activation opened by an earlier attempt?
pub(crate) async fn opened(cx: &mut Cx<'_>) -> Result<bool, Fail> {
    let found =
        sqlx::query_scalar("select exists (select from brander.activations where tenant = $1 and command_id = $2)")
            .bind(cx.tenant())
            .bind(cx.meta().id)
            .fetch_one(cx.db())
            .await?;
    Ok(found)
}

impl Brander {
    /// Hands out a revision, once per command, and says what is to be written.
    pub(crate) async fn open(&self, cx: &mut Cx<'_>, target: Target) -> Result<Prepared<Switch>, Fail> {
        lock(cx).await?;
        if !opened(cx).await? {
            self.decide(cx, target).await?;
        }
        let row =
            sqlx::query("select revision, version, why from brander.activations where tenant = $1 and command_id = $2")
                .bind(cx.tenant())
                .bind(cx.meta().id)
                .fetch_one(cx.db())
                .await?;
        let (revision, version): (i64, i32) = (row.try_get("revision")?, row.try_get("version")?);
        let why = Why::parse(row.try_get("why")?).unwrap_or(Why::Activated);
        let tenant = cx.tenant().to_owned();
        let found = Version::find(cx.db(), &tenant, Some(version.unsigned_abs())).await?;
        let found = found.ok_or_else(|| Fail::Retry(anyhow::anyhow!("the version of an activation is missing")))?;
        let brand = found.brand(cx.db(), &tenant, revision.unsigned_abs(), self.settings.base()).await?;
        Ok(Prepared::go(Switch { tenant, version: version.unsigned_abs(), why, brand }))
    }

    async fn decide(&self, cx: &mut Cx<'_>, target: Target) -> Result<(), Fail> {
        let (version, why, back) = match target {
            Target::Version(number, why) => {
                let tenant = cx.tenant();
                let found = Version::find(cx.db(), tenant, number).await?;
                let found = found.ok_or_else(|| match number {
                    Some(number) => Fail::reject("version_unknown", format!("there is no version {number}")),
                    None => Fail::reject("version_unknown", "there is no version yet; set a look first"),
                })?;
                let faults = contrast::faults(&found.look);
                if !faults.is_empty() {
                    let words: Vec<_> = faults.iter().map(contrast::words).collect();
                    return Err(Fail::reject("contrast", words.join("; ")));
                }
                let back = current(cx).await?.map(|current| current.revision);
                (i32::try_from(found.version)?, why, back)
            }
            Target::Back(revision, why) => {
                let row =
                    sqlx::query("select version, back from brander.activations where tenant = $1 and revision = $2")
                        .bind(cx.tenant())
                        .bind(revision)
                        .fetch_one(cx.db())
                        .await?;
                (row.try_get("version")?, why, row.try_get("back")?)
            }
        };
        let revision: i64 = sqlx::query_scalar(
            "update brander.tenants set revision = greatest(revision + 1, $2) where tenant = $1 returning revision",
        )
        .bind(cx.tenant())
        .bind(cx.now().timestamp_millis())
        .fetch_one(cx.db())
        .await?;
        sqlx::query(
            "insert into brander.activations (tenant, revision, command_id, version, why, back, opened_at)
             values ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(cx.tenant())
        .bind(revision)
        .bind(cx.meta().id)
        .bind(version)
        .bind(why.as_str())
        .bind(back)
        .bind(cx.now())
        .execute(cx.db())
        .await?;
        Ok(())
    }

    /// The bucket `brands`.
    pub(crate) async fn brands(&self) -> Result<kv::Store, anyhow::Error> {
        self.bucket(BUCKET).await
    }

    /// A bucket of the domain's.
    pub(crate) async fn bucket(&self, name: &str) -> Result<kv::Store, anyhow::Error> {
        let store = self.desk().await.bus.jetstream().get_key_value(name).await;
        store.map_err(|error| anyhow::anyhow!("the bucket {name}: {error}"))
    }

    /// Writes the brand, unless a higher revision stands there.
    pub(crate) async fn put(&self, switch: &Switch) -> Result<Put, CallError> {
        let store = self.brands().await.map_err(CallError::NotDone)?;
        put(&store, &switch.tenant, &switch.brand).await.map_err(CallError::Unknown)
    }

    /// Reads whether it was written.
    pub(crate) async fn look_up(&self, switch: &Switch) -> Result<Found<Put>, Fail> {
        let store = self.brands().await.map_err(Fail::Retry)?;
        let standing = revision(&store, &switch.tenant).await.map_err(Fail::Retry)?;
        Ok(match standing {
            Some((_, standing)) if standing == switch.brand.revision => Found::Done(Put::Ours),
            Some((_, standing)) if standing > switch.brand.revision => Found::Done(Put::Higher),
            _ => Found::NotDone,
        })
    }

    /// Books the switch, and tells of it.
    pub(crate) async fn close(&self, cx: &mut Cx<'_>, switch: &Switch, put: Put) -> Result<Events, Fail> {
        let Switch { version, why, brand, .. } = switch;
        let revision = i64::try_from(brand.revision)?;
        let status = match put {
            Put::Ours => "done",
            Put::Higher => "superseded",
        };
        sqlx::query("update brander.activations set status = $3 where tenant = $1 and revision = $2")
            .bind(cx.tenant())
            .bind(revision)
            .bind(status)
            .execute(cx.db())
            .await?;
        if put == Put::Higher {
            let event = BrandingSuperseded { version: *version, revision: brand.revision };
            return Ok(Events::none().about(cx.tenant(), event));
        }
        sqlx::query(
            "update brander.tenants set active_version = $2, active_revision = $3
             where tenant = $1 and active_revision < $3",
        )
        .bind(cx.tenant())
        .bind(i32::try_from(*version)?)
        .bind(revision)
        .execute(cx.db())
        .await?;
        sqlx::query("update brander.versions set activated_at = $3 where tenant = $1 and version = $2")
            .bind(cx.tenant())
            .bind(i32::try_from(*version)?)
            .bind(cx.now())
            .execute(cx.db())
            .await?;
        let version_id = brand.version_id.unwrap_or_default();
        let event = BrandingActivated { version: *version, version_id, revision: brand.revision, why: *why };
        Ok(Events::none().about(cx.tenant(), event))
    }

    /// An activation that was given up is none: a rollback does not go to it.
    pub(crate) async fn give_up(&self, cx: &mut Cx<'_>, how: &Settled) -> Result<Events, Fail> {
        if !matches!(how, Settled::Vouched { .. } | Settled::Uncertain { .. }) {
            sqlx::query("update brander.activations set status = 'failed' where tenant = $1 and command_id = $2 and status = 'open'")
                .bind(cx.tenant())
                .bind(cx.meta().id)
                .execute(cx.db())
                .await?;
        }
        Ok(Events::none())
    }
}

/// The bucket's own revision of a tenant's entry, and the brand's.
async fn revision(store: &kv::Store, tenant: &str) -> Result<Option<(u64, u64)>, anyhow::Error> {
    let Some(entry) = store.entry(tenant).await? else { return Ok(None) };
    // What nobody can read is as good as nothing, and is written over.
    let brand = serde_json::from_slice::<Brand>(&entry.value).map_or(0, |brand| brand.revision);
    let standing = if entry.operation == kv::Operation::Put { brand } else { 0 };
    Ok(Some((entry.revision, standing)))
}

/// Writes a brand into the bucket unless a higher revision stands there, guarded by the bucket's own revision.
pub(crate) async fn put(store: &kv::Store, tenant: &str, brand: &Brand) -> Result<Put, anyhow::Error> {
    let bytes = bytes::Bytes::from(serde_json::to_vec(brand)?);
    let mut last = None;
    for _ in 0..16 {
        let guard = match revision(store, tenant).await? {
            Some((_, standing)) if standing == brand.revision => return Ok(Put::Ours),
            Some((_, standing)) if standing > brand.revision => return Ok(Put::Higher),
            Some((guard, _)) => guard,
            None => 0,
        };
        match store.update(tenant, bytes.clone(), guard).await {
            Ok(_) => return Ok(Put::Ours),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| anyhow::anyhow!("never tried"), anyhow::Error::from))
}
