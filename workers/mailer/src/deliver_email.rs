//! Delivers a mail that is known already: its time has come, or some of its recipients are tried again.

use omnibus_runtime::{Cx, Events, Fail};
use omnibus_schemas::mailer::{DeliverEmail, DeliveryCause, EmailState, EmailUncertain};

use uuid::Uuid;

use crate::Mailer;
use crate::delivery::{Dispatch, Order, refused};

impl Dispatch for DeliverEmail {
    const NAMES_EMAIL: bool = false;

    async fn order(self, mailer: &Mailer, cx: &mut Cx<'_>) -> Result<Result<Box<Order>, Events>, Fail> {
        let email = match self.email.confidential {
            true => match mailer.with_its_secret(cx, self.email_id).await {
                Ok(whole) => whole,
                Err(Fail::Reject { detail, .. }) => {
                    return goes_no_more(cx, self.email_id, &self.only, detail).await.map(Err);
                }
                Err(fail) => return refused(cx, self.email_id, None, &self.only, fail).await.map(Err),
            },
            false => self.email,
        };
        Ok(Ok(Box::new(Order {
            email_id: self.email_id,
            email,
            template: None,
            begins: false,
            only: self.only,
            unheard: self.cause == DeliveryCause::Unknown,
            batch: None,
        })))
    }
}

/// There is no text to send any more.
async fn goes_no_more(cx: &mut Cx<'_>, email_id: Uuid, only: &[u32], why: String) -> Result<Events, Fail> {
    // Of whom it is not known whether they have it, that still holds.
    let uncertain: bool = sqlx::query_scalar(
        "select exists (select from mailer.recipients
         where tenant = $1 and email_id = $2 and (cardinality($3::int[]) = 0 or recipient = any ($3))
           and state = $4)",
    )
    .bind(cx.tenant())
    .bind(email_id)
    .bind(only.iter().map(|recipient| *recipient as i32).collect::<Vec<_>>())
    .bind(EmailState::Uncertain.as_str())
    .fetch_one(cx.db())
    .await?;
    if uncertain {
        return Ok(Events::none().about(email_id.to_string(), EmailUncertain { email_id, detail: why }));
    }
    let events = refused(cx, email_id, None, only, Fail::reject("gone", why.clone())).await?;
    match events.is_empty() {
        // They were given up before, and nothing is done now either.
        true => Err(Fail::reject("gone", why)),
        false => Ok(events),
    }
}
