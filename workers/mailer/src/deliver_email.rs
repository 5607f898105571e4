//! Delivers a mail that is known already: its time has come, or some of its recipients are tried again.

use omnibus_runtime::{Cx, Events, Fail};
use omnibus_schemas::mailer::{DeliverConfidential, DeliverEmail};

use crate::Mailer;
use crate::delivery::{Dispatch, Order};

impl Dispatch for DeliverEmail {
    const NAMES_EMAIL: bool = false;

    async fn order(self, mailer: &Mailer, cx: &mut Cx<'_>) -> Result<Result<Box<Order>, Events>, Fail> {
        let DeliverEmail { email_id, email, only, cause } = self;
        if email.confidential {
            // Of a mailer that knew no other follow-up: with the text, or without it.
            return DeliverConfidential { email_id, only, cause }.order(mailer, cx).await;
        }
        Ok(Ok(Box::new(Order::again(email_id, email, only, cause))))
    }
}
