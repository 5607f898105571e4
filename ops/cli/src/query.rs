//! Questions to the workers, asked by the operator in a tenant's name.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, bail};
use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::TryStreamExt;
use omnibus_ingest::keys;
use omnibus_runtime::Bus;
use omnibus_schemas::platform::{CommandHeld, HeldCommand, HeldCommands, HeldList};
use omnibus_schemas::{Catalogue, CommandEntry, Encoding, Event, Query, Sealed, body, headers, subject};
use serde_json::Value;

/// How long a worker may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a worker answers.
pub(crate) enum Answer<T> {
    /// What was asked for.
    Here(T),
    /// There is no such thing.
    NotFound,
    /// Nobody listens.
    NoWorker,
}

/// Asks one of the queries that every domain answers.
pub(crate) async fn ask<Q: Query>(
    bus: &Bus,
    domain: &str,
    tenant: &str,
    query: &Q,
) -> anyhow::Result<Answer<Q::Answer>> {
    Ok(match put(bus, domain, tenant, Q::NAME, body::encode(Encoding::Json, query)).await? {
        Answer::Here(answer) => {
            let read = body::decode(Encoding::Json, &answer);
            Answer::Here(read.map_err(|fault| anyhow::anyhow!("the worker {domain} answered nonsense: {fault}"))?)
        }
        Answer::NotFound => Answer::NotFound,
        Answer::NoWorker => Answer::NoWorker,
    })
}

/// A command whose field nobody is to read on the bus, with that field sealed by its worker.
pub(crate) async fn seal(
    bus: &Bus,
    entry: &CommandEntry,
    sealed: Sealed,
    tenant: &str,
    command: Vec<u8>,
) -> anyhow::Result<Vec<u8>> {
    let mut fields = body::to_json(Encoding::MessagePack, &command).map_err(|fault| anyhow::anyhow!("{fault}"))?;
    if fields.get(sealed.field).is_none() {
        return Ok(command);
    }
    let question = body::encode(Encoding::Json, &fields);
    let Answer::Here(answer) = put(bus, entry.domain, tenant, sealed.query, question).await? else {
        bail!("the worker {} is not there to seal the field {}; nothing was sent", entry.domain, sealed.field);
    };
    let answer: Value = serde_json::from_slice(&answer)?;
    let closed = answer.get(sealed.field).cloned();
    fields[sealed.field] = closed.with_context(|| format!("the worker {} sealed nothing", entry.domain))?;
    (entry.accept)(Encoding::Json, &body::encode(Encoding::Json, &fields))
        .map_err(|faults| anyhow::anyhow!("the sealed command can't be read: {faults:?}"))
}

/// Asks, and passes on what is answered.
async fn put(bus: &Bus, domain: &str, tenant: &str, name: &str, request: Vec<u8>) -> anyhow::Result<Answer<Bytes>> {
    let mut map = HeaderMap::new();
    map.insert(headers::TENANT, tenant);
    map.insert(headers::SOURCE, crate::order::SOURCE);
    map.insert(headers::CONTENT_TYPE, Encoding::Json.content_type());
    let subject = subject::query(domain, name);
    let asked = bus.ask(subject, map, request.into(), PATIENCE).await;
    let Some(answer) = asked.with_context(|| format!("the worker {domain}"))? else { return Ok(Answer::NoWorker) };
    let get = |name: &str| answer.headers.as_ref().and_then(|map| map.get(name)).map(|value| value.as_str());
    match get("Nats-Service-Error-Code") {
        Some("404") => Ok(Answer::NotFound),
        Some(code) => {
            bail!("the worker {domain} refused: {} ({code})", get("Nats-Service-Error").unwrap_or("no reason"))
        }
        None => Ok(Answer::Here(answer.payload)),
    }
}

/// A held command, and whose it is.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Held {
    pub(crate) domain: &'static str,
    pub(crate) tenant: String,
    #[serde(flatten)]
    pub(crate) command: HeldCommand,
}

/// All held commands, and the domains whose workers could not be asked.
pub(crate) async fn held(
    bus: &Bus,
    domain: Option<&str>,
    tenant: Option<&str>,
) -> anyhow::Result<(Vec<Held>, Vec<&'static str>)> {
    let catalogue = Catalogue::omnibus();
    let (mut all, mut away) = (Vec::new(), Vec::new());
    for asked in catalogue.domains().iter().filter(|d| domain.is_none_or(|domain| domain == d.name)) {
        let tenants = match tenant {
            Some(tenant) => BTreeSet::from([tenant.to_owned()]),
            None => tenants(bus, asked.name).await?,
        };
        for tenant in tenants {
            match ask(bus, asked.name, &tenant, &HeldCommands { limit: 1000 }).await? {
                Answer::Here(HeldList { held }) => all.extend(held.into_iter().map(|command| Held {
                    domain: asked.name,
                    tenant: tenant.clone(),
                    command,
                })),
                Answer::NotFound => {}
                Answer::NoWorker => {
                    away.push(asked.name);
                    break;
                }
            }
        }
    }
    all.sort_by_key(|held| held.command.since);
    Ok((all, away))
}

/// Tenants that may have held commands: those of whom the events say so, and those who have a key.
async fn tenants(bus: &Bus, domain: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut tenants: BTreeSet<_> =
        keys::list(bus.jetstream()).await?.into_iter().map(|record| record.tenant.to_string()).collect();
    let stream = bus.jetstream().get_stream_no_info("EVT").await?;
    let mut held = stream.info_with_subjects(subject::event(domain, CommandHeld::NAME, "*")).await?;
    while let Some((subject, _)) = held.try_next().await? {
        tenants.extend(subject.rsplit('.').next().map(str::to_owned));
    }
    Ok(tenants)
}
