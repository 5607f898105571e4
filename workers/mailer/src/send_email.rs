//! Sends one email, once. What is not known to have left is never sent again by itself.

use omnibus_runtime::{Cx, Events, Fail};
use omnibus_schemas::mailer::SendEmail;

use crate::Mailer;
use crate::delivery::{Dispatch, Order};

impl Dispatch for SendEmail {
    const NAMES_EMAIL: bool = true;

    async fn order(self, _mailer: &Mailer, cx: &mut Cx<'_>) -> Result<Result<Box<Order>, Events>, Fail> {
        Ok(Ok(Box::new(Order {
            email_id: cx.meta().id,
            email: self,
            template: None,
            begins: true,
            only: vec![],
            unheard: false,
            batch: None,
        })))
    }
}
