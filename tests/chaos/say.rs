//! Publishers as the contract wants them: who does not know whether the bus has a command sends it again under its id.

use std::time::Duration;

use async_nats::HeaderMap;
use chrono::Utc;
use omnibus_runtime::envelope::Envelope;
use omnibus_runtime::trace::TraceParent;
use omnibus_runtime::{Bus, clock};
use omnibus_schemas::body::encode;
use omnibus_schemas::{Command, Encoding, headers, subject};
use omnibus_tests::referee::{Order, Poison};
use omnibus_tests::shop::{Charge, Put};

use crate::plan::Saying;

struct Said {
    subject: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Says it until the bus has it, and a second time if it is to be.
///
/// # Errors
/// If the bus does not take it within a minute.
pub(crate) async fn say(bus: &Bus, saying: &Saying) -> anyhow::Result<()> {
    let mut said = written(saying, clock::now());
    until_taken(bus, &said).await?;
    if let Some(later) = saying.again {
        tokio::time::sleep(later).await;
        // By somebody who does not use the server's duplicate window, or after it.
        said.headers = without_message_id(&said.headers);
        until_taken(bus, &said).await?;
    }
    Ok(())
}

async fn until_taken(bus: &Bus, said: &Said) -> anyhow::Result<()> {
    let began = tokio::time::Instant::now();
    loop {
        match bus.publish(&said.subject, said.headers.clone(), said.body.clone().into()).await {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > Duration::from_secs(60) => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn written(saying: &Saying, now: chrono::DateTime<Utc>) -> Said {
    let (name, lane, body, encoding) = match &saying.order {
        Order::Put(put) => (Put::NAME, Put::LANE, encode(Encoding::MessagePack, put), Encoding::MessagePack),
        Order::Charge(charge) => {
            (Charge::NAME, Charge::LANE, encode(Encoding::MessagePack, charge), Encoding::MessagePack)
        }
        Order::Poison(Poison::Undecodable) => (Put::NAME, Put::LANE, b"{\"thing\": [".to_vec(), Encoding::Json),
        Order::Poison(Poison::Unknown) => ("juggle", Put::LANE, b"{}".to_vec(), Encoding::Json),
        Order::Poison(Poison::Invalid) => {
            let put = Put { thing: "x".repeat(41), how: String::new() };
            (Put::NAME, Put::LANE, encode(Encoding::Json, &put), Encoding::Json)
        }
    };
    let id = saying.id.to_string();
    let mut map = Envelope {
        id: &id,
        kind: &subject::ce_type("shop", name, 1),
        source: "omnibus/chaos",
        time: now,
        tenant: saying.tenant,
        actor: None,
        correlation: &id,
        causation: None,
        trace: &TraceParent::start(),
        encoding,
    }
    .headers();
    map.insert(headers::MSG_ID, id.as_str());
    Said { subject: subject::command("shop", lane, name, saying.tenant), headers: map, body }
}

fn without_message_id(given: &HeaderMap) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, values) in given.iter() {
        if name.to_string() != headers::MSG_ID {
            values.iter().for_each(|value| map.append(name.clone(), value.clone()));
        }
    }
    map
}
