//! `omnibus audit head`.

use std::process::ExitCode;

use clap::Args;
use omnibus_schemas::Tenant;
use omnibus_schemas::auditor::{Head, LogHead};

use super::ask;
use crate::connect::Connection;
use crate::home::Home;
use crate::show::{self, Output};

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

impl Of {
    pub(super) async fn run(self, home: &Home, output: Output) -> anyhow::Result<ExitCode> {
        let bus = self.connection.open(home).await?;
        let head: Head = ask(&bus, &self.tenant, &LogHead {}).await?;
        match (self.key, output) {
            (true, _) => show::text(&head.key),
            (false, Output::Json) => show::json(&head),
            (false, Output::Table) => {
                show::text(&format!("key: {}\n\n{}", head.key, head.checkpoint.trim_end()));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
