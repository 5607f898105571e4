//! Logs: JSON lines on standard error, or plain text for a person at a terminal.
//!
//! What stands in them: tenant, command id, trace id, codes, counts, durations. Never a body, a code, an address or a
//! secret; see `ops/LOGGING.md`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// How logs are written.
#[derive(Debug, Clone, clap::Args)]
pub struct LogSettings {
    /// Which logs: a level, or `target=level` pairs as in `tracing-subscriber`'s `EnvFilter`.
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,
    /// `json`, `text`, or `auto`: text at a terminal.
    #[arg(long, env = "LOG_FORMAT", default_value = "auto")]
    pub log_format: LogFormat,
}

/// See [`LogSettings::log_format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text at a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Starts logging. Later calls do nothing.
pub fn start(settings: &LogSettings) -> anyhow::Result<()> {
    // The client's own chatter repeats what `bus` says in our words.
    let filter = EnvFilter::try_new(format!("async_nats=error,sqlx=warn,{}", settings.log))?;
    let text = match settings.log_format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let started = if text {
        registry.with(fmt::layer().with_writer(std::io::stderr).with_target(false)).try_init()
    } else {
        let layer = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
        registry.with(layer.with_writer(std::io::stderr)).try_init()
    };
    // A panic's words may quote what was being read; the place is enough to find it.
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(thread = thread.name().unwrap_or_default(), place, "panicked");
    }));
    // A second start in one process (all workers in one) finds logging as the first left it.
    drop(started);
    Ok(())
}
