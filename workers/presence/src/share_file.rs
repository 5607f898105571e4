//! Brings a file into a room. It is copied out of what was uploaded, which goes with time.

use std::time::Duration;

use anyhow::anyhow;
use omnibus_runtime::{CallError, Cx, Effect, Events, Fail, Found, Meta, Policy, Prepared, Settled, WhenUncertain};
use omnibus_schemas::bucket::UPLOADS;
use omnibus_schemas::presence::{FILES, FileShared, ShareFile};
use omnibus_schemas::{Object, Token};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Presence;
use crate::discarded::give_up;
use crate::who::{acting, member};

/// Files of one tenant's rooms, at most, in bytes.
const MOST_BYTES: i64 = 10 << 30;
/// Files of one user, at most, in bytes: nobody fills the tenant's share alone.
const MOST_BYTES_OF_ONE: i64 = 1 << 30;
/// Files of one user, at most, however small.
const MOST_OF_ONE: i64 = 10_000;
/// Whoever counts files holds this lock until his own counts too. One for all tenants: a batch would take several of them in
/// any order.
const COUNTING: &str = "presence.files";

/// Which file goes where.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Copy {
    room: Token,
    user: Token,
    filename: String,
    object: Object,
}

/// Where a file lies.
pub(crate) fn name_of(tenant: &str, file_id: Uuid) -> String {
    format!("{tenant}/{file_id}")
}

impl Effect<ShareFile> for Presence {
    const POLICY: Policy = Policy { attempts: 6, timeout: Duration::from_secs(240), ..Policy::DEFAULT };

    type Plan = Copy;
    type Done = ();

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: ShareFile) -> Result<Prepared<Copy>, Fail> {
        let user = acting(cx.meta(), cmd.user)?;
        let ShareFile { room_id: room, filename, object, .. } = cmd;
        if object.bucket != UPLOADS || !object.is_of(cx.tenant()) {
            return Err(Fail::reject("foreign_object", "/object: this is no file that was uploaded by you"));
        }
        member(cx, &room, &user).await?;
        room_for(cx, &user).await?;
        // What is copied has a row before it has an object, so that the object is found however this ends.
        let (tenant, file_id, size) = (cx.tenant(), cx.meta().id, i64::try_from(object.size)?);
        sqlx::query(
            "insert into presence.files (tenant, room_id, file_id, user_id, filename, content_type, size, sha256)
             values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing",
        )
        .bind(tenant)
        .bind(room.as_str())
        .bind(file_id)
        .bind(user.as_str())
        .bind(&filename)
        .bind(&object.content_type)
        .bind(size)
        .bind(&object.sha256)
        .execute(cx.db())
        .await?;
        // An earlier attempt was given up: what it left is not to be removed under this one.
        sqlx::query("delete from presence.discarded where tenant = $1 and file_id = $2")
            .bind(tenant)
            .bind(file_id)
            .execute(cx.db())
            .await?;
        Ok(Prepared::go(Copy { room, user, filename, object }))
    }

    /// The copy's name is the command's: put twice, it is put once.
    async fn perform(&self, meta: &Meta, copy: &Copy) -> Result<(), CallError> {
        let desk = self.desk().await;
        let from = desk.objects(UPLOADS).await.map_err(CallError::NotDone)?;
        let mut file = from.get(&copy.object.name).await.map_err(|error| CallError::NotDone(error.into()))?;
        let to = desk.objects(FILES).await.map_err(CallError::NotDone)?;
        let name = name_of(&meta.tenant, meta.id);
        let put = to.put(name.as_str(), &mut file).await.map_err(|error| CallError::Unknown(error.into()))?;
        match put.size as u64 == copy.object.size {
            true => Ok(()),
            false => Err(CallError::Unknown(anyhow!("{} of {} bytes were copied", put.size, copy.object.size))),
        }
    }

    async fn record(&self, cx: &mut Cx<'_>, copy: Copy, (): ()) -> Result<Events, Fail> {
        let Copy { room, user, object, .. } = copy;
        let (file_id, size) = (cx.meta().id, i64::try_from(object.size)?);
        is_there(cx, file_id).await?;
        Ok(Events::none().about(room.as_str(), FileShared { room_id: room.clone(), user, file_id, size }))
    }

    async fn reconcile(&self, _: &Meta, _: &Copy) -> Result<Found<()>, Fail> {
        Ok(Found::NotDone)
    }

    fn when_uncertain(&self, _: &Copy) -> WhenUncertain {
        WhenUncertain::Resend
    }

    async fn settle(&self, cx: &mut Cx<'_>, _: Option<Copy>, how: &Settled) -> Result<Events, Fail> {
        let file_id = cx.meta().id;
        match how {
            // Somebody will decide: until then it may be there.
            Settled::Uncertain { .. } => {}
            Settled::Vouched { .. } => is_there(cx, file_id).await?,
            Settled::Refused { .. } | Settled::GaveUp { .. } | Settled::Dropped { .. } => give_up(cx, file_id).await?,
        }
        Ok(Events::none())
    }
}

/// From now on messages can name it.
async fn is_there(cx: &mut Cx<'_>, file_id: Uuid) -> Result<(), Fail> {
    let (tenant, now) = (cx.tenant(), cx.now());
    sqlx::query("update presence.files set shared_at = $3 where tenant = $1 and file_id = $2")
        .bind(tenant)
        .bind(file_id)
        .bind(now)
        .execute(cx.db())
        .await?;
    Ok(())
}

/// Is there room for one file more, of this user and of the tenant? What is being copied counts.
async fn room_for(cx: &mut Cx<'_>, user: &Token) -> Result<(), Fail> {
    let (tenant, file_id) = (cx.tenant(), cx.meta().id);
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))").bind(COUNTING).execute(cx.db()).await?;
    let (all, own, files): (i64, i64, i64) = sqlx::query_as(
        "select coalesce(sum(size), 0)::bigint, coalesce(sum(size) filter (where user_id = $3), 0)::bigint,
             count(*) filter (where user_id = $3)
         from presence.files where tenant = $1 and file_id <> $2",
    )
    .bind(tenant)
    .bind(file_id)
    .bind(user.as_str())
    .fetch_one(cx.db())
    .await?;
    if own >= MOST_BYTES_OF_ONE {
        return Err(Fail::reject(
            "too_many_files",
            format!("{user} has files of 1 GiB: messages that name some must go"),
        ));
    }
    if files >= MOST_OF_ONE {
        return Err(Fail::reject(
            "too_many_files",
            format!("{user} has {MOST_OF_ONE} files: messages that name some must go"),
        ));
    }
    if all >= MOST_BYTES {
        return Err(Fail::reject("too_many_files", "the tenant's rooms have files of 10 GiB together"));
    }
    Ok(())
}
