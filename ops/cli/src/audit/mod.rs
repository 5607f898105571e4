//! `omnibus audit`: taking the log out with its proofs, checking it where nobody has to be trusted, and reports.

mod export;
mod head;
mod report;
mod verify;
mod watch;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use omnibus_auditor::note::VerifierKey;
use omnibus_runtime::Bus;
use omnibus_schemas::auditor::{DOMAIN, Framework};
use omnibus_schemas::{Query, Tenant};

use crate::home::Home;
use crate::query::{self, Answer};
use crate::show::Output;
use export::Export;
use head::Of;
use report::Report;
use verify::Verify;
use watch::Watch;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Shows the head of a tenant's log, and the public key that it is signed with.
    Head(Of),
    /// Writes a log with its proofs as lines of JSON, or as CSV, which proves nothing.
    Export(Export),
    /// Writes a framework's report as a page to read and print; with `--output json`, as data.
    Report(Report),
    /// Checks an export. Needs the public key and the file, and nothing else.
    Verify(Verify),
    /// Follows a log and makes sure that each head continues the one before. Ends with status 1 if one does not.
    Watch(Watch),
}

impl AuditCommand {
    pub(crate) async fn run(self, home: &Home, output: Output) -> anyhow::Result<ExitCode> {
        match self {
            AuditCommand::Head(of) => of.run(home, output).await,
            AuditCommand::Export(export) => export.run(home).await,
            AuditCommand::Report(report) => report.run(home, output).await,
            AuditCommand::Verify(verify) => verify.run(output),
            AuditCommand::Watch(watch) => watch.run(home, output).await,
        }
    }
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Key {
    /// The log's public key, `<name>+<id>+<base64>`.
    #[arg(long)]
    key: Option<String>,
    /// A file with it.
    #[arg(long)]
    key_file: Option<PathBuf>,
}

impl Key {
    fn read(&self) -> anyhow::Result<VerifierKey> {
        let text = match (&self.key, &self.key_file) {
            (Some(key), _) => key.clone(),
            (None, Some(file)) => {
                std::fs::read_to_string(file).with_context(|| format!("can't read the key in {}", file.display()))?
            }
            (None, None) => bail!("--key or --key-file is missing"),
        };
        Ok(VerifierKey::parse(&text)?)
    }
}

fn framework(text: &str) -> Result<Framework, String> {
    let known = Framework::ALL.into_iter().find(|framework| framework.as_str() == text);
    known.ok_or_else(|| format!("must be one of {}", Framework::ALL.map(Framework::as_str).join(", ")))
}

async fn ask<Q: Query>(bus: &Bus, tenant: &Tenant, query: &Q) -> anyhow::Result<Q::Answer> {
    match query::ask(bus, DOMAIN, tenant.as_str(), query).await? {
        Answer::Here(answer) => Ok(answer),
        Answer::NotFound => bail!("the log of {tenant} has nothing of the kind: {} found nothing", Q::NAME),
        Answer::NoWorker => bail!("no auditor answers"),
    }
}

fn writer(file: Option<&Path>) -> anyhow::Result<Box<dyn Write>> {
    Ok(match file {
        Some(file) => Box::new(BufWriter::new(
            File::create(file).with_context(|| format!("{} can't be written", file.display()))?,
        )),
        None => Box::new(BufWriter::new(io::stdout().lock())),
    })
}

fn read_note(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("can't read the checkpoint in {}", file.display()))
}
