//! What a worker's author writes: [`Handle`] for a state change, [`Effect`] for a call that leaves the database,
//! [`React`] for another worker's event, [`Answer`] for a query.

use std::future::Future;
use std::time::Duration;

use omnibus_schemas::{Command, Event, Fault, Query};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cx::Cx;
use crate::envelope::Meta;
use crate::events::Events;

/// A state change: runs inside the transaction that also holds its inbox row.
///
/// It may run more than once; what it wrote is committed once. So it takes time and ids from `cx` only.
pub trait Handle<C: Command>: Send + Sync + 'static {
    /// Attempts, backoff, timeout; the worker's `--attempts`, `--backoff-seconds`, `--backoff-cap-seconds` and
    /// `--timeout-seconds` take their place.
    const POLICY: Policy = Policy::DEFAULT;

    /// Decides. The rows it writes and the events it returns are committed together, or not at all.
    fn handle(&self, cx: &mut Cx<'_>, cmd: C) -> impl Future<Output = Result<Events, Fail>> + Send;
}

/// Another worker's event, acted upon with the same promise as a command.
pub trait React<E: Event>: Send + Sync + 'static {
    /// As for commands.
    const POLICY: Policy = Policy::DEFAULT;

    /// As [`Handle::handle`].
    fn react(&self, cx: &mut Cx<'_>, event: E) -> impl Future<Output = Result<Events, Fail>> + Send;
}

/// A call that leaves the database. No transaction is open while it is out.
pub trait Effect<C: Command>: Send + Sync + 'static {
    /// As for [`Handle`]; the timeout is the call's.
    const POLICY: Policy = Policy::DEFAULT;

    /// Exactly what is about to leave; stored before it leaves.
    type Plan: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What the call brought back. `Clone`, because writing it down may have to be tried more than once.
    type Done: Clone + Send + Sync + 'static;
    /// Whose rate limit applies (`--provider-rate name=...`).
    const PROVIDER: Option<&'static str> = None;

    /// Inside a transaction, before every attempt: decides what leaves, or that nothing has to. It runs again for a
    /// later attempt, so its writes must bear repetition.
    fn prepare(&self, cx: &mut Cx<'_>, cmd: C) -> impl Future<Output = Result<Prepared<Self::Plan>, Fail>> + Send;

    /// The call. Nothing but the call: no database here.
    fn perform(&self, meta: &Meta, plan: &Self::Plan) -> impl Future<Output = Result<Self::Done, CallError>> + Send;

    /// Inside a transaction: writes down that it happened.
    fn record(
        &self,
        cx: &mut Cx<'_>,
        plan: Self::Plan,
        done: Self::Done,
    ) -> impl Future<Output = Result<Events, Fail>> + Send;

    /// Asks the provider whether it happened. `Fail` means that the provider could not be asked now.
    fn reconcile(
        &self,
        _meta: &Meta,
        _plan: &Self::Plan,
    ) -> impl Future<Output = Result<Found<Self::Done>, Fail>> + Send {
        async { Ok(Found::CannotTell) }
    }

    /// What to do when nobody can tell. `Hold` for what must not repeat.
    fn when_uncertain(&self, _plan: &Self::Plan) -> WhenUncertain {
        WhenUncertain::Hold
    }

    /// Does the command hold what must not be kept beside it, such as a one-time code? If its attempts are used up, its
    /// dead letter then goes without its body, which stays in the command stream for as long as that keeps it. While it
    /// is held, its plan is kept [`Effect::without_secret`].
    fn confidential(&self, _plan: &Self::Plan) -> bool {
        false
    }

    /// What is kept of an [`Effect::confidential`] plan until a person has decided on it: enough for
    /// [`Effect::settle`]. It is never performed: if the call is to go out once more, it is prepared again.
    fn without_secret(&self, plan: Self::Plan) -> Self::Plan {
        plan
    }

    /// Inside the transaction that ends the command in any way but [`Effect::record`]: brings the domain's rows into
    /// line. Its events stand before the generic one.
    fn settle(
        &self,
        _cx: &mut Cx<'_>,
        _plan: Option<Self::Plan>,
        _how: &Settled,
    ) -> impl Future<Output = Result<Events, Fail>> + Send {
        async { Ok(Events::none()) }
    }
}

/// Answers a query. The tenant is the caller's; every statement is bound to it.
pub trait Answer<Q: Query>: Send + Sync + 'static {
    /// Reads. All statements of one answer see the database as it is at one moment.
    fn answer(&self, ask: &mut Ask<'_>, query: Q) -> impl Future<Output = Result<Q::Answer, AskError>> + Send;
}

/// What a query's answerer has.
pub struct Ask<'a> {
    /// The caller's tenant.
    pub tenant: &'a str,
    /// The key, user or part that asks (`ce-actor`).
    pub actor: Option<&'a str>,
    /// The database, in a transaction that is the answer's own.
    pub db: &'a mut sqlx::PgConnection,
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no such thing, or it is another tenant's.
    #[error("{0}")]
    NotFound(String),
    /// The question makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The same, told field by field. The door shows each fault.
    #[error("{}", told(.0))]
    Faults(Vec<Fault>),
    /// The worker's own trouble.
    #[error(transparent)]
    Failed(anyhow::Error),
}

fn told(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl From<sqlx::Error> for AskError {
    fn from(error: sqlx::Error) -> Self {
        AskError::Failed(error.into())
    }
}

/// How hard a command is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Tries in all, the first included.
    pub attempts: u32,
    /// The delay after the first failure is somewhere below this; it doubles from try to try.
    pub backoff: Duration,
    /// No delay is longer.
    pub backoff_cap: Duration,
    /// A try that takes longer has failed.
    pub timeout: Duration,
}

impl Policy {
    /// 8 tries, 1 s doubling up to 5 min, 30 s a try.
    pub const DEFAULT: Policy = Policy {
        attempts: 8,
        backoff: Duration::from_secs(1),
        backoff_cap: Duration::from_secs(300),
        timeout: Duration::from_secs(30),
    };

    /// Full jitter: an even pick between nothing and the doubled backoff, so that what failed together
    /// does not come back together.
    pub(crate) fn delay(&self, spent: u32, chance: f64) -> Duration {
        let ceiling = self.backoff.saturating_mul(2u32.saturating_pow(spent.saturating_sub(1))).min(self.backoff_cap);
        ceiling.mul_f64(chance.clamp(0.0, 1.0))
    }
}

/// A handler's no.
#[derive(Debug)]
pub enum Fail {
    /// What `?` means; spends an attempt.
    Retry(anyhow::Error),
    /// Not now; spends none (rate limit, quiet hours).
    Snooze(Duration),
    /// A business no: final, an event, never retried.
    Reject {
        /// Stable, for programs.
        code: &'static str,
        /// For people.
        detail: String,
    },
    /// A no like that, with the code `invalid`, told field by field: what the contract's own rules can't know.
    Invalid(Vec<Fault>),
}

impl Fail {
    /// A business no.
    pub fn reject(code: &'static str, detail: impl Into<String>) -> Self {
        Fail::Reject { code, detail: detail.into() }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Fail {
    fn from(error: E) -> Self {
        Fail::Retry(error.into())
    }
}

/// What [`Effect::prepare`] decided.
#[derive(Debug)]
pub enum Prepared<P> {
    /// This is to leave. The events are published while the call is out, and before whatever it brings; those of the
    /// first attempt only.
    Go(P, Events),
    /// Nothing has to leave; the command has succeeded with these events.
    Skip(Events),
    /// Not now: it is prepared again after this time. Spends no attempt. Unlike [`Fail::Snooze`] it keeps what was written,
    /// so that what waits can be seen.
    Later(Duration),
}

impl<P> Prepared<P> {
    /// [`Prepared::Go`] without events.
    pub fn go(plan: P) -> Self {
        Prepared::Go(plan, Events::none())
    }
}

/// Why a call brought nothing back.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It certainly did not happen; it is tried again.
    #[error("not done: {0}")]
    NotDone(anyhow::Error),
    /// The other side said no, for good.
    #[error("refused ({code}): {detail}")]
    Refused {
        /// Stable, for programs.
        code: &'static str,
        /// What it said.
        detail: String,
    },
    /// It may have happened: a time-out after the request left, a connection lost before the answer.
    #[error("unknown: {0}")]
    Unknown(anyhow::Error),
}

/// What [`Effect::reconcile`] found out.
#[derive(Debug)]
pub enum Found<D> {
    /// It happened.
    Done(D),
    /// It did not.
    NotDone,
    /// Nobody can say.
    CannotTell,
}

/// See [`Effect::when_uncertain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenUncertain {
    /// Stop and let a person decide.
    Hold,
    /// Perform again: once too often is better than not at all.
    Resend,
}

/// How an effect ended, or was stopped, without [`Effect::record`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The other side said no, for good.
    Refused {
        /// Stable, for programs.
        code: &'static str,
        /// What it said.
        detail: String,
    },
    /// All attempts failed; the command is a dead letter.
    GaveUp {
        /// The last error.
        detail: String,
    },
    /// Nobody knows whether it happened; a person will decide.
    Uncertain {
        /// What is known.
        detail: String,
    },
    /// A person found that it happened.
    Vouched {
        /// Why, in their words.
        note: String,
    },
    /// A person let it go.
    Dropped {
        /// Why, in their words.
        note: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_are_jittered_down_to_nothing() {
        let policy = Policy { backoff: Duration::from_secs(1), backoff_cap: Duration::from_secs(5), ..Policy::DEFAULT };
        let ceilings: Vec<_> = (1..=5).map(|spent| policy.delay(spent, 1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 5, 5]);
        assert_eq!(policy.delay(3, 0.0), Duration::ZERO);
        assert_eq!(policy.delay(u32::MAX, 1.0), Duration::from_secs(5));
    }
}
