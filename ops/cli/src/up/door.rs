//! The HTTP door in this process, and the WebSocket door at the same address.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use omnibus_fanout::{Fanout, FanoutParts};
use omnibus_ingest::{Door, DoorParts, Settings};
use omnibus_runtime::Health;
use omnibus_schemas::Catalogue;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Ended;
use super::servers::Servers;
use crate::home::{self, Home};
use crate::{parts, token};

/// The door's settings from the environment. Without WEBSOCKET_SECRET, one is made and kept.
pub(super) fn settings(listen: SocketAddr, home: &Home) -> anyhow::Result<Settings> {
    let mut settings: Settings = parts::from_environment("ingest")?;
    settings.http_listen = listen;
    if settings.websocket_secret.is_none() {
        let secret = match home::read_secret(&home.websocket_secret())? {
            Some(secret) => secret,
            None => {
                let secret = token::fresh_secret();
                home::write_private(&home.websocket_secret(), &secret)?;
                secret
            }
        };
        settings.websocket_secret = Some(secret.into());
    }
    // The door checks them too, but only once there is a bus.
    omnibus_ingest::jwt::Verifier::of(&settings)?;
    Ok(settings)
}

/// Tells of a taken port before servers are started for nothing.
pub(super) fn is_free(listen: SocketAddr) -> anyhow::Result<()> {
    match std::net::TcpListener::bind(listen) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => bail!(
            "{listen} is taken by another program; --http-listen (or HTTP_LISTEN) chooses another, and port 0 a free one"
        ),
        Err(error) => Err(error).with_context(|| format!("can't listen on {listen} (--http-listen, HTTP_LISTEN)")),
    }
}

/// Opens the door and returns its URL.
pub(super) async fn open(
    servers: &Servers,
    home: &Home,
    settings: Settings,
    health: &Health,
    stop: &CancellationToken,
    running: &mut JoinSet<Ended>,
) -> anyhow::Result<String> {
    let bus = servers.connect(home, omnibus_ingest::command::BUS_USER).await?;
    let fanout = Fanout::new(FanoutParts {
        bus: servers.connect(home, omnibus_fanout::command::BUS_USER).await?,
        catalogue: Catalogue::omnibus(),
        settings: parts::from_environment("fanout")?,
        credentials: settings.clone(),
        health: health.clone(),
        stop: stop.clone(),
    })?;
    let beside = Some(fanout.routes().merge(omnibus_fanout::demo::routes()));
    running.spawn(async move {
        fanout.run().await;
        ("the WebSocket door".to_owned(), Ok(()))
    });
    let (catalogue, health, stop) = (Catalogue::omnibus(), health.clone(), stop.clone());
    let parts = DoorParts { bus, catalogue, settings, beside, health, stop };
    let door = Door::new(parts).await?;
    let url = door.url();
    running.spawn(async move { ("the HTTP door".to_owned(), door.serve().await.map_err(Into::into)) });
    Ok(url)
}
