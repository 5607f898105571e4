//! `omnibus send`: a command, without the HTTP door.

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use omnibus_runtime::clock;
use omnibus_runtime::trace::TraceParent;
use omnibus_schemas::{Catalogue, CommandEntry, Encoding, Tenant};
use serde_json::json;

use crate::connect::Connection;
use crate::home::Home;
use crate::order::Order;
use crate::outcome::Ear;
use crate::query;
use crate::show::{self, Output};

#[derive(Debug, Args)]
pub(crate) struct Send {
    #[command(flatten)]
    connection: Connection,
    /// Which, such as `mailer.send_email`.
    command: String,
    /// Its fields, as a JSON object; `-` reads standard input. The command's example shows with `--example`.
    #[arg(long, required_unless_present = "example")]
    json: Option<String>,
    /// Prints a body that works as it stands, and sends nothing.
    #[arg(long, conflicts_with = "json")]
    example: bool,
    /// In whose name.
    #[arg(long, env = "OMNIBUS_TENANT", default_value = "demo")]
    tenant: Tenant,
    /// Waits for the outcome, for so many seconds at most; exits 1 unless it is a success.
    #[arg(long, num_args = 0..=1, default_missing_value = "10", value_name = "SECONDS")]
    wait: Option<u64>,
}

impl Send {
    pub(crate) async fn run(self, home: &Home, output: Output) -> anyhow::Result<ExitCode> {
        let catalogue = Catalogue::omnibus();
        let entry = command(&catalogue, &self.command)?;
        if self.example {
            show::json(&(entry.example)());
            return Ok(ExitCode::SUCCESS);
        }
        let text = match self.json.as_deref() {
            Some("-") => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("can't read standard input")?;
                text
            }
            text => text.unwrap_or_default().to_owned(),
        };
        let body = match (entry.accept)(Encoding::Json, text.as_bytes()) {
            Ok(body) => body,
            Err(faults) => {
                match output {
                    Output::Json => show::json(&json!({ "faults": faults })),
                    Output::Table => {
                        let rows = faults.iter().map(|fault| {
                            let field = if fault.pointer.is_empty() { "(body)" } else { &fault.pointer };
                            [field.to_owned(), fault.reason.clone()]
                        });
                        show::text(&show::table(["field", "reason"], rows));
                    }
                }
                bail!("nothing was sent: --json is no {}; `--example` shows one", self.command)
            }
        };
        let bus = self.connection.open(home).await?;
        let body = match entry.sealed {
            Some(sealed) => query::seal(&bus, entry, sealed, self.tenant.as_str(), body).await?,
            None => body,
        };
        let id = clock::new_id();
        let mut ear = match self.wait {
            Some(_) => Some(Ear::open(&bus, entry.domain, self.tenant.as_str()).await?),
            None => None,
        };
        let order = Order {
            id,
            subject: entry.subject(self.tenant.as_str()),
            kind: &entry.ce_type(),
            tenant: self.tenant.as_str(),
            correlation: None,
            causation: None,
            trace: TraceParent::start(),
            encoding: Encoding::MessagePack,
            body: body.into(),
        };
        let stored = order.publish(&bus).await?;
        let event = match (&mut ear, self.wait) {
            (Some(ear), Some(seconds)) => ear.outcome(&id.to_string(), Duration::from_secs(seconds)).await,
            _ => None,
        };
        match output {
            Output::Json => {
                show::json(&json!({ "id": id, "stream": stored.stream, "sequence": stored.sequence, "event": event }));
            }
            Output::Table => {
                show::text(&format!("{id} accepted: {} number {}", stored.stream, stored.sequence));
                if let Some(event) = &event {
                    show::text(&event.line());
                }
            }
        }
        Ok(match (self.wait, event.and_then(|event| event.outcome)) {
            (None, _) => ExitCode::SUCCESS,
            (Some(_), Some(outcome)) if outcome == "succeeded" => ExitCode::SUCCESS,
            (Some(_), Some(_)) => ExitCode::FAILURE,
            (Some(seconds), None) => {
                show::remark(&format!("no outcome within {seconds} s; `omnibus trace {id}` shows how far it has come"));
                ExitCode::FAILURE
            }
        })
    }
}

/// `<domain>.<command>` of the catalogue.
fn command<'a>(catalogue: &'a Catalogue, name: &str) -> anyhow::Result<&'a CommandEntry> {
    let found = name.split_once('.').and_then(|(domain, command)| catalogue.command(domain, command));
    found.with_context(|| {
        let known: Vec<_> = catalogue.commands().map(|entry| format!("{}.{}", entry.domain, entry.name)).collect();
        format!("there is no command {name:?}; there are: {}", known.join(", "))
    })
}
