//! When a mail ends, or is stopped, without verdicts.

use omnibus_runtime::{Cx, Events, Fail, Settled};
use omnibus_schemas::mailer::{
    EmailBounced, EmailFailed, EmailSent, EmailState, EmailUncertain, Provider, SuppressionReason,
};
use sqlx::Row;
use uuid::Uuid;

use super::prepare::suppress;
use super::record::lock;
use super::rows::{Change, News, advance};
use super::{Addressee, Plan};
use crate::Mailer;
use crate::batch;
use crate::suppressions;
use crate::transport::no_such_mailbox;

impl Mailer {
    pub(super) async fn settle_order(
        &self,
        cx: &mut Cx<'_>,
        plan: Option<Plan>,
        how: &Settled,
        names_email: bool,
    ) -> Result<Events, Fail> {
        let by_server = plan.as_ref().is_some_and(|plan| plan.way == Provider::Smtp);
        let (state, code, detail) = match how {
            Settled::Refused { code, detail } if by_server && *code == "refused" => {
                (EmailState::Bounced, "refused", detail)
            }
            Settled::Refused { detail, .. } => (EmailState::Failed, "refused", detail),
            Settled::GaveUp { detail } => (EmailState::Failed, "gave_up", detail),
            Settled::Dropped { note } => (EmailState::Failed, "dropped", note),
            Settled::Uncertain { detail } => (EmailState::Uncertain, "", detail),
            Settled::Vouched { note } => (EmailState::Sent, "", note),
        };
        let Some(target) = self.target(cx, plan.as_ref(), names_email).await? else { return Ok(Events::none()) };
        let (email_id, at) = (target.email_id, cx.now());
        lock(cx, email_id).await?;
        let changes: Vec<_> = target
            .to
            .iter()
            .map(|recipient| Change { recipient: *recipient, state, detail: Some(detail.clone()) })
            .collect();
        // What a person decides about a held mail is no further attempt.
        let attempt = plan.is_some() && !matches!(how, Settled::Dropped { .. } | Settled::Vouched { .. });
        let moved = advance(cx, email_id, &changes, News { at, attempt }).await?;
        let mut events = Events::none();
        if let Some(plan) = &plan {
            events = suppress(cx, email_id, &plan.suppressed, at).await?;
            // Said to one, it was said of that one.
            if let ([only], EmailState::Bounced) = (plan.to.as_slice(), state)
                && no_such_mailbox(detail)
            {
                suppressions::add(cx, &only.address, None, SuppressionReason::Bounced, at).await?;
            }
        }
        if moved.is_empty() && !target.to.is_empty() {
            // The rows stand further on, and that was told when they got there.
            return Ok(events);
        }
        sqlx::query("update mailer.emails set detail = $3 where tenant = $1 and email_id = $2")
            .bind(cx.tenant())
            .bind(email_id)
            .bind(detail)
            .execute(cx.db())
            .await?;
        let (about, detail) = (email_id.to_string(), detail.clone());
        Ok(match state {
            EmailState::Sent => {
                let (message_id, recipients, refused) = (target.message_id, target.total, 0);
                let transport = target.way;
                events.about(about, EmailSent { email_id, message_id, recipients, refused, transport })
            }
            EmailState::Uncertain => events.about(about, EmailUncertain { email_id, detail }),
            _ => {
                for moved in moved.iter().filter(|moved| moved.state == EmailState::Bounced) {
                    let (recipient, detail) = (moved.recipient, detail.clone());
                    let hard = no_such_mailbox(&detail);
                    events = events.about(about.clone(), EmailBounced { email_id, recipient, hard, detail });
                }
                events.about(about, EmailFailed { email_id, code: code.into(), detail })
            }
        })
    }

    /// Whom it is about. A command that was never prepared gets its row here, without recipients: nobody was addressed.
    async fn target(&self, cx: &mut Cx<'_>, plan: Option<&Plan>, names_email: bool) -> Result<Option<Target>, Fail> {
        if let Some(plan) = plan {
            let recipient = |addressee: &Addressee| addressee.recipient;
            return Ok(Some(Target {
                email_id: plan.email_id,
                message_id: plan.message_id.clone(),
                way: plan.way.as_str().to_owned(),
                total: plan.total,
                to: plan.to.iter().map(recipient).collect(),
            }));
        }
        let command = cx.meta().id;
        if names_email {
            sqlx::query(
                "insert into mailer.emails (tenant, email_id, message_id, queued_at) values ($1, $2, $3, $4)
                 on conflict do nothing",
            )
            .bind(cx.tenant())
            .bind(command)
            .bind(self.message_id(command, cx.tenant()))
            .bind(cx.now())
            .execute(cx.db())
            .await?;
        }
        let row = sqlx::query(
            "select e.email_id, e.message_id, coalesce(e.transport, 'smtp'),
                 array(select r.recipient from mailer.recipients r
                       where r.tenant = $1 and r.email_id = e.email_id and r.state = any ($4) order by 1),
                 (select count(*) from mailer.recipients r where r.tenant = $1 and r.email_id = e.email_id)
             from mailer.emails e where e.tenant = $1 and (e.carrier = $2 or (e.email_id = $2 and $3))
             order by e.email_id = $2 desc limit 1",
        )
        .bind(cx.tenant())
        .bind(command)
        .bind(names_email)
        .bind([EmailState::Queued, EmailState::Deferred, EmailState::Uncertain].map(EmailState::as_str).as_slice())
        .fetch_optional(cx.db())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let to: Vec<i32> = row.try_get(3)?;
        Ok(Some(Target {
            email_id: row.try_get(0)?,
            message_id: row.try_get(1)?,
            way: row.try_get(2)?,
            to: to.into_iter().map(i32::unsigned_abs).collect(),
            total: u32::try_from(row.try_get::<i64, _>(4)?)?,
        }))
    }
}

/// A follow-up, or a row of a batch, is no mail that may leave: the batch says why, and what stands of the mail already has
/// failed. What passes is handed on.
pub(crate) async fn refused(
    cx: &mut Cx<'_>,
    email_id: Uuid,
    batch: Option<(Uuid, u32)>,
    only: &[u32],
    fail: Fail,
) -> Result<Events, Fail> {
    let detail = match fail {
        Fail::Reject { detail, .. } => detail,
        Fail::Invalid(faults) => faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        passes => return Err(passes),
    };
    if let Some((batch_id, row)) = batch {
        batch::reject_row(cx, batch_id, row, &detail).await?;
    }
    let at = cx.now();
    lock(cx, email_id).await?;
    let waiting: Vec<i32> = sqlx::query_scalar(
        "select recipient from mailer.recipients
         where tenant = $1 and email_id = $2 and (cardinality($3::int[]) = 0 or recipient = any ($3))",
    )
    .bind(cx.tenant())
    .bind(email_id)
    .bind(only.iter().map(|recipient| *recipient as i32).collect::<Vec<_>>())
    .fetch_all(cx.db())
    .await?;
    let failed = |recipient: &i32| Change {
        recipient: recipient.unsigned_abs(),
        state: EmailState::Failed,
        detail: Some(detail.clone()),
    };
    let changes: Vec<_> = waiting.iter().map(failed).collect();
    let moved = advance(cx, email_id, &changes, News { at, attempt: false }).await?;
    if moved.is_empty() && batch.is_none() {
        return Ok(Events::none());
    }
    Ok(Events::none().about(email_id.to_string(), EmailFailed { email_id, code: "refused".into(), detail }))
}

struct Target {
    email_id: Uuid,
    message_id: String,
    way: String,
    total: u32,
    to: Vec<u32>,
}
