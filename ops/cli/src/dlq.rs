//! `omnibus dlq`: what could not be done, with why, and what to do with it.

use std::ops::ControlFlow;

use anyhow::{Context, bail, ensure};
use async_nats::jetstream::message::StreamMessage;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use omnibus_runtime::Bus;
use omnibus_runtime::trace::TraceParent;
use omnibus_schemas::subject::CommandSubject;
use omnibus_schemas::{Catalogue, Encoding, Tenant, headers};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::act;
use crate::connect::Connection;
use crate::home::Home;
use crate::listing::{self, Listing};
use crate::order::Order;
use crate::reading::{self, Reading};
use crate::show::{self, Output};

const STREAM: &str = "DLQ";

#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// Lists dead letters, oldest first.
    List {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        filter: Filter,
    },
    /// Shows one: why it died, and its body.
    Show {
        #[command(flatten)]
        connection: Connection,
        /// Its number, as `omnibus dlq list` shows it.
        number: u64,
    },
    /// Sends commands again, as new commands caused by the old; the dead letters are then deleted.
    Retry {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        which: Which,
    },
    /// Deletes dead letters. Their commands stay undone.
    Drop {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Only this tenant's.
    #[arg(long)]
    tenant: Option<Tenant>,
    /// Only this domain's.
    #[arg(long, value_parser = crate::held::domain)]
    domain: Option<String>,
    /// Only this command's.
    #[arg(long)]
    command: Option<String>,
    /// Only those of this code, such as `attempts_used_up`.
    #[arg(long)]
    code: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Their numbers, as `omnibus dlq list` shows them.
    #[arg(required_unless_present = "all")]
    numbers: Vec<u64>,
    /// All that the filters let through.
    #[arg(long, conflicts_with = "numbers")]
    all: bool,
    #[command(flatten)]
    filter: Filter,
}

/// A dead letter.
#[derive(Debug, Clone, Serialize)]
struct DeadLetter {
    number: u64,
    at: Option<chrono::DateTime<chrono::Utc>>,
    tenant: String,
    /// The id of the command that died.
    command_id: String,
    /// Where the command was published.
    subject: String,
    code: String,
    detail: String,
    attempts: String,
    /// Where the command is stored, if it still is.
    stream: String,
    sequence: u64,
    body: Reading,
    #[serde(skip)]
    message: StreamMessage,
}

impl DeadLetter {
    fn of(message: StreamMessage) -> Self {
        let get = |name: &str| message.headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
        DeadLetter {
            number: message.sequence,
            at: reading::stored_at(&message),
            tenant: message.subject.rsplit('.').next().unwrap_or_default().to_owned(),
            command_id: get(headers::SUBJECT),
            subject: get("omnibus-dlq-subject"),
            code: get("omnibus-dlq-code"),
            detail: get("omnibus-dlq-detail"),
            attempts: get("omnibus-dlq-attempts"),
            stream: get("omnibus-dlq-stream"),
            sequence: get("omnibus-dlq-sequence").parse().unwrap_or_default(),
            body: Reading::stored(STREAM, &message),
            message,
        }
    }

    fn passes(&self, filter: &Filter) -> bool {
        let mut tokens = self.message.subject.split('.').skip(1);
        let (domain, command) = (tokens.next(), tokens.next());
        filter.tenant.as_ref().is_none_or(|tenant| tenant.as_str() == self.tenant)
            && filter.domain.as_deref().is_none_or(|wanted| domain == Some(wanted))
            && filter.command.as_deref().is_none_or(|wanted| command == Some(wanted))
            && filter.code.as_deref().is_none_or(|wanted| self.code == wanted)
    }

    /// The envelope's header as the sender wrote it.
    fn original(&self, name: &str) -> Option<&str> {
        self.message.headers.get(format!("omnibus-original-{name}").as_str()).map(|value| value.as_str())
    }
}

impl DlqCommand {
    pub(crate) async fn run(self, home: &Home, output: Output) -> anyhow::Result<()> {
        match self {
            DlqCommand::List { connection, filter } => {
                let bus = connection.open(home).await?;
                let letters = all(&bus, &filter).await?;
                match output {
                    Output::Json => show::json(&letters),
                    Output::Table if letters.is_empty() => show::text("There are no dead letters."),
                    Output::Table => show::text(&show::table(
                        ["number", "died", "tenant", "command", "code", "attempts", "detail"],
                        letters.iter().map(|letter| {
                            let command = CommandSubject::parse(&letter.subject);
                            let command = command.map(|c| format!("{}.{}", c.domain, c.name));
                            [
                                letter.number.to_string(),
                                show::or_dash(letter.at.map(show::time)),
                                letter.tenant.clone(),
                                command.unwrap_or_else(|| letter.subject.clone()),
                                letter.code.clone(),
                                letter.attempts.clone(),
                                letter.detail.clone(),
                            ]
                        }),
                    )),
                }
            }
            DlqCommand::Show { connection, number } => {
                let bus = connection.open(home).await?;
                let letter = one(&bus, number).await?;
                match output {
                    Output::Json => show::json(&letter),
                    Output::Table => show_one(&letter),
                }
            }
            DlqCommand::Retry { connection, which } => {
                let bus = connection.open(home).await?;
                let letters = which.find(&bus).await?;
                let (progress, mut done, mut failed) = (bar("retrying", &letters), Vec::new(), Vec::new());
                for letter in &letters {
                    match retry(&bus, letter).await {
                        Ok(id) => {
                            let detail = format!("{} is now {id}", letter.command_id);
                            note(&bus, letter, "dlq.retried", &detail).await?;
                            done.push((letter.number, id));
                        }
                        Err(error) => failed.push((letter.number, format!("{error:#}"))),
                    }
                    progress.inc(1);
                }
                progress.finish_and_clear();
                match output {
                    Output::Json => show::json(&json!({
                        "retried": done.iter().map(|(number, id)| json!({ "number": number, "id": id })).collect::<Vec<_>>(),
                        "failed": failed.iter().map(|(number, why)| json!({ "number": number, "why": why })).collect::<Vec<_>>(),
                    })),
                    Output::Table => {
                        let rows =
                            done.iter().map(|(number, id)| [number.to_string(), format!("is now the command {id}")]);
                        let not =
                            failed.iter().map(|(number, why)| [number.to_string(), format!("not retried: {why}")]);
                        show::text(&show::table(["number", "result"], rows.chain(not)));
                    }
                }
                ensure!(failed.is_empty(), "{} of {} were not retried", failed.len(), letters.len());
            }
            DlqCommand::Drop { connection, which } => {
                let bus = connection.open(home).await?;
                let letters = which.find(&bus).await?;
                let progress = bar("dropping", &letters);
                for letter in &letters {
                    delete(&bus, letter.number).await?;
                    note(&bus, letter, "dlq.dropped", &letter.command_id).await?;
                    progress.inc(1);
                }
                progress.finish_and_clear();
                let numbers: Vec<_> = letters.iter().map(|letter| letter.number).collect();
                match output {
                    Output::Json => show::json(&json!({ "dropped": numbers })),
                    Output::Table => show::text(&format!("Dropped {}.", numbers.len())),
                }
            }
        }
        Ok(())
    }
}

/// A letter's tenant may be none that there can be: it is what somebody wrote.
async fn note(bus: &Bus, letter: &DeadLetter, act: &str, detail: &str) -> anyhow::Result<()> {
    let tenant: Option<Tenant> = letter.tenant.parse().ok();
    let tenant = tenant.as_ref().map_or(act::HOUSE, Tenant::as_str);
    act::record(bus, tenant, act, &letter.number.to_string(), detail).await
}

fn bar(what: &'static str, letters: &[DeadLetter]) -> ProgressBar {
    listing::progress(what, letters.len() as u64)
}

impl Which {
    async fn find(&self, bus: &Bus) -> anyhow::Result<Vec<DeadLetter>> {
        if self.all {
            return all(bus, &self.filter).await;
        }
        let mut letters = Vec::new();
        for number in &self.numbers {
            let letter = one(bus, *number).await?;
            ensure!(letter.passes(&self.filter), "the dead letter {number} is not what the filters let through");
            letters.push(letter);
        }
        Ok(letters)
    }
}

async fn all(bus: &Bus, filter: &Filter) -> anyhow::Result<Vec<DeadLetter>> {
    let mut letters = Vec::new();
    Listing::of(STREAM)
        .read(bus, None, |message| {
            letters.push(DeadLetter::of(message));
            ControlFlow::Continue(())
        })
        .await?;
    letters.retain(|letter| letter.passes(filter));
    Ok(letters)
}

async fn one(bus: &Bus, number: u64) -> anyhow::Result<DeadLetter> {
    let stream = bus.jetstream().get_stream_no_info(STREAM).await?;
    let found = stream.get_raw_message(number).await;
    let message = found.with_context(|| format!("there is no dead letter {number}; `omnibus dlq list` shows them"))?;
    Ok(DeadLetter::of(message))
}

async fn delete(bus: &Bus, number: u64) -> anyhow::Result<()> {
    let stream = bus.jetstream().get_stream_no_info(STREAM).await?;
    let deleted = stream.delete_message(number).await;
    deleted.with_context(|| format!("the dead letter {number} could not be deleted"))?;
    Ok(())
}

/// Sends the command once more. Its new id follows from the letter, so that a retry that was cut between sending and
/// deleting is, when repeated, the same command.
async fn retry(bus: &Bus, letter: &DeadLetter) -> anyhow::Result<Uuid> {
    let Some(subject) = CommandSubject::parse(&letter.subject) else {
        bail!(
            "it was not a command but {}, which others have read too: only commands can be sent again",
            letter.subject
        )
    };
    if letter.code == "forged_tenant" {
        bail!(
            "its header named another tenant than its subject, so whose it is can't be told; `omnibus send` sends it anew"
        )
    }
    let catalogue = Catalogue::omnibus();
    let entry = catalogue.command(subject.domain, subject.name);
    let entry = entry.with_context(|| format!("the catalogue has no command {}.{}", subject.domain, subject.name))?;
    let body = match letter.message.headers.get("omnibus-dlq-body") {
        None => letter.message.payload.clone(),
        Some(_) => {
            let stream = bus.jetstream().get_stream_no_info(&letter.stream).await?;
            let stored = stream.get_raw_message(letter.sequence).await.with_context(|| {
                format!("its body was left in {} as number {}, and is no longer there", letter.stream, letter.sequence)
            })?;
            stored.payload
        }
    };
    let encoding = match letter.original(headers::CONTENT_TYPE) {
        None => Encoding::Json,
        Some(kind) => Encoding::from_content_type(kind).context("its Content-Type is neither JSON nor MessagePack")?,
    };
    // The seed is the letter's own place: its number, and when it was written.
    let at = letter.at.and_then(|at| at.timestamp_nanos_opt()).unwrap_or_default();
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{STREAM}/{}/{at}/retry", letter.number).as_bytes());
    let kind = letter.original(headers::TYPE).map_or_else(|| entry.ce_type(), str::to_owned);
    let trace = letter.original(headers::TRACEPARENT).and_then(TraceParent::parse);
    let order = Order {
        id,
        subject: letter.subject.clone(),
        kind: &kind,
        tenant: subject.tenant,
        correlation: Some(letter.original(headers::CORRELATION).unwrap_or(&letter.command_id)),
        causation: Some(&letter.command_id),
        trace: trace.map_or_else(TraceParent::start, |trace| trace.child()),
        encoding,
        body,
    };
    order.publish(bus).await?;
    delete(bus, letter.number).await.with_context(|| format!("it was sent as {id}"))?;
    Ok(id)
}

fn show_one(letter: &DeadLetter) {
    let row = |name: &str, value: &str| [name.to_owned(), value.to_owned()];
    let mut rows = vec![
        row("number", &letter.number.to_string()),
        row("died", &show::or_dash(letter.at.map(show::time))),
        row("tenant", &letter.tenant),
        row("command", &letter.command_id),
        row("subject", &letter.subject),
        row("stored in", &format!("{} as number {}", letter.stream, letter.sequence)),
        row("code", &letter.code),
        row("detail", &letter.detail),
        row("attempts", &letter.attempts),
    ];
    let prefix = "omnibus-original-";
    for (name, values) in letter.message.headers.iter() {
        if let (Some(name), Some(value)) = (name.to_string().strip_prefix(prefix), values.first()) {
            rows.push(row(name, value.as_str()));
        }
    }
    show::text(&show::table(["field", "value"], rows));
    match (letter.message.headers.get("omnibus-dlq-body"), &letter.body.undecodable) {
        (Some(where_), _) => show::text(&format!("The body was {where_}.")),
        (None, Some(why)) => show::text(&format!("The body can't be decoded: {why}")),
        (None, None) => show::json(&letter.body.data),
    }
}
