//! One message to everybody who listens: the WebSocket door beside a bare broadcast in Rust, `ws` and Socket.IO.
//!
//! Each server is a process of its own; clients and publisher are this one, the same for all, on the same cores. What is
//! counted is deliveries: a message that 1,000 clients have taken in is 1,000. The door is fed through its log, so each of its
//! messages is stored on the bus before anybody gets it; the others pass on what their publisher's socket says.

mod bare;
mod server;
mod swarm;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use omnibus_runtime::local::Postgres;
use omnibus_runtime::testing::{Scenery, Stage};
use omnibus_schemas::Catalogue;
use tokio_util::task::AbortOnDropHandle;

use crate::figures::{Series, Table, percentile, wanted};
use server::{Kind, Server};
use swarm::Swarm;

pub(crate) use server::role;

/// Messages a second while times are taken.
const PACE: u64 = 20;
/// What the door closes a socket with that is too far behind.
const SLOW: u16 = 3008;

struct Contestant {
    kind: Kind,
    rate: Series,
    cpu: Series,
    p50: Series,
    p99: Series,
    fault: Option<String>,
}

async fn stage(postgres: &Postgres) -> Stage {
    let scenery = Scenery { deaf: true, ..Scenery::default() };
    let limits = omnibus_bus::Settings { rooms_max_entries: 100_000, ..omnibus_bus::Settings::default() };
    Stage::set(Catalogue::omnibus(), limits, postgres, scenery).await
}

/// Deliveries a second and the time of each, for several crowds.
pub(crate) async fn run(
    postgres: &Postgres,
    rounds: usize,
    seconds: u64,
    only: Option<&str>,
) -> anyhow::Result<Vec<Table>> {
    let mut tables = Vec::new();
    for (crowd, burst) in [(1_000, 500), (5_000, 100)] {
        let kinds = Kind::ALL.into_iter().filter(|kind| wanted(kind.name(), only));
        let mut contestants: Vec<_> = kinds
            .map(|kind| Contestant {
                kind,
                rate: Series::default(),
                cpu: Series::default(),
                p50: Series::default(),
                p99: Series::default(),
                fault: None,
            })
            .collect();
        for round in 0..=rounds {
            for one in contestants.iter_mut().filter(|one| one.fault.is_none()) {
                match once(postgres, one.kind, crowd, burst, seconds).await {
                    Ok(measured) if round > 0 => {
                        one.rate.push(measured.rate);
                        one.cpu.push(measured.cpu);
                        one.p50.push(measured.p50);
                        one.p99.push(measured.p99);
                    }
                    Ok(_) => {}
                    Err(error) => one.fault = Some(format!("{error:#}")),
                }
                progress(one.kind.name(), crowd, one.fault.as_deref());
            }
        }
        tables.push(table(crowd, burst, rounds, &contestants));
    }
    Ok(tables)
}

fn table(crowd: usize, burst: usize, rounds: usize, contestants: &[Contestant]) -> Table {
    let bare = contestants.iter().find(|one| one.kind == Kind::Bare).map_or(f64::NAN, |bare| bare.rate.median());
    let row = |one: &Contestant| match &one.fault {
        Some(fault) => vec![one.kind.name().to_owned(), format!("did not run: {fault}")],
        None => vec![
            one.kind.name().to_owned(),
            one.rate.to_string(),
            format!("{:.2}", one.rate.median() / bare),
            one.cpu.to_string(),
            one.p50.to_string(),
            one.p99.to_string(),
        ],
    };
    Table {
        title: format!(
            "{crowd} listen to one channel: {burst} messages of 256 bytes at once, then {PACE} a second; median \
             (least..most) of {rounds} rounds"
        ),
        columns: vec!["", "deliveries/s", "of bare", "processor µs/delivery", "p50 ms", "p99 ms"],
        rows: contestants.iter().map(row).collect(),
    }
}

#[expect(clippy::print_stderr, reason = "whoever waits wants to see that something happens")]
fn progress(name: &str, crowd: usize, fault: Option<&str>) {
    eprintln!("{name}, {crowd}: {}", fault.unwrap_or("measured"));
}

struct Measured {
    rate: f64,
    cpu: f64,
    p50: f64,
    p99: f64,
}

async fn once(postgres: &Postgres, kind: Kind, crowd: usize, burst: usize, seconds: u64) -> anyhow::Result<Measured> {
    let server = Server::start(postgres, kind, crowd).await?;
    let mut publisher = server.publisher().await?;
    let mut swarm = Swarm::gather(&server, crowd).await?;
    // The first message is on everybody's way before anything is measured.
    publisher.publish(1).await?;
    swarm.heard(crowd, Duration::from_secs(60)).await?;
    swarm.times();
    let (began, cpu) = (Instant::now(), server.cpu());
    publisher.publish(burst).await?;
    swarm.heard(crowd * burst, Duration::from_secs(120)).await?;
    let took = began.elapsed().as_secs_f64();
    let cpu = (server.cpu() - cpu) * 1e6 / (crowd * burst) as f64;
    swarm.times();
    let mut tick = tokio::time::interval(Duration::from_millis(1000 / PACE));
    let messages = usize::try_from(seconds * PACE)?;
    for _ in 0..messages {
        tick.tick().await;
        publisher.publish(1).await?;
    }
    swarm.heard(crowd * messages, Duration::from_secs(60)).await?;
    let mut times = swarm.times();
    ensure!(times.len() == crowd * messages, "{} times of {}", times.len(), crowd * messages);
    let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    Ok(Measured { rate: (crowd * burst) as f64 / took, cpu, p50, p99 })
}

/// From `publish` on a socket, through the bus, the presence worker, PostgreSQL and the log, to everybody in the room.
pub(crate) async fn chat(postgres: &Postgres, seconds: u64) -> anyhow::Result<Table> {
    let crowd = 1_000;
    let server = Server::start(postgres, Kind::Omnibus, crowd).await?;
    let mut swarm = Swarm::gather(&server, crowd).await?;
    let mut speaker = server.speaker().await?;
    speaker.say().await?;
    swarm.heard(crowd, Duration::from_secs(60)).await?;
    swarm.times();
    let mut tick = tokio::time::interval(Duration::from_millis(1000 / PACE));
    let messages = usize::try_from(seconds * PACE)?;
    for _ in 0..messages {
        tick.tick().await;
        speaker.say().await?;
    }
    swarm.heard(crowd * messages, Duration::from_secs(60)).await?;
    let mut times = swarm.times();
    let figures = [0.5, 0.99, 1.0].map(|share| format!("{:.2}", percentile(&mut times, share)));
    Ok(Table {
        title: format!("A chat message from `publish` to each of {crowd} in its room, {PACE} a second for {seconds} s"),
        columns: vec!["p50 ms", "p99 ms", "most ms"],
        rows: vec![figures.to_vec()],
    })
}

/// What one more in the room does, who is sent a lot besides; `None` if there is nobody.
struct Burdened {
    name: &'static str,
    stalls: Option<bool>,
    p50: Series,
    p99: Series,
}

/// What a client that takes nothing in costs the others: how long messages take to them while it is there, beside how
/// long they take without it, and while one reads as much as that one is sent. By turns, on the same server.
pub(crate) async fn stalled(postgres: &Postgres, rounds: usize, seconds: u64) -> anyhow::Result<Table> {
    let crowd = 1_000;
    let server = Server::start(postgres, Kind::Omnibus, crowd).await?;
    let mut publisher = server.publisher().await?;
    let mut swarm = Swarm::gather(&server, crowd).await?;
    publisher.publish(1).await?;
    swarm.heard(crowd, Duration::from_secs(60)).await?;
    swarm.times();
    let of = |name, stalls| Burdened { name, stalls, p50: Series::default(), p99: Series::default() };
    let mut cases =
        [of("there is nobody more", None), of("it reads", Some(false)), of("it takes nothing in", Some(true))];
    // The last of the members, who is not in the swarm.
    let user = format!("u{crowd}");
    let messages = usize::try_from(seconds * PACE)?;
    for round in 0..=rounds {
        for one in &mut cases {
            let closed = server.closed_with(SLOW).await?;
            let more = match one.stalls {
                None => (None, None),
                Some(true) => (None, Some(server.burdened(&user).await?)),
                Some(false) => {
                    let taking = tokio::spawn(swarm::take_in(server.burdened(&user).await?));
                    (Some(AbortOnDropHandle::new(taking)), None)
                }
            };
            let mut tick = tokio::time::interval(Duration::from_millis(1000 / PACE));
            for _ in 0..messages {
                tick.tick().await;
                publisher.publish(1).await?;
                publisher.burden(&user).await?;
            }
            swarm.heard(crowd * messages, Duration::from_secs(60)).await?;
            let mut times = swarm.times();
            ensure!(times.len() == crowd * messages, "{} times of {}", times.len(), crowd * messages);
            // A socket that takes nothing in does not take its close in either: that is given a few seconds.
            let wanted = closed + u64::from(one.stalls == Some(true));
            let began = Instant::now();
            while server.closed_with(SLOW).await? < wanted {
                ensure!(
                    began.elapsed() < Duration::from_secs(15),
                    "it was not closed: --seconds {seconds} is too short"
                );
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            ensure!(server.closed_with(SLOW).await? == wanted, "another one was closed too");
            drop(more);
            if round > 0 {
                one.p50.push(percentile(&mut times, 0.5));
                one.p99.push(percentile(&mut times, 0.99));
            }
        }
    }
    Ok(Table {
        title: format!(
            "{crowd} in a room, {PACE} messages of 256 bytes a second, and one more who is sent 5 MB a second besides; \
             times of the {crowd}, median (least..most) of {rounds} rounds"
        ),
        columns: vec!["", "p50 ms", "p99 ms"],
        rows: cases.iter().map(|one| vec![one.name.to_owned(), one.p50.to_string(), one.p99.to_string()]).collect(),
    })
}

/// What the door's process holds for sockets that idle.
pub(crate) async fn memory(postgres: &Postgres, sockets: usize) -> anyhow::Result<Table> {
    let server = Server::start(postgres, Kind::Omnibus, sockets).await?;
    let empty = server.resident()?;
    let swarm = Swarm::gather(&server, sockets).await?;
    // Long enough for what the handshakes took to be given back, and for a ping.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let full = server.resident()?;
    ensure!(swarm.alive() == sockets, "{} of {sockets} are still there", swarm.alive());
    let each = (full - empty) * 1024.0 / sockets as f64;
    let row = vec![sockets.to_string(), format!("{empty:.1}"), format!("{full:.1}"), format!("{each:.1}")];
    Ok(Table {
        title: "Sockets that idle, each connected, authenticated and in one room".to_owned(),
        columns: vec!["sockets", "MiB without", "MiB with", "KiB each"],
        rows: vec![row],
    })
}

/// An address that is free now.
fn free() -> anyhow::Result<std::net::SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr().context("a bound listener has an address")
}
