//! `resolve_held`: a person decides a command of which nobody could tell whether its call happened.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use omnibus_schemas::catalogue::read_command;
use omnibus_schemas::platform::{CommandRejected, CommandResolved, Outcome, Resolution, ResolveHeld};
use omnibus_schemas::{body, headers, subject};
use sqlx::Row;

use crate::attempts;
use crate::batch::tenant_bound_to;
use crate::cx::Cx;
use crate::delivery::Delivery;
use crate::ending::generic;
use crate::envelope::Meta;
use crate::events::{Caused, Events, Outgoing};
use crate::handler::{Fail, Settled};
use crate::inbox::{self, Finish, Key, Outbox};
use crate::lane::Lane;
use crate::registry::{Entry, Trouble};

/// Another command's row, with messages that are to be published from the `from`-th on.
pub(crate) struct Touched {
    pub(crate) consumer: String,
    pub(crate) key: Key,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) from: usize,
    /// When it ended, if it did.
    pub(crate) ended: Option<DateTime<Utc>>,
}

struct Target {
    consumer: String,
    name: String,
    sequence: u64,
    received: DateTime<Utc>,
    outbox: Outbox,
    /// Is that known to be on the bus?
    published: bool,
}

pub(crate) async fn resolve(lane: &Lane, cx: &mut Cx<'_>, bytes: &[u8]) -> Result<(Events, Touched), Trouble> {
    let meta = cx.meta();
    let command: ResolveHeld = read_command(meta.version, meta.encoding, bytes).map_err(Trouble::Undecodable)?;
    body::validate(&command).map_err(Trouble::Invalid)?;
    let target = find(lane, cx, command.command_id).await?;
    let key = Key { tenant: meta.tenant.clone(), id: command.command_id };
    let note = command.note.clone();
    let mut list = target.outbox.list.clone();
    // What the bus may lack goes before what is new, for `EVT` keeps the order of one command's events.
    let from = if target.published { list.len() } else { 0 };
    let (outcome, events) = match command.resolution {
        Resolution::Happened => {
            list.extend(settle(lane, cx, &target, &key, Settled::Vouched { note: note.clone() }).await?);
            let resolved = CommandResolved {
                command: target.name.clone(),
                command_id: key.id,
                resolution: command.resolution,
                note: note.clone(),
            };
            list.push(terminal(lane, meta, &resolved, Outcome::Succeeded));
            attempts::resolve(cx.db(), &target.consumer, &key, "done", &note).await.map_err(Fail::from)?;
            (Some(Outcome::Succeeded), Events::none())
        }
        Resolution::Drop => {
            list.extend(settle(lane, cx, &target, &key, Settled::Dropped { note: note.clone() }).await?);
            let rejected = CommandRejected {
                command: target.name.clone(),
                command_id: key.id,
                code: "dropped".into(),
                detail: note.clone(),
                faults: vec![],
            };
            list.push(terminal(lane, meta, &rejected, Outcome::Rejected));
            attempts::resolve(cx.db(), &target.consumer, &key, "refused", &note).await.map_err(Fail::from)?;
            (Some(Outcome::Rejected), Events::none())
        }
        Resolution::Perform => {
            let original = original(lane, &target, meta).await?;
            attempts::resolve(cx.db(), &target.consumer, &key, "held", &note).await.map_err(Fail::from)?;
            let mut events = Events::none();
            events.list.push(Caused::Passed(passed_on(&original)));
            (None, events)
        }
    };
    let outbox = Arc::new(Outbox { list, ..target.outbox });
    let finish = Finish { key: key.clone(), outcome, outbox: Some(outbox.clone()), detail: Some(note) };
    let ended = inbox::finish(cx.db(), &target.consumer, &[finish]).await.map_err(Fail::from)?;
    Ok((events, Touched { consumer: target.consumer, key, outbox, from, ended }))
}

async fn find(lane: &Lane, cx: &mut Cx<'_>, id: uuid::Uuid) -> Result<Target, Fail> {
    let mut lanes: Vec<_> = lane.engine.registry.lanes.values().collect();
    lanes.sort_unstable();
    lanes.dedup();
    let consumers: Vec<_> = lanes.into_iter().map(|name| subject::lane_consumer(lane.engine.domain, name)).collect();
    let tenant = cx.tenant().to_owned();
    let row = sqlx::query(
        "select consumer, name, sequence, outcome, messages, received_at, published_at is not null from bus.inbox
         where consumer = any($1) and tenant = $2 and message_id = $3 for update",
    )
    .bind(consumers)
    .bind(tenant)
    .bind(id)
    .fetch_optional(cx.db())
    .await?;
    let Some(row) = row else {
        return Err(Fail::reject("not_found", "there is no such command"));
    };
    if row.try_get::<Option<String>, _>(3)?.as_deref() != Some(Outcome::Held.as_str()) {
        return Err(Fail::reject("not_held", "the command is not held"));
    }
    let messages: Option<Vec<u8>> = row.try_get(4)?;
    Ok(Target {
        consumer: row.try_get(0)?,
        name: row.try_get(1)?,
        sequence: row.try_get::<i64, _>(2)?.unsigned_abs(),
        received: row.try_get(5)?,
        outbox: messages.as_deref().map(Outbox::decode).transpose()?.unwrap_or_default(),
        published: row.try_get(6)?,
    })
}

/// The held command as it stands in its stream.
async fn original(lane: &Lane, target: &Target, meta: &Meta) -> Result<Delivery, Fail> {
    let stream = subject::command_stream(lane.engine.domain);
    let gone = || {
        let detail =
            format!("the command is no longer in {stream}, so it can't be performed; drop it and send it anew");
        Fail::Reject { code: "gone", detail }
    };
    let js = lane.engine.bus.jetstream();
    let stored = match js.get_stream_no_info(&stream).await?.get_raw_message(target.sequence).await {
        Ok(stored) => stored,
        Err(error) => {
            use async_nats::jetstream::stream::RawMessageErrorKind;
            return Err(match error.kind() {
                RawMessageErrorKind::NoMessageFound => gone(),
                _ => error.into(),
            });
        }
    };
    let delivery = Delivery::stored(stored, &stream, js.clone(), 1).ok_or_else(gone)?;
    match delivery.meta.tenant == meta.tenant {
        true => Ok(delivery),
        false => Err(gone()),
    }
}

async fn settle(lane: &Lane, cx: &mut Cx<'_>, target: &Target, key: &Key, how: Settled) -> Result<Vec<Outgoing>, Fail> {
    let Some(Entry::Call(call, _)) = lane.engine.registry.commands.get(target.name.as_str()) else { return Ok(vec![]) };
    let latest = attempts::latest(cx.db(), &target.consumer, key).await?;
    // Who asked and when is in the row, so what was trimmed from the stream can be settled too.
    let held = Meta {
        id: key.id,
        ce_id: target.outbox.causation.clone(),
        name: target.name.clone(),
        version: 1,
        actor: target.outbox.actor.clone(),
        correlation: target.outbox.correlation.clone(),
        time: DateTime::from_timestamp_micros(target.outbox.time).unwrap_or(target.received),
        sequence: target.sequence,
        ..cx.meta().clone()
    };
    let mut inner = Cx::new(&held, cx.db());
    let events = call.settle(&mut inner, latest.as_ref().map(|latest| latest.attempt.plan.as_slice()), &how).await?;
    Ok(tenant_bound_to(&key.tenant, events))
}

fn terminal<E: omnibus_schemas::Event>(lane: &Lane, meta: &Meta, event: &E, outcome: Outcome) -> Outgoing {
    let mut message = generic(lane.engine.domain, &meta.tenant, event);
    message.outcome = Some(outcome.as_str().to_owned());
    message
}

/// The original message once more, as itself: same id, same time, same body.
fn passed_on(original: &Delivery) -> Outgoing {
    let mut extra: Vec<(String, String)> = original
        .headers()
        .into_iter()
        .flat_map(|map| map.iter())
        .filter(|(name, _)| !name.to_string().starts_with("Nats-"))
        .filter_map(|(name, values)| Some((name.to_string(), values.first()?.as_str().to_owned())))
        .collect();
    let meta = &original.meta;
    extra.push((headers::ID.to_owned(), meta.ce_id.clone()));
    extra.push((headers::TIME.to_owned(), meta.time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)));
    Outgoing {
        subject: original.subject().to_owned(),
        kind: subject::ce_type(&meta.domain, &meta.name, meta.version),
        msgpack: meta.encoding == omnibus_schemas::Encoding::MessagePack,
        about: None,
        outcome: None,
        at: None,
        extra,
        body: original.body().to_vec(),
    }
}
