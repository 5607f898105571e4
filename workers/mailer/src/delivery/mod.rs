//! From an order to what became of it, the same for every command that lets a mail leave.
//!
//! An order is a mail whose text is known: sent as it is, made from a template, due after a wait, or one row of a batch.
//! [`Dispatch`] makes one of a command; everything after that is here, in the order in which it happens.

mod files;
mod ledger;
mod parcel;
mod plan;
mod prepare;
mod prepare_many;
mod record;
mod record_many;
mod rows;
mod schedule;
mod secret;
mod settle;

use std::future::Future;
use std::time::Duration;

use anyhow::Context;
use omnibus_runtime::{
    CallError, Cx, Each, Effect, EffectMany, Events, Fail, Found, Meta, One, Policy, Prepared, Returned, Settled,
    WhenUncertain,
};
use omnibus_schemas::Command;
use omnibus_schemas::mailer::{DeliveryCause, SendEmail, Uncertain};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Mailer;
use crate::transport::Receipt;

pub(crate) use files::allowed;
pub(crate) use ledger::leaving;
pub(crate) use plan::Addressee;
pub use plan::Plan;
pub(crate) use rows::{Change, News, advance};
pub(crate) use settle::refused;

/// A mail whose text is known, on its way to leave.
pub(crate) struct Order {
    /// The email.
    pub(crate) email_id: Uuid,
    /// What it is.
    pub(crate) email: SendEmail,
    /// The template it was made from.
    pub(crate) template: Option<String>,
    /// Is this where the email begins? Else its rows are there already.
    pub(crate) begins: bool,
    /// To which recipients; all if empty.
    pub(crate) only: Vec<u32>,
    /// Nobody heard what became of it: to be held until a person decides.
    pub(crate) unheard: bool,
    /// The batch and the row it belongs to.
    pub(crate) batch: Option<(Uuid, u32)>,
}

impl Order {
    /// Of a mail whose rows are there already.
    pub(crate) fn again(email_id: Uuid, email: SendEmail, only: Vec<u32>, cause: DeliveryCause) -> Self {
        let unheard = cause == DeliveryCause::Unknown;
        Order { email_id, email, template: None, begins: false, only, unheard, batch: None }
    }
}

/// A command that lets a mail leave.
pub(crate) trait Dispatch: Command {
    /// Is the command's id its email's?
    const NAMES_EMAIL: bool;

    /// The order, or what there is to say instead of one.
    fn order(
        self,
        mailer: &Mailer,
        cx: &mut Cx<'_>,
    ) -> impl Future<Output = Result<Result<Box<Order>, Events>, Fail>> + Send;

    /// The same of many, one answer for each in their order.
    fn orders(
        mailer: &Mailer,
        db: &mut PgConnection,
        many: Vec<One<'_, Self>>,
    ) -> impl Future<Output = Each<Result<Box<Order>, Events>>> + Send {
        async move {
            let mut orders = Vec::with_capacity(many.len());
            for one in many {
                let mut cx = Cx::new(one.meta(), &mut *db);
                match one.command.order(mailer, &mut cx).await {
                    // What is away for one is away for all.
                    Err(fail @ Fail::Retry(_)) => return Err(fail),
                    order => orders.push(order),
                }
            }
            Ok(orders)
        }
    }
}

impl<C: Dispatch> Effect<C> for Mailer {
    /// The time-out stands above the five of the transport's own, which know how far a mail came. Twelve tries, the last
    /// about an hour after the first: for when a whole server is away.
    const POLICY: Policy = Policy {
        attempts: 12,
        timeout: Duration::from_secs(180),
        backoff_cap: Duration::from_secs(3600),
        ..Policy::DEFAULT
    };

    const PROVIDER: Option<&'static str> = Some("smtp");

    type Plan = Plan;
    type Done = Receipt;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: C) -> Result<Prepared<Plan>, Fail> {
        match cmd.order(self, cx).await? {
            Ok(order) => self.prepare_or_refuse(cx, *order).await,
            Err(instead) => Ok(Prepared::Skip(instead)),
        }
    }

    async fn perform(&self, meta: &Meta, plan: &Plan) -> Result<Receipt, CallError> {
        if plan.unheard {
            return Err(CallError::Unknown(anyhow::anyhow!(
                "no answer after the final dot, for some of the recipients"
            )));
        }
        let mail = self.parcel(meta, plan).await?;
        secret::unless_all_later(plan, self.transport.send(&mail).await?)
    }

    async fn record(&self, cx: &mut Cx<'_>, plan: Plan, done: Receipt) -> Result<Events, Fail> {
        self.record_receipt(cx, plan, done).await
    }

    async fn reconcile(&self, _meta: &Meta, plan: &Plan) -> Result<Found<Receipt>, Fail> {
        let found = self.transport.find(plan.way, &plan.message_id, plan.to.len()).await;
        found.context("can't look into the folder of mails").map_err(Fail::Retry)
    }

    fn when_uncertain(&self, plan: &Plan) -> WhenUncertain {
        match plan.email.when_uncertain {
            // Twice is better than not at all; a third time is not better than twice.
            Uncertain::Resend if !plan.unheard && plan.unclear == 0 => WhenUncertain::Resend,
            _ => WhenUncertain::Hold,
        }
    }

    fn confidential(&self, plan: &Plan) -> bool {
        secret::is_in(plan)
    }

    fn without_secret(&self, plan: Plan) -> Plan {
        secret::left_out(plan)
    }

    async fn settle(&self, cx: &mut Cx<'_>, plan: Option<Plan>, how: &Settled) -> Result<Events, Fail> {
        self.settle_order(cx, plan, how, C::NAMES_EMAIL).await
    }
}

impl<C: Dispatch> EffectMany<C> for Mailer {
    async fn prepare_many(&self, db: &mut PgConnection, many: Vec<One<'_, C>>) -> Each<Prepared<Plan>> {
        self.prepare_orders(db, many).await
    }

    async fn record_many(&self, db: &mut PgConnection, many: Vec<Returned<'_, Plan, Receipt>>) -> Each<Events> {
        self.record_receipts(db, many).await
    }
}

impl Mailer {
    async fn prepare_or_refuse(&self, cx: &mut Cx<'_>, order: Order) -> Result<Prepared<Plan>, Fail> {
        let (email_id, batch, only) = (order.email_id, order.batch, order.only.clone());
        let follows = batch.is_some() || !order.begins;
        match self.prepare_order(cx, order).await {
            // The command is not named after the mail, so its refusal has to be booked here: on the batch's row, and on the
            // recipients that the follow-up was for.
            Err(fail) if follows => Ok(Prepared::Skip(refused(cx, email_id, batch, &only, fail).await?)),
            prepared => prepared,
        }
    }
}
