//! `omnibus audit report`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use omnibus_schemas::Tenant;
use omnibus_schemas::auditor::{ComplianceReport, ComplianceReportPage, Framework};

use super::{ask, framework, writer};
use crate::connect::Connection;
use crate::home::Home;
use crate::show::Output;

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

impl Report {
    pub(super) async fn run(self, home: &Home, output: Output) -> anyhow::Result<ExitCode> {
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
