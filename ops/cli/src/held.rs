//! `omnibus held`: commands of which nobody knows whether their call went out.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use omnibus_runtime::trace::TraceParent;
use omnibus_runtime::{Bus, clock};
use omnibus_schemas::platform::{Resolution, ResolveHeld};
use omnibus_schemas::{Catalogue, Command, Encoding, Tenant, body};
use serde_json::json;
use uuid::Uuid;

use crate::connect::Connection;
use crate::home::Home;
use crate::order::Order;
use crate::outcome::Ear;
use crate::query;
use crate::show::{self, Output};

/// How long the worker may take to carry a decision out.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, Subcommand)]
pub(crate) enum HeldCommand {
    /// Lists them, oldest first.
    List(List),
    /// Decides one.
    Resolve(Resolve),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    of: Of,
}

#[derive(Debug, Args)]
struct Of {
    /// Only this tenant's; by default of all tenants who have a key or had a held command.
    #[arg(long)]
    tenant: Option<Tenant>,
    /// Only this domain's.
    #[arg(long, value_parser = domain)]
    domain: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Resolve {
    #[command(flatten)]
    connection: Connection,
    /// The held command's id.
    id: Uuid,
    #[command(flatten)]
    of: Of,
    #[command(flatten)]
    decision: Decision,
    /// Why, for the record.
    #[arg(long)]
    note: String,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Decision {
    /// It happened: the command has succeeded.
    #[arg(long)]
    happened: bool,
    /// It did not happen, or may happen again: perform it once more.
    #[arg(long)]
    perform: bool,
    /// Leave it: the command is rejected.
    #[arg(long)]
    drop: bool,
}

/// A domain of the catalogue.
pub(crate) fn domain(name: &str) -> Result<String, String> {
    let catalogue = Catalogue::omnibus();
    match catalogue.domain(name) {
        Some(domain) => Ok(domain.name.to_owned()),
        None => {
            let known: Vec<_> = catalogue.domains().iter().map(|domain| domain.name).collect();
            Err(format!("there is no such domain; there are: {}", known.join(", ")))
        }
    }
}

impl HeldCommand {
    pub(crate) async fn run(self, home: &Home, output: Output) -> anyhow::Result<ExitCode> {
        match self {
            HeldCommand::List(list) => {
                let bus = list.connection.open(home).await?;
                let (held, away) = list.of.find(&bus).await?;
                match output {
                    Output::Json => show::json(&held),
                    Output::Table if held.is_empty() => show::text("Nothing is held."),
                    Output::Table => show::text(&show::table(
                        ["id", "tenant", "command", "since", "what is known"],
                        held.iter().map(|held| {
                            [
                                held.command.command_id.to_string(),
                                held.tenant.clone(),
                                format!("{}.{}", held.domain, held.command.command),
                                show::time(held.command.since),
                                show::or_dash(held.command.detail.as_ref()),
                            ]
                        }),
                    )),
                }
                if away.is_empty() {
                    return Ok(ExitCode::SUCCESS);
                }
                bail!("no worker answers for: {}; its held commands are not shown", away.join(", "))
            }
            HeldCommand::Resolve(resolve) => resolve.run(home, output).await,
        }
    }
}

impl Of {
    async fn find(&self, bus: &Bus) -> anyhow::Result<(Vec<query::Held>, Vec<&'static str>)> {
        query::held(bus, self.domain.as_deref(), self.tenant.as_ref().map(Tenant::as_str)).await
    }
}

impl Resolve {
    async fn run(self, home: &Home, output: Output) -> anyhow::Result<ExitCode> {
        let resolution = match &self.decision {
            Decision { happened: true, .. } => Resolution::Happened,
            Decision { perform: true, .. } => Resolution::Perform,
            _ => Resolution::Drop,
        };
        let command = ResolveHeld { command_id: self.id, resolution, note: self.note };
        if let Err(faults) = body::validate(&command) {
            let words: Vec<_> = faults.iter().map(ToString::to_string).collect();
            bail!("{}", words.join("; "));
        }
        let bus = self.connection.open(home).await?;
        let (held, away) = self.of.find(&bus).await?;
        let Some(held) = held.into_iter().find(|held| held.command.command_id == self.id) else {
            match away.is_empty() {
                true => bail!("no held command {} was found; `omnibus held list` shows those there are", self.id),
                false => bail!("no held command {} was found, but no worker answers for: {}", self.id, away.join(", ")),
            }
        };
        let catalogue = Catalogue::omnibus();
        let entry = catalogue.command(held.domain, ResolveHeld::NAME).context("the catalogue has no resolve_held")?;
        let (id, held_id) = (clock::new_id(), self.id.to_string());
        let mut ear = Ear::open(&bus, held.domain, &held.tenant).await?;
        let order = Order {
            id,
            subject: entry.subject(&held.tenant),
            kind: &entry.ce_type(),
            tenant: &held.tenant,
            correlation: Some(&held_id),
            causation: Some(&held_id),
            trace: TraceParent::start(),
            encoding: Encoding::MessagePack,
            body: body::encode(Encoding::MessagePack, &command).into(),
        };
        order.publish(&bus).await?;
        let Some(event) = ear.outcome(&id.to_string(), PATIENCE).await else {
            bail!("the decision {id} is accepted, but not carried out within {} s", PATIENCE.as_secs())
        };
        match output {
            Output::Json => show::json(&json!({ "id": id, "held": self.id, "event": event })),
            Output::Table => show::text(&event.line()),
        }
        Ok(if event.outcome.as_deref() == Some("succeeded") { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
