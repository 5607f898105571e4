//! `omnibus audit export`: a log's entries with their proofs or as a table, or how a framework's controls stand.

use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use indicatif::ProgressBar;
use omnibus_auditor::compliance::oscal;
use omnibus_auditor::export::{self, COLUMNS, Header, VERSION};
use omnibus_auditor::note::{Checkpoint, VerifierKey};
use omnibus_auditor::tree::WIDTH;
use omnibus_runtime::Bus;
use omnibus_schemas::Tenant;
use omnibus_schemas::auditor::{ComplianceReport, ConsistencyProof, ExportPage, ExportTile, Framework, Head, LogHead};
use serde::Serialize;

use super::{ask, framework, writer};
use crate::connect::Connection;
use crate::home::Home;
use crate::{listing, show};

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

impl Export {
    pub(super) async fn run(self, home: &Home) -> anyhow::Result<ExitCode> {
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
