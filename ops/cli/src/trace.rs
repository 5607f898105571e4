//! `omnibus trace`: everything about one command, in order, with times.

use std::collections::HashMap;
use std::ops::ControlFlow;

use anyhow::bail;
use async_nats::jetstream::message::StreamMessage;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use omnibus_runtime::{Bus, Meta};
use omnibus_schemas::platform::{CommandPage, CommandReport};
use omnibus_schemas::subject::{CommandSubject, EventSubject};
use omnibus_schemas::{Catalogue, Tenant, headers, subject};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::connect::Connection;
use crate::home::Home;
use crate::listing::{self, Listing};
use crate::query::{self, Answer};
use crate::reading::{self, Reading};
use crate::show::{self, Output};

#[derive(Debug, Args)]
pub(crate) struct Trace {
    #[command(flatten)]
    connection: Connection,
    /// The command's id, as the door or `omnibus send` told it; or the `ce-id` that its sender chose.
    id: String,
    /// Whose it is, if two tenants chose the same id.
    #[arg(long)]
    tenant: Option<Tenant>,
}

/// The command as it stands in its stream. A put-off or performed-again one stands there more than once.
#[derive(Debug, Serialize)]
struct Stored {
    stream: String,
    at: Option<DateTime<Utc>>,
    #[serde(flatten)]
    message: Reading,
}

/// One thing that happened.
#[derive(Debug, Serialize)]
struct Step {
    at: Option<DateTime<Utc>>,
    what: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    #[serde(skip_serializing_if = "Value::is_null")]
    data: Value,
}

/// All of it.
#[derive(Debug, Serialize)]
struct Story {
    id: Uuid,
    domain: String,
    tenant: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
    steps: Vec<Step>,
    stored: Vec<Stored>,
    report: Option<CommandReport>,
}

/// Where a command belongs.
struct Place {
    domain: String,
    tenant: String,
}

impl Trace {
    pub(crate) async fn run(self, home: &Home, output: Output) -> anyhow::Result<()> {
        // As the workers read it: an id that is no UUID becomes one.
        let id = self.id.parse().unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, self.id.as_bytes()));
        let bus = self.connection.open(home).await?;
        let stored = stored(&bus, id, self.tenant.as_ref()).await?;
        let place = match stored.first().and_then(|stored| CommandSubject::parse(&stored.message.subject)) {
            Some(subject) => Place { domain: subject.domain.to_owned(), tenant: subject.tenant.to_owned() },
            None => match told(&bus, id, self.tenant.as_ref()).await? {
                Some(place) => place,
                None => bail!("neither a command nor an event of the command {} is on the bus", self.id),
            },
        };
        let tenants: Vec<_> = stored.iter().filter_map(|stored| stored.message.tenant.as_deref()).collect();
        if tenants.iter().any(|tenant| *tenant != place.tenant) {
            bail!("more than one tenant has a command {}; --tenant says which", self.id);
        }
        let report = match query::ask(&bus, &place.domain, &place.tenant, &CommandPage { command_id: id }).await? {
            Answer::Here(report) => Some(report),
            Answer::NotFound => None,
            Answer::NoWorker => {
                show::remark(&format!("no worker of {} answers, so attempts and retries are not shown", place.domain));
                None
            }
        };
        let mut steps = of_stored(&stored);
        steps.extend(report.iter().flat_map(of_report));
        steps.extend(caused(&bus, id, &place, &stored, report.as_ref()).await?);
        // What happened at the same moment stays in the order above.
        steps.sort_by_key(|step| step.at.unwrap_or(DateTime::<Utc>::MAX_UTC));
        let trace = stored.iter().find_map(|stored| stored.message.trace.clone());
        let story = Story { id, domain: place.domain, tenant: place.tenant, trace, steps, stored, report };
        match output {
            Output::Json => show::json(&story),
            Output::Table => story.show(),
        }
        Ok(())
    }
}

/// Looks through the command streams.
async fn stored(bus: &Bus, id: Uuid, tenant: Option<&Tenant>) -> anyhow::Result<Vec<Stored>> {
    let progress = listing::progress("looking for the command", 0);
    let mut found = Vec::new();
    for domain in Catalogue::omnibus().domains() {
        let stream = subject::command_stream(domain.name);
        let subjects = tenant.map(|tenant| subject::command(domain.name, "*", "*", tenant.as_str()));
        let listing = Listing { subjects: subjects.into_iter().collect(), headers_only: true, ..Listing::of(&stream) };
        let mut numbers = Vec::new();
        let read = listing.read(bus, Some(&progress), |message| {
            if meta(&stream, &message).is_some_and(|meta| meta.id == id) {
                numbers.push(message.sequence);
            }
            ControlFlow::Continue(())
        });
        read.await?;
        let of = bus.jetstream().get_stream_no_info(&stream).await?;
        for number in numbers {
            let message = of.get_raw_message(number).await?;
            let at = reading::stored_at(&message);
            found.push(Stored { at, message: Reading::stored(&stream, &message), stream: stream.clone() });
        }
    }
    progress.finish_and_clear();
    Ok(found)
}

fn meta(stream: &str, message: &StreamMessage) -> Option<Meta> {
    let at = reading::stored_at(message)?;
    Some(Meta::at(&message.subject, Some(&message.headers), stream, message.sequence, at).0)
}

/// Done commands are trimmed; their events are kept longer.
async fn told(bus: &Bus, id: Uuid, tenant: Option<&Tenant>) -> anyhow::Result<Option<Place>> {
    let mut place = None;
    let subjects = tenant.map(|tenant| subject::event("*", "*", tenant.as_str()));
    let listing = Listing { subjects: subjects.into_iter().collect(), headers_only: true, ..Listing::of("EVT") };
    let progress = listing::progress("looking for its events", 0);
    let prefix = format!("{id}/");
    let read = listing.read(bus, Some(&progress), |message| {
        let ours = message.headers.get(headers::ID).is_some_and(|id| id.as_str().starts_with(&prefix));
        match EventSubject::parse(&message.subject) {
            Some(subject) if ours => {
                place = Some(Place { domain: subject.domain.to_owned(), tenant: subject.tenant.to_owned() });
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    });
    read.await?;
    progress.finish_and_clear();
    Ok(place)
}

fn of_stored(stored: &[Stored]) -> Vec<Step> {
    let steps = stored.iter().enumerate().map(|(n, stored)| Step {
        at: stored.at,
        what: if n == 0 { "accepted" } else { "accepted again" },
        detail: format!(
            "{} number {} on {}, by {}",
            stored.stream,
            stored.message.sequence.unwrap_or_default(),
            stored.message.subject,
            stored.message.actor.as_deref().unwrap_or("nobody named")
        ),
        outcome: None,
        data: stored.message.data.clone(),
    });
    steps.collect()
}

fn of_report(report: &CommandReport) -> Vec<Step> {
    let step = |at, what, detail| Step { at, what, detail, outcome: None, data: Value::Null };
    let deliveries = match report.deliveries {
        0 | 1 => String::new(),
        n => format!("delivered {n} times: tries failed, were put off, or their worker ended on the way"),
    };
    let mut steps = vec![step(Some(report.received_at), "claimed", deliveries)];
    if report.retries > 0 {
        let last = report.last_error.as_deref().unwrap_or("no words");
        steps.push(step(Some(report.received_at), "failed tries", format!("{}, the last: {last}", report.retries)));
    }
    for attempt in &report.attempts {
        let over = match attempt.takeovers {
            0 => String::new(),
            n => format!(", taken over {n} times from a worker that had ended"),
        };
        steps.push(step(Some(attempt.started_at), "call", format!("attempt {}{over}", attempt.number)));
        if let Some(result) = &attempt.result {
            let detail = attempt.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
            steps.push(step(attempt.closed_at, "call ended", format!("attempt {}: {result}{detail}", attempt.number)));
        }
    }
    if let Some(outcome) = report.outcome {
        let detail = report.last_error.clone().filter(|_| outcome.as_str() != "succeeded").unwrap_or_default();
        steps.push(Step { outcome: Some(outcome.as_str().to_owned()), ..step(report.finished_at, "ended", detail) });
    }
    if report.published_at.is_some() {
        steps.push(step(report.published_at, "noted as published", String::new()));
    }
    steps
}

/// What it caused, in the order in which it stands on the bus, with when the bus took it.
async fn caused(
    bus: &Bus,
    id: Uuid,
    place: &Place,
    stored: &[Stored],
    report: Option<&CommandReport>,
) -> anyhow::Result<Vec<Step>> {
    // Clocks of machines differ by a little; events of an earlier time are none of its.
    let since = stored.iter().filter_map(|stored| stored.at).chain(report.map(|report| report.received_at)).min();
    let since = since.and_then(|since| since.checked_sub_signed(TimeDelta::minutes(1)));
    let prefix = format!("{id}/");
    let mut steps = Vec::new();
    let mut seen: HashMap<String, ()> = HashMap::new();
    for (stream, subjects, what) in [
        ("EVT", subject::event(&place.domain, "*", &place.tenant), "event"),
        ("DLQ", subject::dead_letter(&place.domain, "*", &place.tenant), "dead letter"),
    ] {
        let listing = Listing { subjects: vec![subjects], since, ..Listing::of(stream) };
        let read = listing.read(bus, None, |message| {
            let at = reading::stored_at(&message);
            let read = Reading::stored(stream, &message);
            if let Some(id) = read.id.as_ref().filter(|id| id.starts_with(&prefix)) {
                seen.insert(id.clone(), ());
                steps.push(Step {
                    at,
                    what,
                    detail: format!("{} ({stream} number {})", read.subject, message.sequence),
                    outcome: read.outcome,
                    data: if what == "event" { read.data } else { Value::Null },
                });
            }
            ControlFlow::Continue(())
        });
        read.await?;
    }
    for message in report.iter().flat_map(|report| &report.events) {
        if !seen.contains_key(&message.id) {
            let command = message.subject.starts_with("cmd.");
            let at = report.and_then(|report| if command { report.published_at } else { None });
            steps.push(Step {
                at,
                what: if command { "follow-up" } else { "not on the bus" },
                detail: format!("{} {}", message.subject, message.id),
                outcome: None,
                data: message.payload.clone(),
            });
        }
    }
    Ok(steps)
}

impl Story {
    fn show(&self) {
        let trace = self.trace.as_ref().map(|trace| format!(", trace {trace}")).unwrap_or_default();
        show::text(&show::bold(&format!("command {} of {}, domain {}{trace}\n", self.id, self.tenant, self.domain)));
        let first = self.steps.first().and_then(|step| step.at);
        for step in &self.steps {
            let after = match (step.at, first) {
                (Some(at), Some(first)) => format!("+{:.3} s", (at - first).as_seconds_f64()),
                _ => String::new(),
            };
            let outcome = step.outcome.as_deref().map(|word| format!("{} ", show::outcome(word))).unwrap_or_default();
            let data = if step.data.is_null() { String::new() } else { show::one_line(&step.data) };
            let time = show::or_dash(step.at.map(show::time));
            let line = format!(
                "{} {after:>10}  {:<18} {outcome}{} {}",
                show::dim(&time),
                step.what,
                step.detail,
                show::dim(&data)
            );
            show::text(line.trim_end());
        }
        if self.report.as_ref().is_none_or(|report| report.outcome.is_none()) {
            show::text("It has not ended yet.");
        }
    }
}
