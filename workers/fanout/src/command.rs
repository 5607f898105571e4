//! `fanout`, the program.

use std::net::SocketAddr;

use anyhow::Context;
use clap::Parser;
use omnibus_ingest::Settings as Credentials;
use omnibus_runtime::bus::{Bus, BusSettings};
use omnibus_runtime::telemetry::{self, LogSettings};
use omnibus_runtime::{Health, metrics, process};
use omnibus_schemas::Catalogue;
use tokio_util::sync::CancellationToken;

use crate::{Fanout, FanoutParts, Settings};

/// The bus user of this door.
pub const BUS_USER: &str = "fanout";

/// The WebSocket door of Omnibus: what happens, to the people it is for.
#[derive(Debug, Parser)]
#[command(name = "fanout", version)]
pub struct Arguments {
    /// Address and port to listen on.
    #[arg(long, env = "FANOUT_LISTEN", default_value = "127.0.0.1:8081")]
    pub fanout_listen: SocketAddr,
    /// The door's own.
    #[command(flatten)]
    pub door: Settings,
    /// Secret that signs tokens and tickets (HS256), the HTTP door's.
    #[arg(long, env = "WEBSOCKET_SECRET", hide_env_values = true)]
    pub websocket_secret: Option<String>,
    /// File with a JSON Web Key Set; tokens signed with its RS256 or ES256 keys are taken.
    #[arg(long, env = "JWT_JWKS_FILE")]
    pub jwt_jwks_file: Option<std::path::PathBuf>,
    /// Audience that a token must name.
    #[arg(long, env = "JWT_AUDIENCE")]
    pub jwt_audience: Option<String>,
    /// Issuer that a token must name.
    #[arg(long, env = "JWT_ISSUER")]
    pub jwt_issuer: Option<String>,
    /// Where the bus is.
    #[command(flatten)]
    pub bus: BusSettings,
    /// How logs are written.
    #[command(flatten)]
    pub log: LogSettings,
}

/// Runs until SIGTERM or Ctrl-C.
pub async fn run() -> anyhow::Result<()> {
    // No file is fine; a broken one is not.
    match dotenvy::dotenv() {
        Err(error) if !error.not_found() => return Err(error).context("can't read .env"),
        _ => {}
    }
    let arguments = Arguments::parse();
    telemetry::start(&arguments.log)?;
    metrics::recorder();
    let stop = CancellationToken::new();
    process::stop_on_signals(stop.clone());
    let Some(bus) = stop.run_until_cancelled(Bus::connect(&arguments.bus, BUS_USER)).await else { return Ok(()) };
    let (bus, health) = (bus?, Health::default());
    process::watch_bus(&bus, &health);
    let credentials = Credentials {
        websocket_secret: arguments.websocket_secret.map(Into::into),
        jwt_jwks_file: arguments.jwt_jwks_file,
        jwt_audience: arguments.jwt_audience,
        jwt_issuer: arguments.jwt_issuer,
        ..Credentials::on_a_free_port()
    };
    // A handshake is part of what a socket has to do before it is somebody's.
    let patience = arguments.door.auth();
    let fanout = Fanout::new(FanoutParts {
        bus,
        catalogue: Catalogue::omnibus(),
        settings: arguments.door,
        credentials,
        health: health.clone(),
        stop: stop.clone(),
    })?;
    let address = arguments.fanout_listen;
    let listener = omnibus_ingest::listen(address).with_context(|| format!("can't listen on {address}"))?;
    let address = listener.local_addr()?;
    let app = fanout.routes().merge(health.routes());
    let handle = axum_server::Handle::new();
    tokio::spawn({
        let (handle, stop) = (handle.clone(), stop.clone());
        async move {
            stop.cancelled().await;
            handle.graceful_shutdown(Some(std::time::Duration::from_secs(5)));
        }
    });
    let mut server = axum_server::from_tcp(listener)?.handle(handle);
    server.http_builder().http1().header_read_timeout(patience);
    tracing::info!(%address, "the WebSocket door is open");
    let (served, ()) =
        tokio::join!(server.first_request_timeout(patience).serve(app.into_make_service()), fanout.run());
    served.context("the server failed")
}
