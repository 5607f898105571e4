//! Delivers a mail that is known already: its time has come, or some of its recipients are tried again.

use omnibus_runtime::{Cx, Events, Fail};
use omnibus_schemas::mailer::{DeliverEmail, DeliveryCause};

use crate::Mailer;
use crate::delivery::{Dispatch, Order};

impl Dispatch for DeliverEmail {
    const NAMES_EMAIL: bool = false;

    async fn order(self, _mailer: &Mailer, _cx: &mut Cx<'_>) -> Result<Result<Box<Order>, Events>, Fail> {
        Ok(Ok(Box::new(Order {
            email_id: self.email_id,
            email: self.email,
            template: None,
            begins: false,
            only: self.only,
            unheard: self.cause == DeliveryCause::Unknown,
            batch: None,
        })))
    }
}
