//! `omnibus audit`: taking the log out with its proofs, checking it where nobody has to be trusted, and reports.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use omnibus_auditor::compliance::oscal;
use omnibus_auditor::export::{self, COLUMNS, Header, VERSION};
use omnibus_auditor::note::{Checkpoint, VerifierKey};
use omnibus_auditor::tree::{self, Hash, WIDTH};
use omnibus_runtime::Bus;
use omnibus_schemas::auditor::{
    ComplianceReport, ComplianceReportPage, ConsistencyProof, DOMAIN, ExportPage, ExportTile, Framework, Head, LogHead,
};
use omnibus_schemas::{Query, Tenant};
use serde::Serialize;

use crate::connect::Connection;
use crate::home::Home;
use crate::listing;
use crate::query::{self, Answer};
use crate::show::{self, Output};

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

#[derive(Debug, Args)]
pub(crate) struct Of {
    #[command(flatten)]
    connection: Connection,
    /// Whose log. `_` is the house's own.
    #[arg(long)]
    tenant: Tenant,
    /// Only the key, for a file.
    #[arg(long)]
    key: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    connection: Connection,
    /// Whose log. `_` is the house's own.
    #[arg(long)]
    tenant: Tenant,
    /// The first entry.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// One more than the last entry; all there are by default.
    #[arg(long)]
    to: Option<u64>,
    /// Only entries whose `what` begins so, such as `mailer.`; of the others, that they are there.
    #[arg(long)]
    what: Option<String>,
    /// A checkpoint that was kept; the export then says how it is continued.
    #[arg(long)]
    since: Option<PathBuf>,
    /// As CSV, without proofs.
    #[arg(long, conflicts_with = "since")]
    csv: bool,
    /// Not the entries, but how this framework's controls stand, as OSCAL assessment results: `hipaa`, `soc2` or `iso27001`.
    #[arg(long, value_parser = framework, conflicts_with_all = ["since", "csv", "what", "from", "to"])]
    oscal: Option<Framework>,
    /// Where to; standard output by default.
    #[arg(long, short = 'f')]
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    #[command(flatten)]
    connection: Connection,
    /// Whose.
    #[arg(long)]
    tenant: Tenant,
    /// `hipaa`, `soc2` or `iso27001`.
    #[arg(long, value_parser = framework)]
    framework: Framework,
    /// Where to; standard output by default.
    #[arg(long, short = 'f')]
    file: Option<PathBuf>,
}

fn framework(text: &str) -> Result<Framework, String> {
    let known = Framework::ALL.into_iter().find(|framework| framework.as_str() == text);
    known.ok_or_else(|| format!("must be one of {}", Framework::ALL.map(Framework::as_str).join(", ")))
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The export.
    file: PathBuf,
    #[command(flatten)]
    key: Key,
    /// A checkpoint that was kept: the export must continue it.
    #[arg(long)]
    kept: Option<PathBuf>,
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

#[derive(Debug, Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    connection: Connection,
    /// Whose log. `_` is the house's own.
    #[arg(long)]
    tenant: Tenant,
    #[command(flatten)]
    key: Key,
    /// Where the last good checkpoint is kept, from one run to the next.
    #[arg(long)]
    kept: PathBuf,
    /// Between two looks.
    #[arg(long, default_value = "10s", value_parser = crate::key::duration)]
    every: chrono::TimeDelta,
    /// One look, then the end.
    #[arg(long)]
    once: bool,
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

impl AuditCommand {
    pub(crate) async fn run(self, home: &Home, output: Output) -> anyhow::Result<ExitCode> {
        match self {
            AuditCommand::Head(of) => {
                let bus = of.connection.open(home).await?;
                let head: Head = ask(&bus, &of.tenant, &LogHead {}).await?;
                match (of.key, output) {
                    (true, _) => show::text(&head.key),
                    (false, Output::Json) => show::json(&head),
                    (false, Output::Table) => {
                        show::text(&format!("key: {}\n\n{}", head.key, head.checkpoint.trim_end()));
                    }
                }
                Ok(ExitCode::SUCCESS)
            }
            AuditCommand::Export(export) => export.run(home).await,
            AuditCommand::Report(report) => report.run(home, output).await,
            AuditCommand::Verify(verify) => verify.run(output),
            AuditCommand::Watch(watch) => watch.run(home, output).await,
        }
    }
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

impl Report {
    async fn run(self, home: &Home, output: Output) -> anyhow::Result<ExitCode> {
        let bus = self.connection.open(home).await?;
        let framework = self.framework;
        let text = match output {
            Output::Table => ask(&bus, &self.tenant, &ComplianceReportPage { framework }).await?.html,
            Output::Json => {
                let report = ask(&bus, &self.tenant, &ComplianceReport { framework }).await?;
                serde_json::to_string_pretty(&report)? + "\n"
            }
        };
        let mut out = writer(self.file.as_deref())?;
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Export {
    async fn run(self, home: &Home) -> anyhow::Result<ExitCode> {
        let bus = self.connection.open(home).await?;
        if let Some(framework) = self.oscal {
            let report = ask(&bus, &self.tenant, &ComplianceReport { framework }).await?;
            let mut out = writer(self.file.as_deref())?;
            serde_json::to_writer_pretty(&mut out, &oscal::assessment_results(&report, self.tenant.as_str()))?;
            writeln!(out)?;
            out.flush()?;
            let (controls, head) = (report.controls.len(), report.head.size);
            show::remark(&format!("{controls} controls of {}, under a head of {head}", self.tenant));
            return Ok(ExitCode::SUCCESS);
        }
        let head: Head = ask(&bus, &self.tenant, &LogHead {}).await?;
        let to = self.to.unwrap_or(head.size);
        ensure!(self.from < to && to <= head.size, "there are entries 0 to {}, so nothing to export", head.size - 1);
        let mut out = writer(self.file.as_deref())?;
        let count = match self.csv {
            true => self.table(&bus, &head, to, &mut out).await?,
            false => self.proved(&bus, &head, to, &mut out).await?,
        };
        out.flush()?;
        show::remark(&format!("{count} entries of {}, under a head of {}", self.tenant, head.size));
        Ok(ExitCode::SUCCESS)
    }

    fn shows(&self, leaf: &str) -> bool {
        self.what.as_deref().is_none_or(|wanted| export::what(leaf).is_some_and(|what| what.starts_with(wanted)))
    }

    async fn proved(&self, bus: &Bus, head: &Head, to: u64, out: &mut dyn Write) -> anyhow::Result<u64> {
        let (mut previous, mut consistency) = (None, Vec::new());
        if let Some(file) = &self.since {
            let note = std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
            let key = VerifierKey::parse(&head.key)?;
            let from = Checkpoint::open(&note, &key).context("the kept checkpoint")?.size;
            let proof = ConsistencyProof { from, to: Some(head.size) };
            consistency = ask(bus, &self.tenant, &proof).await?.path;
            previous = Some(note);
        }
        // The first line says how many follow, so they are counted before.
        let progress = listing::progress("exporting", 2 * self.tiles(to).count() as u64);
        let count = self.count(bus, head, to, &progress).await?;
        let header = Header {
            omnibus_audit_export: VERSION,
            from: self.from,
            to,
            count,
            what: self.what.clone(),
            head: head.checkpoint.clone(),
            previous,
            consistency,
        };
        line(out, &header)?;
        for tile in self.tiles(to) {
            let page = self.page(bus, head, tile).await?;
            for one in export::lines(page, self.from, to, |leaf| self.shows(leaf)) {
                line(out, &one)?;
            }
            progress.inc(1);
        }
        progress.finish_and_clear();
        Ok(count)
    }

    fn tiles(&self, to: u64) -> Range<u64> {
        self.from / WIDTH..to.div_ceil(WIDTH)
    }

    async fn page(&self, bus: &Bus, head: &Head, tile: u64) -> anyhow::Result<ExportTile> {
        ask(bus, &self.tenant, &ExportPage { tile, size: Some(head.size) }).await
    }

    async fn count(&self, bus: &Bus, head: &Head, to: u64, progress: &ProgressBar) -> anyhow::Result<u64> {
        let mut count = 0;
        for tile in self.tiles(to) {
            let entries = self.page(bus, head, tile).await?.entries;
            let shown = entries.iter().filter(|e| (self.from..to).contains(&e.index) && self.shows(&e.leaf));
            count += shown.count() as u64;
            progress.inc(1);
        }
        Ok(count)
    }

    async fn table(&self, bus: &Bus, head: &Head, to: u64, out: &mut dyn Write) -> anyhow::Result<u64> {
        let mut count = 0;
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(COLUMNS)?;
        let progress = listing::progress("exporting", self.tiles(to).count() as u64);
        for tile in self.tiles(to) {
            for entry in self.page(bus, head, tile).await?.entries {
                if (self.from..to).contains(&entry.index) && self.shows(&entry.leaf) {
                    csv.write_record(export::row(&entry.leaf).context("a leaf is JSON")?)?;
                    count += 1;
                }
            }
            progress.inc(1);
        }
        progress.finish_and_clear();
        csv.flush()?;
        Ok(count)
    }
}

fn line(out: &mut dyn Write, value: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")?;
    Ok(())
}

impl Verify {
    fn run(self, output: Output) -> anyhow::Result<ExitCode> {
        let key = self.key.read()?;
        let kept = self.kept.as_deref().map(read_note).transpose()?;
        let file = File::open(&self.file).with_context(|| format!("can't read {}", self.file.display()))?;
        match export::check(BufReader::with_capacity(1 << 20, file), &key, kept.as_deref()) {
            Ok(report) => {
                match output {
                    Output::Json => show::json(&report),
                    Output::Table => {
                        let mut text = format!(
                            "OK: {} entries ({} to {}) of {} are as the head of {} says",
                            report.checked,
                            report.from,
                            report.to - 1,
                            report.origin,
                            report.size
                        );
                        if report.withheld > 0 {
                            text += &format!("; {} are withheld by a filter", report.withheld);
                        }
                        if report.removed > 0 {
                            text += &format!("; {} were removed after their retention", report.removed);
                        }
                        if let Some(size) = report.continues {
                            text += &format!("; the head continues that of {size}");
                        }
                        show::text(&text);
                    }
                }
                Ok(ExitCode::SUCCESS)
            }
            Err(flaw) => {
                match output {
                    Output::Json => show::json(&flaw),
                    Output::Table => show::text(&format!("NOT OK: {flaw}")),
                }
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

fn read_note(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("can't read the checkpoint in {}", file.display()))
}

impl Watch {
    async fn run(self, home: &Home, output: Output) -> anyhow::Result<ExitCode> {
        let key = self.key.read()?;
        let bus = self.connection.open(home).await?;
        let every: Duration = self.every.to_std().context("--every")?;
        loop {
            let head: Head = ask(&bus, &self.tenant, &LogHead {}).await?;
            let new = Checkpoint::open(&head.checkpoint, &key).context("the head is not to be believed")?;
            let kept = match self.kept.exists() {
                true => Some(Checkpoint::open(&read_note(&self.kept)?, &key).context("the kept checkpoint")?),
                false => None,
            };
            let look = self.compare(&bus, kept, &new).await?;
            match output {
                Output::Json => show::json_line(&look),
                Output::Table => show::text(&look.words()),
            }
            if !look.is_good() {
                return Ok(ExitCode::FAILURE);
            }
            std::fs::write(&self.kept, &head.checkpoint)
                .with_context(|| format!("{} can't be written", self.kept.display()))?;
            if self.once {
                return Ok(ExitCode::SUCCESS);
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Does the new head continue the one that was kept?
    async fn compare(&self, bus: &Bus, kept: Option<Checkpoint>, new: &Checkpoint) -> anyhow::Result<Look> {
        let size = new.size;
        let Some(old) = kept else { return Ok(Look::First { size }) };
        let path = match old.size < size {
            true => {
                let proof = ConsistencyProof { from: old.size, to: Some(size) };
                ask(bus, &self.tenant, &proof).await?.path
            }
            false => Vec::new(),
        };
        let hashes = export::hashes(&path).context("the consistency proof is not base64")?;
        Ok(held_against(&old, new, &hashes))
    }
}

/// What a head is to whoever has kept an earlier one.
fn held_against(old: &Checkpoint, new: &Checkpoint, path: &[Hash]) -> Look {
    let (kept, size) = (old.size, new.size);
    if kept > size {
        return Look::RolledBack { size, kept };
    }
    match tree::continues(kept, &old.root, size, &new.root, path) {
        true => Look::Continues { size, kept },
        false => Look::Replaced { size, kept },
    }
}

/// What one look at a log has come to: its entries now, and those of the head that was kept.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Look {
    /// There was none to compare with.
    First {
        size: u64,
    },
    Continues {
        size: u64,
        kept: u64,
    },
    /// There are fewer than there were.
    RolledBack {
        size: u64,
        kept: u64,
    },
    /// There are as many at least, and not those that there were.
    Replaced {
        size: u64,
        kept: u64,
    },
}

impl Look {
    fn is_good(&self) -> bool {
        matches!(self, Look::First { .. } | Look::Continues { .. })
    }

    fn words(&self) -> String {
        match self {
            Look::First { size } => format!("{size} entries; the first checkpoint is kept"),
            Look::Continues { size, kept } => format!("OK: {size} entries, continuing the {kept} that were kept"),
            Look::RolledBack { size, kept } => format!("NOT OK: {size} entries, and there were {kept}: rolled back"),
            Look::Replaced { size, kept } => format!("NOT OK: the head of {size} does not continue that of {kept}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use omnibus_auditor::tree::{Tiles, leaf_hash};

    use super::*;

    /// A log whose entries are others from `forked` on.
    fn log(size: u64, forked: u64) -> (Tiles, Checkpoint) {
        let mut tiles = Tiles::default();
        for n in 0..size {
            let leaf = if n < forked { format!("{n}") } else { format!("another {n}") };
            tiles.append(n, leaf_hash(leaf.as_bytes()));
        }
        let root = tiles.root(size).unwrap();
        (tiles, Checkpoint { origin: "log.example/audit/acme".into(), size, root })
    }

    #[test]
    fn a_watched_log_that_was_rolled_back_or_forked_is_told() {
        let (_, kept) = log(300, 300);
        let (tiles, grown) = log(600, 600);
        let good = tiles.consistency(300, 600).unwrap();
        let bad = |look: Look, words: &str| !look.is_good() && look.words().contains(words);
        let look = held_against(&kept, &grown, &good);
        assert!(look.is_good() && look.words().starts_with("OK: 600 entries"));
        assert!(held_against(&kept, &kept, &[]).is_good());
        assert!(bad(held_against(&kept, &grown, &[]), "does not continue"), "nothing proves nothing");

        assert!(bad(held_against(&grown, &kept, &[]), "rolled back"));
        let (tiles, fork) = log(600, 299);
        let path = tiles.consistency(300, 600).unwrap();
        assert!(bad(held_against(&kept, &fork, &path), "does not continue"));
        assert!(bad(held_against(&grown, &fork, &[]), "does not continue"), "as long as it was");
    }
}
