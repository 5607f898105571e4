//! After an attempt that brought verdicts: each recipient's row, what is told of it, and who is tried again.

use chrono::{DateTime, Duration, Utc};
use omnibus_runtime::{Cx, Events, Fail};
use omnibus_schemas::mailer::{
    DeliverConfidential, DeliverEmail, DeliveryCause, EmailBounced, EmailDeferred, EmailFailed, EmailSent, EmailState,
    EmailUncertain, SendBatchRow, SuppressionReason,
};

use super::prepare::suppress;
use super::rows::{Attempted, Change, Moved, advance_attempted};
use super::{Addressee, Plan, secret};
use crate::Mailer;
use crate::suppressions;
use crate::transport::{Receipt, Verdict};

/// Tries in all for a recipient who is told "later". With 5 minutes at first, the last is about a day after the first.
const TRIES: u32 = 7;
/// No wait between two of them is longer.
const LONGEST_WAIT: Duration = Duration::hours(8);

impl Mailer {
    pub(super) async fn record_receipt(&self, cx: &mut Cx<'_>, plan: Plan, done: Receipt) -> Result<Events, Fail> {
        let email_id = plan.email_id;
        let outcomes: Vec<(&Addressee, &Verdict)> = plan.to.iter().zip(&done.verdicts).collect();
        let changes: Vec<_> = outcomes.iter().map(|(addressee, verdict)| change(addressee, verdict)).collect();
        let refused = done.refused();
        let detail = done.detail().map(|said| format!("{refused} of {} recipients were refused: {said}", plan.total));
        let sent = outcomes.iter().any(|(_, verdict)| **verdict == Verdict::Sent);
        let attempted = Attempted { sent, way: plan.way, detail };
        let moved = advance_attempted(cx, email_id, &changes, done.at, &attempted).await?;
        let mut events = suppress(cx, email_id, &plan.suppressed, done.at).await?;
        for (addressee, verdict) in &outcomes {
            let news = moved.iter().find(|moved| moved.recipient == addressee.recipient);
            events = events.join(self.told(cx, &plan, addressee, verdict, news, done.at).await?);
        }
        events = self.again(events, &plan, &outcomes, done.at);
        if sent {
            // The last of the events is the command's outcome.
            let sent = EmailSent {
                email_id,
                message_id: plan.message_id,
                recipients: plan.total,
                refused: u32::try_from(refused)?,
                transport: plan.way.as_str().to_owned(),
            };
            events = events.about(email_id.to_string(), sent);
        }
        Ok(events)
    }

    /// What is told of one recipient.
    async fn told(
        &self,
        cx: &mut Cx<'_>,
        plan: &Plan,
        addressee: &Addressee,
        verdict: &Verdict,
        news: Option<&Moved>,
        at: DateTime<Utc>,
    ) -> Result<Events, Fail> {
        let (email_id, recipient, about) = (plan.email_id, addressee.recipient, plan.email_id.to_string());
        if let (Verdict::Bounced { hard: true, .. }, true) = (verdict, news.is_some()) {
            suppressions::add(cx, &addressee.address, None, SuppressionReason::Bounced, at).await?;
        }
        let events = Events::none();
        Ok(match (verdict, news) {
            (Verdict::Bounced { detail, hard }, Some(_)) => {
                events.about(about, EmailBounced { email_id, recipient, hard: *hard, detail: detail.clone() })
            }
            (Verdict::Deferred(detail), Some(moved)) if moved.state == EmailState::Failed => {
                let detail = format!("told \"later\" {TRIES} times: {detail}");
                events.about(about, EmailFailed { email_id, code: "gave_up".into(), detail })
            }
            (Verdict::Deferred(detail), Some(_)) => {
                let (tries, next_at) = (addressee.tries + 1, Some(at + self.wait(addressee.tries)));
                events.about(about, EmailDeferred { email_id, recipient, tries, next_at, detail: detail.clone() })
            }
            (Verdict::Unknown(detail), Some(_)) => {
                events.about(about, EmailUncertain { email_id, detail: detail.clone() })
            }
            (Verdict::Sent, _) | (_, None) => events,
        })
    }

    /// Those who were told "later" are tried again, and those of whom nothing was heard wait for a person, each by a
    /// command of their own.
    fn again(&self, events: Events, plan: &Plan, outcomes: &[(&Addressee, &Verdict)], at: DateTime<Utc>) -> Events {
        let (email_id, confidential) = (plan.email_id, secret::is_in(plan));
        let later: Vec<_> = outcomes
            .iter()
            .filter(|(addressee, verdict)| matches!(verdict, Verdict::Deferred(_)) && addressee.tries + 1 < TRIES)
            .map(|(addressee, _)| addressee)
            .collect();
        let unheard: Vec<_> = outcomes
            .iter()
            .filter(|(_, verdict)| matches!(verdict, Verdict::Unknown(_)))
            .map(|(addressee, _)| addressee.recipient)
            .collect();
        let mut events = events;
        if let Some(tries) = later.iter().map(|addressee| addressee.tries).max() {
            let only = later.iter().map(|addressee| addressee.recipient).collect();
            let (at, cause) = (at + self.wait(tries), DeliveryCause::Deferred);
            events = match plan.batch {
                // As many as a batch may have, at one time: they wait in the lane of batches, and their text is made again.
                Some((batch_id, row)) => events.then_at(at, SendBatchRow { batch_id, row }),
                None if confidential => events.then_at(at, DeliverConfidential { email_id, only, cause }),
                None => events.then_at(at, DeliverEmail { email_id, email: plan.email.clone(), only, cause }),
            };
        }
        if !unheard.is_empty() {
            let (only, cause) = (unheard, DeliveryCause::Unknown);
            events = match confidential {
                true => events.then(DeliverConfidential { email_id, only, cause }),
                false => events.then(DeliverEmail { email_id, email: plan.email.clone(), only, cause }),
            };
        }
        events
    }

    /// Tripled from try to try.
    fn wait(&self, tries: u32) -> Duration {
        let wait = self.defer_seconds.saturating_mul(3u32.saturating_pow(tries));
        Duration::seconds(i64::from(wait)).min(LONGEST_WAIT)
    }
}

fn change(addressee: &Addressee, verdict: &Verdict) -> Change {
    let (state, detail) = match verdict {
        Verdict::Sent => (EmailState::Sent, None),
        Verdict::Deferred(detail) if addressee.tries + 1 >= TRIES => (EmailState::Failed, Some(detail)),
        Verdict::Deferred(detail) => (EmailState::Deferred, Some(detail)),
        Verdict::Bounced { detail, .. } => (EmailState::Bounced, Some(detail)),
        Verdict::Unknown(detail) => (EmailState::Uncertain, Some(detail)),
    };
    Change { recipient: addressee.recipient, state, detail: detail.cloned() }
}

/// Who changes a mail's recipients holds its row.
pub(crate) async fn lock(cx: &mut Cx<'_>, email_id: uuid::Uuid) -> Result<bool, sqlx::Error> {
    let row = sqlx::query("select from mailer.emails where tenant = $1 and email_id = $2 for update")
        .bind(cx.tenant())
        .bind(email_id)
        .fetch_optional(cx.db())
        .await?;
    Ok(row.is_some())
}
