//! `omnibus audit watch`: each head has to continue the one that was kept.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use omnibus_auditor::export;
use omnibus_auditor::note::Checkpoint;
use omnibus_auditor::tree::{self, Hash};
use omnibus_runtime::Bus;
use omnibus_schemas::Tenant;
use omnibus_schemas::auditor::{ConsistencyProof, Head, LogHead};
use serde::Serialize;

use super::{Key, ask, read_note};
use crate::connect::Connection;
use crate::home::Home;
use crate::show::{self, Output};

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

impl Watch {
    pub(super) async fn run(self, home: &Home, output: Output) -> anyhow::Result<ExitCode> {
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
