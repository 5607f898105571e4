//! Whether the door can take commands, and what is missing if it can't.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::stream::{self, PersistenceMode};
use omnibus_bus::{BUCKET_IDEMPOTENCY, BUCKET_KEYS};
use omnibus_runtime::{Bus, Health};
use omnibus_schemas::subject;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::door::{DoorError, Shared};
use crate::settings::Settings;
use crate::{certificates, keyring};

const BUS: &str = "ingest.bus";
const STREAMS: &str = "ingest.streams";
const DURABILITY: &str = "ingest.durability";

/// Between two looks when all is well, and when it is not.
const WELL: Duration = Duration::from_secs(10);
const ILL: Duration = Duration::from_secs(1);

/// How long the monitoring address may take, and how much it may say.
const MONITOR: Duration = Duration::from_secs(3);
const MONITOR_BYTES: u64 = 1 << 20;

/// Refuses settings that could never be fulfilled.
pub(crate) fn check(settings: &Settings) -> Result<(), DoorError> {
    let bad = |reason: &str| Err(DoorError::Setting { setting: "NATS_MONITOR_URL", reason: reason.to_owned() });
    match &settings.nats_monitor_url {
        None if settings.expect_sync_always => bad("EXPECT_SYNC_ALWAYS needs it"),
        Some(url) if host(url).is_none() => bad("must be of the form http://host:port"),
        _ => Ok(()),
    }
}

/// Nothing is well before it was looked at.
pub(crate) fn unknown(health: &Health, certificates: bool) {
    let certificates = certificates.then_some(certificates::PART);
    for part in [BUS, STREAMS, DURABILITY, keyring::PART].into_iter().chain(certificates) {
        health.ill(part, "not looked at yet");
    }
}

/// Looks again and again.
pub(crate) async fn watch(shared: &Shared, health: &Health) {
    let mut connected = shared.bus.connected();
    loop {
        let well = look(shared, health).await;
        let pause = if well { WELL } else { ILL };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = connected.changed() => if changed.is_err() { return },
            () = shared.stop.cancelled() => {
                health.ill(BUS, "the door closes");
                return;
            }
        }
    }
}

async fn look(shared: &Shared, health: &Health) -> bool {
    if !*shared.bus.connected().borrow() {
        health.ill(BUS, "no connection to NATS");
        return false;
    }
    health.well(BUS);
    let mut weak = Vec::new();
    let streams = streams(shared, &mut weak).await;
    if shared.settings.expect_sync_always {
        weak.extend(unsynced(&shared.settings).await);
    }
    let say = |part: &str, missing: Vec<String>| {
        if missing.is_empty() { health.well(part) } else { health.ill(part, missing.join("; ")) }
    };
    let well = streams.is_empty() && weak.is_empty();
    say(STREAMS, streams);
    say(DURABILITY, weak);
    well
}

/// Which streams are missing; of those that are there, which have too few copies.
async fn streams(shared: &Shared, weak: &mut Vec<String>) -> Vec<String> {
    let mut names: BTreeSet<String> =
        shared.catalogue.domains().iter().map(|domain| subject::command_stream(domain.name)).collect();
    names.extend(["EVT".to_owned(), format!("KV_{BUCKET_IDEMPOTENCY}"), format!("KV_{BUCKET_KEYS}")]);
    let mut missing = Vec::new();
    for name in names {
        match config(&shared.bus, &name).await {
            Ok(config) => {
                let (copies, expected) = (config.num_replicas, shared.settings.expect_replicas.unwrap_or(1));
                if copies < expected {
                    weak.push(format!("{name} has {copies} copies, expected {expected}"));
                }
                // Such a stream acknowledges before it writes, whatever the server's sync_interval.
                if shared.settings.expect_sync_always && config.persist_mode == Some(PersistenceMode::Async) {
                    weak.push(format!("{name} is written after it is acknowledged: its persist mode is async"));
                }
            }
            Err(why) => missing.push(format!("{name}: {why}")),
        }
    }
    missing
}

async fn config(bus: &Bus, stream: &str) -> Result<stream::Config, String> {
    let asked = tokio::time::timeout(MONITOR, bus.jetstream().get_stream(stream)).await;
    match asked {
        Ok(Ok(stream)) => Ok(stream.cached_info().config.clone()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

async fn unsynced(settings: &Settings) -> Option<String> {
    let url = settings.nats_monitor_url.as_deref()?;
    match tokio::time::timeout(MONITOR, jetstream_config(url)).await {
        Ok(Ok(config)) if config["sync_always"] == true => None,
        Ok(Ok(_)) => Some("NATS does not sync every write: set sync_interval to always".to_owned()),
        Ok(Err(why)) => Some(format!("{url}/jsz can't be read: {why}")),
        Err(_) => Some(format!("{url}/jsz does not answer")),
    }
}

/// `host:port` of `http://host:port`.
fn host(url: &str) -> Option<&str> {
    let host = url.strip_prefix("http://")?.trim_end_matches('/');
    let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'));
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    (plain && has_port).then_some(host)
}

/// The `config` of `/jsz`. One plain request to a neighbour needs no HTTP client: version 1.0 has no chunks.
async fn jetstream_config(url: &str) -> Result<Value, String> {
    let host = host(url).ok_or("must be of the form http://host:port")?;
    let read = async {
        let mut stream = TcpStream::connect(host).await?;
        stream.write_all(format!("GET /jsz HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
        let mut text = String::new();
        stream.take(MONITOR_BYTES).read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    let text = read.await.map_err(|error| error.to_string())?;
    let (_, body) = text.split_once("\r\n\r\n").ok_or("not an HTTP answer")?;
    let answer: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    Ok(answer["config"].clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitoring_address_is_plain_http_with_a_port() {
        assert_eq!(host("http://127.0.0.1:8222"), Some("127.0.0.1:8222"));
        assert_eq!(host("http://nats:8222/"), Some("nats:8222"));
        for bad in ["https://nats:8222", "nats:8222", "http://nats", "http://a:1/x\r\nX: y", "http://a b:1"] {
            assert_eq!(host(bad), None, "{bad}");
        }
    }
}
