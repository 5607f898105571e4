//! Tries recipients of a mail again that holds a secret. The text is read where it stands, in the command that brought
//! it.

use omnibus_runtime::{Cx, Events, Fail};
use omnibus_schemas::mailer::{DeliverConfidential, EmailState, EmailUncertain};
use uuid::Uuid;

use crate::Mailer;
use crate::delivery::{Dispatch, Order, refused};

impl Dispatch for DeliverConfidential {
    const NAMES_EMAIL: bool = false;

    async fn order(self, mailer: &Mailer, cx: &mut Cx<'_>) -> Result<Result<Box<Order>, Events>, Fail> {
        let DeliverConfidential { email_id, only, cause } = self;
        match mailer.with_its_secret(cx, email_id).await {
            Ok(whole) => Ok(Ok(Box::new(Order::again(email_id, whole, only, cause)))),
            Err(Fail::Reject { detail, .. }) => goes_no_more(cx, email_id, &only, detail).await.map(Err),
            Err(fail) => refused(cx, email_id, None, &only, fail).await.map(Err),
        }
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
