//! Policies from draft to retirement. Each step locks the policy, finds the version by its content's hash, and moves it if
//! it stands where the step begins.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::Token;
use omnibus_schemas::auditor::{
    AcknowledgePolicy, DraftPolicy, MovePolicy, PolicyAcknowledged, PolicyMoved, PolicyState, PolicyStep,
};
use sqlx::Row;

use crate::Auditor;
use crate::compliance::actor;
use crate::keys::hex;
use crate::tree::digest;

/// What a version is known by.
pub(crate) fn content_hash(title: &str, text: &str) -> String {
    hex(&digest(&[title.as_bytes(), b"\n\n", text.as_bytes()]))
}

/// One step at a time for each policy.
async fn lock(cx: &mut Cx<'_>, policy: &Token) -> Result<(), Fail> {
    let name = format!("omnibus.auditor.policy.{}.{policy}", cx.tenant());
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))").bind(name).execute(cx.db()).await?;
    Ok(())
}

struct Version {
    version: i32,
    state: PolicyState,
    author: String,
}

async fn find(cx: &mut Cx<'_>, policy: &Token, hash: &str) -> Result<Version, Fail> {
    lock(cx, policy).await?;
    let tenant = cx.tenant();
    let row = sqlx::query(
        "select version, state, author from auditor.policies where tenant = $1 and policy = $2 and hash = $3",
    )
    .bind(tenant)
    .bind(policy.as_str())
    .bind(hash)
    .fetch_optional(cx.db())
    .await?;
    let row = row.ok_or_else(|| Fail::reject("no_such_version", "hash: the policy has no version of this content"))?;
    let state: String = row.try_get("state")?;
    Ok(Version {
        version: row.try_get("version")?,
        state: PolicyState::parse(&state)
            .ok_or_else(|| Fail::Retry(anyhow::anyhow!("the state {state} is not known")))?,
        author: row.try_get("author")?,
    })
}

fn number(version: i32) -> u32 {
    version.unsigned_abs()
}

impl Handle<DraftPolicy> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: DraftPolicy) -> Result<Events, Fail> {
        let (tenant, now, by) = (cx.tenant(), cx.now(), actor(cx)?);
        let hash = content_hash(&cmd.title, &cmd.text);
        lock(cx, &cmd.policy).await?;
        let there: Option<i32> =
            sqlx::query_scalar("select version from auditor.policies where tenant = $1 and policy = $2 and hash = $3")
                .bind(tenant)
                .bind(cmd.policy.as_str())
                .bind(&hash)
                .fetch_optional(cx.db())
                .await?;
        if let Some(version) = there {
            return Err(Fail::reject("same_content", format!("text: version {version} has this content already")));
        }
        let version: i32 = sqlx::query_scalar(
            "insert into auditor.policies (tenant, policy, version, title, text, hash, state, author, drafted_at)
             select $1, $2, coalesce(max(version), 0) + 1, $3, $4, $5, 'draft', $6, $7
             from auditor.policies where tenant = $1 and policy = $2
             returning version",
        )
        .bind(tenant)
        .bind(cmd.policy.as_str())
        .bind(&cmd.title)
        .bind(&cmd.text)
        .bind(&hash)
        .bind(&by)
        .bind(now)
        .fetch_one(cx.db())
        .await?;
        let state = PolicyState::Draft;
        let event = PolicyMoved { policy: cmd.policy, version: number(version), hash, state, by };
        self.record(cx, event.policy.to_string(), &event).await?;
        Ok(Events::none().about(event.policy.to_string(), event))
    }
}

impl Handle<MovePolicy> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: MovePolicy) -> Result<Events, Fail> {
        let by = actor(cx)?;
        let found = find(cx, &cmd.policy, &cmd.hash).await?;
        let (from, to) = match cmd.step {
            PolicyStep::Submit => (PolicyState::Draft, PolicyState::Review),
            PolicyStep::Approve => (PolicyState::Review, PolicyState::Approved),
            PolicyStep::Refuse => (PolicyState::Review, PolicyState::Draft),
            PolicyStep::Publish => (PolicyState::Approved, PolicyState::Published),
            PolicyStep::Retire => (PolicyState::Published, PolicyState::Retired),
        };
        if found.state != from {
            let (is, must) = (found.state.as_str(), from.as_str());
            return Err(Fail::reject("wrong_state", format!("step: the version is in {is}, and must be in {must}")));
        }
        let judged = matches!(cmd.step, PolicyStep::Approve | PolicyStep::Refuse);
        if judged && found.author == by {
            return Err(Fail::reject("own_work", "step: who wrote a version can not judge it"));
        }
        let (tenant, now) = (cx.tenant(), cx.now());
        if cmd.step == PolicyStep::Publish {
            let audit_log = "audit-log".parse().expect("a constant that is a token");
            self.demand(cx, &[audit_log]).await?;
            sqlx::query(
                "update auditor.policies set state = 'superseded'
                 where tenant = $1 and policy = $2 and state = 'published'",
            )
            .bind(tenant)
            .bind(cmd.policy.as_str())
            .execute(cx.db())
            .await?;
        }
        sqlx::query(
            "update auditor.policies set state = $4,
                 approver = case when $5 = 'approved' then $6 when $5 = 'draft' then null else approver end,
                 published_at = case when $5 = 'published' then $7 else published_at end
             where tenant = $1 and policy = $2 and version = $3",
        )
        .bind(tenant)
        .bind(cmd.policy.as_str())
        .bind(found.version)
        .bind(to.as_str())
        .bind(to.as_str())
        .bind(&by)
        .bind(now)
        .execute(cx.db())
        .await?;
        let version = number(found.version);
        let event = PolicyMoved { policy: cmd.policy, version, hash: cmd.hash, state: to, by };
        self.record(cx, event.policy.to_string(), &event).await?;
        Ok(Events::none().about(event.policy.to_string(), event))
    }
}

impl Handle<AcknowledgePolicy> for Auditor {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: AcknowledgePolicy) -> Result<Events, Fail> {
        let found = find(cx, &cmd.policy, &cmd.hash).await?;
        if found.state != PolicyState::Published {
            return Err(Fail::reject("not_in_force", "hash: only the version in force can be acknowledged"));
        }
        let (tenant, now) = (cx.tenant(), cx.now());
        let pseudonym = self.keys.pseudonym(tenant, &cmd.person, None).map_err(Fail::Retry)?;
        sqlx::query("insert into auditor.acknowledgements values ($1, $2, $3, $4, $5) on conflict do nothing")
            .bind(tenant)
            .bind(cmd.policy.as_str())
            .bind(found.version)
            .bind(pseudonym.as_slice())
            .bind(now)
            .execute(cx.db())
            .await?;
        let (version, pseudonym) = (number(found.version), hex(&pseudonym));
        let event = PolicyAcknowledged { policy: cmd.policy, version, hash: cmd.hash, pseudonym };
        self.record(cx, event.policy.to_string(), &event).await?;
        Ok(Events::none().about(event.policy.to_string(), event))
    }
}
