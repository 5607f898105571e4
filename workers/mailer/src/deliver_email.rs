//! Delivers a mail that is known already: its time has come, or some of its recipients are tried again.

use omnibus_runtime::{Cx, Events, Fail};
use omnibus_schemas::mailer::{DeliverEmail, DeliveryCause};

use crate::Mailer;
use crate::delivery::{Dispatch, Order, refused};

impl Dispatch for DeliverEmail {
    const NAMES_EMAIL: bool = false;

    async fn order(self, mailer: &Mailer, cx: &mut Cx<'_>) -> Result<Result<Box<Order>, Events>, Fail> {
        let email = match self.email.confidential {
            true => match mailer.with_its_secret(cx, self.email_id).await {
                Ok(whole) => whole,
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
