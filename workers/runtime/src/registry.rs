//! A worker's handlers, by name. The generics end here: one boxed future per command is what that costs.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use omnibus_schemas::body::{self, Fault};
use omnibus_schemas::catalogue::read_command;
use omnibus_schemas::{Command, Encoding, Event, Hook, Query};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::PgConnection;

use crate::calls_many::{EffectMany, Returned};
use crate::cx::Cx;
use crate::envelope::Meta;
use crate::events::Events;
use crate::handler::{
    Answer, Ask, AskError, CallError, Effect, Fail, Found, Handle, Policy, Prepared, React, Settled, WhenUncertain,
};
use crate::many::{HandleMany, One};
use crate::visit::{self, At, Receive, Visit};

pub(crate) type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a call brought back, its type known to its effect alone.
pub(crate) type Done = Arc<dyn Any + Send + Sync>;

/// Why a command was not decided.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The body is not one of this command; final.
    Undecodable(Fault),
    /// The body breaks the command's own rules; final.
    Invalid(Vec<Fault>),
    /// The handler's no.
    Fail(Fail),
}

impl From<Fail> for Trouble {
    fn from(fail: Fail) -> Self {
        Trouble::Fail(fail)
    }
}

/// A [`Handle`] or [`React`] whose type is forgotten.
pub(crate) trait Decide: Send + Sync {
    /// What configuration may override.
    fn own_policy(&self) -> Policy;
    fn decide<'a>(&'a self, cx: &'a mut Cx<'_>, body: &'a [u8]) -> Fut<'a, Result<Events, Trouble>>;
}

/// A [`HandleMany`] whose type is forgotten.
pub(crate) trait DecideMany: Send + Sync {
    /// What configuration may override.
    fn own_policy(&self) -> Policy;
    /// One list of events for each item, in their order.
    fn decide_many<'a>(
        &'a self,
        db: &'a mut PgConnection,
        items: &'a [(&'a Meta, &'a [u8])],
    ) -> Fut<'a, Result<Vec<Events>, NotAll>>;
}

/// Why many were not decided.
#[derive(Debug)]
pub(crate) struct NotAll {
    /// Whose trouble it is; of the first if that is not known.
    pub(crate) at: usize,
    pub(crate) trouble: Trouble,
}

impl From<Fail> for NotAll {
    fn from(fail: Fail) -> Self {
        NotAll { at: 0, trouble: fail.into() }
    }
}

/// An [`Effect`] whose type is forgotten. Plans travel encoded, as they are stored.
pub(crate) trait Call: Send + Sync {
    /// What configuration may override.
    fn own_policy(&self) -> Policy;
    fn provider(&self) -> Option<&'static str>;
    fn prepare<'a>(&'a self, cx: &'a mut Cx<'_>, body: &'a [u8]) -> Fut<'a, Result<Prepared<Vec<u8>>, Trouble>>;
    fn perform<'a>(&'a self, meta: &'a Meta, plan: &'a [u8]) -> Fut<'a, Result<Done, CallError>>;
    fn record<'a>(&'a self, cx: &'a mut Cx<'_>, plan: &'a [u8], done: &'a Done) -> Fut<'a, Result<Events, Fail>>;
    fn reconcile<'a>(&'a self, meta: &'a Meta, plan: &'a [u8]) -> Fut<'a, Result<Found<Done>, Fail>>;
    fn when_uncertain(&self, plan: &[u8]) -> WhenUncertain;
    fn confidential(&self, plan: &[u8]) -> bool;
    /// `None` if the plan holds no secret.
    fn without_secret(&self, plan: &[u8]) -> Option<Vec<u8>>;
    fn settle<'a>(
        &'a self,
        cx: &'a mut Cx<'_>,
        plan: Option<&'a [u8]>,
        how: &'a Settled,
    ) -> Fut<'a, Result<Events, Fail>>;
}

/// A call that has come back: whose, what had left, what it brought.
pub(crate) type Back<'a> = (&'a Meta, &'a [u8], &'a Done);

/// An [`EffectMany`] whose type is forgotten, beside the [`Call`] that it is too.
pub(crate) trait CallMany: Send + Sync {
    /// One answer for each item, in their order.
    fn prepare_many<'a>(
        &'a self,
        db: &'a mut PgConnection,
        items: &'a [(&'a Meta, &'a [u8])],
    ) -> Fut<'a, Result<Vec<Prepared<Vec<u8>>>, NotAll>>;
    /// As [`CallMany::prepare_many`].
    fn record_many<'a>(
        &'a self,
        db: &'a mut PgConnection,
        items: &'a [Back<'a>],
    ) -> Fut<'a, Result<Vec<Events>, NotAll>>;
}

/// An [`Answer`] whose type is forgotten: JSON in, JSON out.
pub(crate) trait Reply: Send + Sync {
    fn reply<'a>(&'a self, ask: &'a mut Ask<'_>, body: &'a [u8]) -> Fut<'a, Result<Vec<u8>, AskError>>;
}

/// A [`Receive`] whose type is forgotten.
pub(crate) trait Exchange: Send + Sync {
    fn exchange<'a>(&'a self, at: &'a mut At<'_>, visit: Visit) -> Fut<'a, Result<visit::Reply, AskError>>;
}

#[derive(Clone)]
pub(crate) enum Entry {
    Decide(Arc<dyn Decide>),
    Many(Arc<dyn DecideMany>),
    Call(Arc<dyn Call>, Option<Arc<dyn CallMany>>),
    /// The platform's own `resolve_held`, which works on other commands' rows.
    Resolve,
}

impl Entry {
    /// What configuration may override.
    pub(crate) fn own_policy(&self) -> Policy {
        match self {
            Entry::Decide(decide) => decide.own_policy(),
            Entry::Many(many) => many.own_policy(),
            Entry::Call(call, _) => call.own_policy(),
            Entry::Resolve => Policy::DEFAULT,
        }
    }

    pub(crate) fn provider(&self) -> Option<&'static str> {
        match self {
            Entry::Call(call, _) => call.provider(),
            _ => None,
        }
    }
}

/// All handlers of one worker.
#[derive(Default, Clone)]
pub(crate) struct Registry {
    /// By command name, old names included.
    pub(crate) commands: BTreeMap<&'static str, Entry>,
    /// Names without old ones, with their lanes.
    pub(crate) lanes: BTreeMap<&'static str, &'static str>,
    /// Names of commands with a field that nobody is to read on the bus, old names included.
    pub(crate) sealed: BTreeSet<&'static str>,
    /// By (domain, event).
    pub(crate) reactions: BTreeMap<(&'static str, &'static str), Entry>,
    /// By query name.
    pub(crate) answers: BTreeMap<&'static str, Arc<dyn Reply>>,
    /// By hook name.
    pub(crate) hooks: BTreeMap<&'static str, Arc<dyn Exchange>>,
}

impl Registry {
    /// The most attempts that any handler makes, or what configuration says instead.
    pub(crate) fn most_attempts(&self, configured: Option<u32>) -> u32 {
        let entries = self.commands.values().chain(self.reactions.values());
        configured.or_else(|| entries.map(|entry| entry.own_policy().attempts).max()).unwrap_or_default()
    }

    pub(crate) fn command<C: Command>(&mut self, entry: Entry) {
        self.lanes.insert(C::NAME, C::LANE);
        for name in std::iter::once(&C::NAME).chain(C::ALIASES) {
            if C::SEALED.is_some() {
                self.sealed.insert(name);
            }
            assert!(self.commands.insert(name, entry.clone()).is_none(), "registered twice: the command {name}");
        }
    }

    pub(crate) fn reaction<E: Event>(&mut self, entry: Entry) {
        let before = self.reactions.insert((E::DOMAIN, E::NAME), entry);
        assert!(before.is_none(), "registered twice: the event {}.{}", E::DOMAIN, E::NAME);
    }

    pub(crate) fn answer<Q: Query>(&mut self, reply: Arc<dyn Reply>) {
        assert!(self.answers.insert(Q::NAME, reply).is_none(), "registered twice: the query {}", Q::NAME);
    }

    pub(crate) fn hook<H: Hook>(&mut self, exchange: Arc<dyn Exchange>) {
        assert!(self.hooks.insert(H::NAME, exchange).is_none(), "registered twice: the hook {}", H::NAME);
    }

    /// The handler of a message, by the name in its subject.
    pub(crate) fn find(&self, meta: &Meta, reaction: bool) -> Option<&Entry> {
        match reaction {
            true => self.reactions.iter().find(|((d, n), _)| *d == meta.domain && *n == meta.name).map(|(_, e)| e),
            false => self.commands.get(meta.name.as_str()),
        }
    }
}

/// Ties a state to the message it handles.
pub(crate) struct Of<S, T>(pub(crate) Arc<S>, PhantomData<fn() -> T>);

impl<S, T> Of<S, T> {
    pub(crate) fn new(state: Arc<S>) -> Arc<Self> {
        Arc::new(Of(state, PhantomData))
    }
}

fn read<C: Command>(meta: &Meta, body: &[u8]) -> Result<C, Trouble> {
    let command: C = read_command(meta.version, meta.encoding, body).map_err(Trouble::Undecodable)?;
    body::validate(&command).map_err(Trouble::Invalid)?;
    Ok(command)
}

fn read_all<'a, C: Command>(items: &[(&'a Meta, &[u8])]) -> Result<Vec<One<'a, C>>, NotAll> {
    let numbered = items.iter().enumerate();
    let read = numbered.map(|(at, (meta, body))| match read::<C>(meta, body) {
        Ok(command) => Ok(One::new(meta, command)),
        Err(trouble) => Err(NotAll { at, trouble }),
    });
    read.collect()
}

/// One answer for each of `wanted`, or whose trouble it is.
fn each<T>(answers: Vec<Result<T, Fail>>, wanted: usize) -> Result<Vec<T>, NotAll> {
    if answers.len() != wanted {
        let words = anyhow::anyhow!("the handler gave {} answers to {wanted} commands", answers.len());
        return Err(Fail::Retry(words).into());
    }
    let numbered = answers.into_iter().enumerate();
    numbered.map(|(at, answer)| answer.map_err(|fail| NotAll { at, trouble: fail.into() })).collect()
}

fn plan<P: DeserializeOwned>(bytes: &[u8]) -> Result<P, Fault> {
    body::decode(Encoding::MessagePack, bytes)
}

/// A plan that can't be read back was written by another version: the call must not be guessed at.
fn unreadable(fault: &Fault) -> anyhow::Error {
    anyhow::anyhow!("the stored plan can't be read: {fault}")
}

impl<S: Handle<C>, C: Command> Decide for Of<S, C> {
    fn own_policy(&self) -> Policy {
        S::POLICY
    }

    fn decide<'a>(&'a self, cx: &'a mut Cx<'_>, body: &'a [u8]) -> Fut<'a, Result<Events, Trouble>> {
        Box::pin(async move {
            let command = read::<C>(cx.meta(), body)?;
            Ok(self.0.handle(cx, command).await?)
        })
    }
}

impl<S: HandleMany<C>, C: Command> DecideMany for Of<S, C> {
    fn own_policy(&self) -> Policy {
        S::POLICY
    }

    fn decide_many<'a>(
        &'a self,
        db: &'a mut PgConnection,
        items: &'a [(&'a Meta, &'a [u8])],
    ) -> Fut<'a, Result<Vec<Events>, NotAll>> {
        Box::pin(async move {
            let answers = self.0.handle_many(db, read_all(items)?).await?;
            each(answers, items.len())
        })
    }
}

/// As [`Of`], for events.
pub(crate) struct OfEvent<S, E>(Arc<S>, PhantomData<fn() -> E>);

impl<S, E> OfEvent<S, E> {
    pub(crate) fn new(state: Arc<S>) -> Arc<Self> {
        Arc::new(OfEvent(state, PhantomData))
    }
}

impl<S: React<E>, E: Event> Decide for OfEvent<S, E> {
    fn own_policy(&self) -> Policy {
        S::POLICY
    }

    fn decide<'a>(&'a self, cx: &'a mut Cx<'_>, body: &'a [u8]) -> Fut<'a, Result<Events, Trouble>> {
        Box::pin(async move {
            let event: E = body::decode(cx.meta().encoding, body).map_err(Trouble::Undecodable)?;
            Ok(self.0.react(cx, event).await?)
        })
    }
}

impl<S: Effect<C>, C: Command> Call for Of<S, C> {
    fn own_policy(&self) -> Policy {
        S::POLICY
    }

    fn provider(&self) -> Option<&'static str> {
        S::PROVIDER
    }

    fn prepare<'a>(&'a self, cx: &'a mut Cx<'_>, body: &'a [u8]) -> Fut<'a, Result<Prepared<Vec<u8>>, Trouble>> {
        Box::pin(async move {
            let command = read::<C>(cx.meta(), body)?;
            Ok(encoded(self.0.prepare(cx, command).await?))
        })
    }

    fn perform<'a>(&'a self, meta: &'a Meta, bytes: &'a [u8]) -> Fut<'a, Result<Done, CallError>> {
        Box::pin(async move {
            let plan = plan(bytes).map_err(|fault| CallError::NotDone(unreadable(&fault)))?;
            let done = self.0.perform(meta, &plan).await?;
            Ok(Brought::of(plan, done))
        })
    }

    fn record<'a>(&'a self, cx: &'a mut Cx<'_>, bytes: &'a [u8], done: &'a Done) -> Fut<'a, Result<Events, Fail>> {
        Box::pin(async move {
            let back = brought::<S, C>(done);
            let plan = back.plan(bytes).map_err(|fault| Fail::Retry(unreadable(&fault)))?;
            self.0.record(cx, plan, back.done.clone()).await
        })
    }

    fn reconcile<'a>(&'a self, meta: &'a Meta, bytes: &'a [u8]) -> Fut<'a, Result<Found<Done>, Fail>> {
        Box::pin(async move {
            let plan = plan(bytes).map_err(|fault| Fail::Retry(unreadable(&fault)))?;
            Ok(match self.0.reconcile(meta, &plan).await? {
                Found::Done(done) => Found::Done(Brought::of(plan, done)),
                Found::NotDone => Found::NotDone,
                Found::CannotTell => Found::CannotTell,
            })
        })
    }

    fn when_uncertain(&self, bytes: &[u8]) -> WhenUncertain {
        plan(bytes).map_or(WhenUncertain::Hold, |plan| self.0.when_uncertain(&plan))
    }

    fn confidential(&self, bytes: &[u8]) -> bool {
        plan(bytes).is_ok_and(|plan| self.0.confidential(&plan))
    }

    fn without_secret(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let plan = plan(bytes).ok().filter(|plan| self.0.confidential(plan))?;
        Some(body::encode(Encoding::MessagePack, &self.0.without_secret(plan)))
    }

    fn settle<'a>(
        &'a self,
        cx: &'a mut Cx<'_>,
        bytes: Option<&'a [u8]>,
        how: &'a Settled,
    ) -> Fut<'a, Result<Events, Fail>> {
        Box::pin(async move {
            // A plan that can't be read is no reason not to settle.
            let plan = bytes.and_then(|bytes| plan(bytes).ok());
            self.0.settle(cx, plan, how).await
        })
    }
}

fn encoded<P: Serialize>(prepared: Prepared<P>) -> Prepared<Vec<u8>> {
    match prepared {
        Prepared::Go(plan, events) => Prepared::Go(body::encode(Encoding::MessagePack, &plan), events),
        Prepared::Skip(events) => Prepared::Skip(events),
        Prepared::Later(wait) => Prepared::Later(wait),
    }
}

impl<S: EffectMany<C>, C: Command> CallMany for Of<S, C> {
    fn prepare_many<'a>(
        &'a self,
        db: &'a mut PgConnection,
        items: &'a [(&'a Meta, &'a [u8])],
    ) -> Fut<'a, Result<Vec<Prepared<Vec<u8>>>, NotAll>> {
        Box::pin(async move {
            let answers = self.0.prepare_many(db, read_all(items)?).await?;
            Ok(each(answers, items.len())?.into_iter().map(encoded).collect())
        })
    }

    fn record_many<'a>(
        &'a self,
        db: &'a mut PgConnection,
        items: &'a [Back<'a>],
    ) -> Fut<'a, Result<Vec<Events>, NotAll>> {
        Box::pin(async move {
            let mut many = Vec::with_capacity(items.len());
            for (at, (meta, bytes, done)) in items.iter().enumerate() {
                let unread = |fault| NotAll { at, trouble: Fail::Retry(unreadable(&fault)).into() };
                let back = brought::<S, C>(done);
                many.push(Returned::new(meta, back.plan(bytes).map_err(unread)?, back.done.clone()));
            }
            each(self.0.record_many(db, many).await?, items.len())
        })
    }
}

/// What a call brought back, and the plan by which it was made: whoever writes it down first need not read that again.
struct Brought<P, D> {
    done: D,
    plan: Mutex<Option<P>>,
}

impl<P: DeserializeOwned + Send + 'static, D: Send + Sync + 'static> Brought<P, D> {
    fn of(plan: P, done: D) -> Done {
        Arc::new(Brought { done, plan: Mutex::new(Some(plan)) })
    }

    /// `bytes` are the same plan.
    fn plan(&self, bytes: &[u8]) -> Result<P, Fault> {
        let kept = self.plan.lock().expect("no panic happens under this lock").take();
        kept.map_or_else(|| plan(bytes), Ok)
    }
}

fn brought<S: Effect<C>, C: Command>(done: &Done) -> &Brought<S::Plan, S::Done> {
    done.downcast_ref().expect("a call is recorded by the effect that performed it")
}

/// As [`Of`], for hooks.
pub(crate) struct OfHook<S, H>(Arc<S>, PhantomData<fn() -> H>);

impl<S, H> OfHook<S, H> {
    pub(crate) fn new(state: Arc<S>) -> Arc<Self> {
        Arc::new(OfHook(state, PhantomData))
    }
}

impl<S: Receive<H>, H: Hook> Exchange for OfHook<S, H> {
    fn exchange<'a>(&'a self, at: &'a mut At<'_>, visit: Visit) -> Fut<'a, Result<visit::Reply, AskError>> {
        Box::pin(self.0.receive(at, visit))
    }
}

impl<S: Answer<Q>, Q: Query> Reply for Of<S, Q> {
    fn reply<'a>(&'a self, ask: &'a mut Ask<'_>, body: &'a [u8]) -> Fut<'a, Result<Vec<u8>, AskError>> {
        Box::pin(async move {
            let query: Q = body::decode(Encoding::Json, body).map_err(|fault| AskError::Invalid(fault.to_string()))?;
            body::validate(&query).map_err(|faults| {
                AskError::Invalid(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            })?;
            let answer = self.0.answer(ask, query).await?;
            Ok(body::encode(Encoding::Json, &answer))
        })
    }
}
