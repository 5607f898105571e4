//! The shop's worker as a process of its own, to be killed at a failpoint.

use std::path::PathBuf;
use std::process::ExitCode;

use omnibus_tests::shop;

#[derive(Debug, clap::Args)]
struct Settings {
    /// The provider's folder.
    #[arg(long, env = "SHOP_PROVIDER")]
    provider: PathBuf,
    /// Take puts many at a time.
    #[arg(long, env = "SHOP_MANY")]
    many: bool,
}

fn main() -> ExitCode {
    omnibus_runtime::process::main_with(shop::catalogue(), |settings: Settings| {
        Ok(match settings.many {
            true => shop::worker_of_many(&settings.provider),
            false => shop::worker(&settings.provider),
        })
    })
}
