//! `omnibus audit verify`: asks nobody.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use omnibus_auditor::export;

use super::{Key, read_note};
use crate::show::{self, Output};

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

impl Verify {
    pub(super) fn run(self, output: Output) -> anyhow::Result<ExitCode> {
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
