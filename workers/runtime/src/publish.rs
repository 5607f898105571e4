//! Getting what commands caused onto the bus: dead letters, follow-ups and schedules first, one by one; then the
//! events, as one atomic batch where that is the quicker way, so that whoever sees an outcome finds its consequences under way.

use std::sync::Arc;
use std::time::Duration;

use async_nats::header::{NATS_BATCH_COMMIT, NATS_BATCH_ID, NATS_BATCH_SEQUENCE};
use async_nats::jetstream::context::{self, PublishAckFuture};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{publish::PublishAck, response::Response};
use async_nats::{HeaderMap, HeaderName};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use futures_util::future::{Either, select};
use omnibus_schemas::{Encoding, headers, subject};
use tokio::time::Instant;
use uuid::Uuid;

use crate::bus::{Bus, PATIENCE, PublishError, server_error};
use crate::clock;
use crate::envelope::Envelope;
use crate::events::Outgoing;
use crate::failpoint;
use crate::gather::{ATOMIC_LIMIT, Gather};
use crate::inbox::{Key, Outbox};
use crate::pace::{Pace, Way};
use crate::trace::TraceParent;

/// A message of a row. Its headers are written when it goes out: several times, if it must.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    domain: &'static str,
    key: Key,
    outbox: Arc<Outbox>,
    n: usize,
}

impl Due {
    fn message(&self) -> &Outgoing {
        &self.outbox.list[self.n]
    }

    fn is_event(&self) -> bool {
        self.message().at.is_none() && self.message().subject.starts_with("evt.")
    }

    /// Would it be published there?
    fn goes_to(&self, subject: &str) -> bool {
        match self.message().at {
            Some(_) => subject == subject::scheduled(&caused_id(self.key.id, self.n, &self.message().subject)),
            None => subject == self.message().subject,
        }
    }

    fn ready(&self) -> Ready {
        one(self.domain, &self.key, &self.outbox, self.n, self.message())
    }
}

/// A message with its final subject and headers.
#[derive(Debug, Clone)]
struct Ready {
    subject: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Ready {
    fn is_command(&self) -> bool {
        self.subject.starts_with("cmd.")
    }
}

/// Messages in one pipeline: the client knows only so many that are not acknowledged yet, and waits for room without end.
const AT_ONCE: usize = 1000;
/// An atomic batch that was not stored by then was lost on its way.
const ATOMIC_PATIENCE: Duration = Duration::from_secs(15);
/// So long after a lost connection has been made anew, acknowledgements may still come.
const GRACE: Duration = Duration::from_secs(1);
/// The longest pause between tries on a full stream: with the doubling, it is tried for about two seconds.
const FULL_PAUSE: Duration = Duration::from_secs(2);

/// The messages of a row from the `from`-th on, each with the identity that its place in the row gives.
pub(crate) fn due(
    domain: &'static str,
    key: &Key,
    outbox: &Arc<Outbox>,
    from: usize,
) -> impl Iterator<Item = Due> + use<> {
    let (key, outbox) = (key.clone(), outbox.clone());
    (from..outbox.list.len()).map(move |n| Due { domain, key: key.clone(), outbox: outbox.clone(), n })
}

/// `<command id>/<n>`; a follow-up command needs a UUID, derived from the same ([`crate::Cx::follow_up_id`] knows it before).
pub(crate) fn caused_id(command: Uuid, n: usize, subject: &str) -> String {
    match subject.starts_with("cmd.") {
        true => Uuid::new_v5(&command, n.to_string().as_bytes()).to_string(),
        false => format!("{command}/{n}"),
    }
}

fn one(domain: &str, key: &Key, outbox: &Outbox, n: usize, message: &Outgoing) -> Ready {
    let id = caused_id(key.id, n, &message.subject);
    // What is to come at a time is of that time: its handler's clock must not stand where it was planned.
    let time = message.at.map_or(outbox.time, |at| outbox.time.max(at.saturating_mul(1000)));
    let trace = TraceParent::parse(&outbox.trace).unwrap_or_else(TraceParent::start).child();
    let mut map = Envelope {
        id: &id,
        kind: &message.kind,
        source: &format!("omnibus/{domain}"),
        time: DateTime::from_timestamp_micros(time).unwrap_or(DateTime::UNIX_EPOCH),
        tenant: &key.tenant,
        actor: outbox.actor.as_deref(),
        correlation: &outbox.correlation,
        causation: Some(&outbox.causation),
        trace: &trace,
        encoding: if message.msgpack { Encoding::MessagePack } else { Encoding::Json },
    }
    .headers();
    if let Some(about) = &message.about {
        map.insert(headers::SUBJECT, about.as_str());
    }
    if let Some(outcome) = &message.outcome {
        map.insert(HeaderName::from_static(headers::OUTCOME), outcome.as_str());
    }
    // Ids are chosen by callers; the tenant in front keeps one tenant's from shadowing another's.
    map.insert(headers::MSG_ID, format!("{}:{id}", key.tenant));
    for (name, value) in &message.extra {
        map.insert(name.as_str(), value.as_str());
    }
    let mut subject = message.subject.clone();
    if let Some(at) = message.at.and_then(DateTime::from_timestamp_millis) {
        map.insert(
            async_nats::header::NATS_SCHEDULE,
            format!("@at {}", at.to_rfc3339_opts(SecondsFormat::Millis, true)).as_str(),
        );
        map.insert(async_nats::header::NATS_SCHEDULE_TARGET, subject::due(&message.subject).as_str());
        subject = subject::scheduled(&id);
    }
    Ready { subject, headers: map, body: message.body.clone().into() }
}

/// Publishes everything and awaits every PubAck. What passes is tried again, with growing pauses, for `patience`.
pub(crate) async fn publish_all(
    bus: &Bus,
    pace: &Pace,
    gather: &Gather<Due>,
    messages: Vec<Due>,
    patience: Duration,
) -> Result<(), PublishError> {
    let (events, others): (Vec<_>, Vec<_>) = messages.into_iter().partition(Due::is_event);
    let until = Instant::now() + patience;
    singly(bus, others.iter().collect(), until).await?;
    failpoint::reached("between_publishes").await;
    let mut left = &events[..];
    while !left.is_empty() {
        let (chunk, later) = left.split_at(pace.first(left.len().min(ATOMIC_LIMIT)));
        left = later;
        let mut way = match chunk.len() {
            1 => Way::SINGLY,
            several => pace.way(several),
        };
        let _leave = pace.leave(chunk.len(), &mut way).await;
        let (began, atomic, measured) = (Instant::now(), way.atomic, !way.put_off);
        if atomic {
            match gather.send(chunk.to_vec(), move |all: Vec<Due>| async move { atomically(bus, &all).await }).await {
                Ok(took) => {
                    pace.took(chunk.len(), true, took);
                    continue;
                }
                Err(PublishError::Refused(refusal)) => return Err(refusal.into()),
                // One id that is known already refuses the whole batch; other refusals may be of the batch as such.
                Err(_) => {}
            }
        }
        let under_way = pace.singly(chunk.len());
        for wave in waves(chunk) {
            singly(bus, wave, until).await?;
        }
        // What a refused batch and its repetition took counts for the batch.
        if measured {
            pace.took(chunk.len(), atomic, if atomic { began.elapsed() } else { under_way.share() });
        }
    }
    Ok(())
}

/// First the first events of all commands, then their second ones: a command's next event is sent once the one before is
/// stored, for `EVT` keeps their order, also when one of them is not taken at the first try.
fn waves(events: &[Due]) -> Vec<Vec<&Due>> {
    let mut waves: Vec<Vec<&Due>> = vec![];
    let (mut before, mut place): (Option<&Due>, usize) = (None, 0);
    for due in events {
        place = if before.is_some_and(|before| before.key == due.key) { place + 1 } else { 0 };
        if waves.len() == place {
            waves.push(vec![]);
        }
        waves[place].push(due);
        before = Some(due);
    }
    waves
}

async fn singly(bus: &Bus, due: Vec<&Due>, until: Instant) -> Result<(), PublishError> {
    for due in due.chunks(AT_ONCE) {
        some_singly(bus, due, until).await?;
    }
    Ok(())
}

async fn some_singly(bus: &Bus, due: &[&Due], until: Instant) -> Result<(), PublishError> {
    // The headers are not kept: most messages are taken at the first try.
    let ours = |subject: &str| due.iter().any(|due| due.goes_to(subject));
    let results = bus.guard_where(ours, pipelined(bus, due.iter().map(|due| due.ready()))).await?;
    if results.iter().all(|result| result.as_ref().is_ok_and(|ack| !ack.duplicate)) {
        return Ok(());
    }
    let left = due.iter().zip(&results).filter(|(_, result)| !result.as_ref().is_ok_and(|ack| !ack.duplicate));
    again(bus, left.map(|(due, _)| due.ready()).collect(), until).await
}

/// For those that were not taken at once, or were taken for repetitions.
async fn again(bus: &Bus, mut left: Vec<Ready>, until: Instant) -> Result<(), PublishError> {
    let mut pause = Duration::from_millis(50);
    loop {
        if left.is_empty() {
            return Ok(());
        }
        let ours = |subject: &str| left.iter().any(|message| message.subject == subject);
        let results = bus.guard_where(ours, pipelined(bus, left.iter().cloned())).await?;
        let mut failed = None;
        let tried = std::mem::take(&mut left).into_iter().zip(results);
        for (mut message, result) in tried {
            match result {
                // The server drops by id alone, whoever wrote it. A follow-up goes into a stream where tenants write, and
                // one of them may have taken its id: it is stored once more, without. The inbox tells tenants apart.
                Ok(ack) if ack.duplicate && message.is_command() && message.headers.get(headers::MSG_ID).is_some() => {
                    if !stored_as(bus, &ack, &message).await {
                        message.headers = without_message_id(&message.headers);
                        left.push(message);
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    failed = Some(error);
                    left.push(message);
                }
            }
        }
        match failed {
            None if left.is_empty() => return Ok(()),
            None => {}
            // A full stream gets room from its trimmer or not at all: no need to stand in the way for long.
            Some(error)
                if error.passes()
                    && Instant::now() + pause < until
                    && (!matches!(error, PublishError::Full) || pause < FULL_PAUSE) =>
            {
                tokio::time::sleep(pause.mul_f64(0.5 + clock::chance() / 2.0)).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            Some(error) => return Err(error),
        }
    }
}

/// Is what the server took for the same the same? Storing it again each time would fill a stream that is nearly full.
async fn stored_as(bus: &Bus, ack: &PublishAck, message: &Ready) -> bool {
    let Ok(stream) = bus.jetstream().get_stream_no_info(&ack.stream).await else { return false };
    stream.get_raw_message(ack.sequence).await.is_ok_and(|stored| {
        stored.subject.as_str() == message.subject
            && stored.headers.get(headers::ID) == message.headers.get(headers::ID)
    })
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

async fn pipelined(bus: &Bus, messages: impl Iterator<Item = Ready>) -> Vec<Result<PublishAck, PublishError>> {
    let in_vain = in_vain(bus);
    let (mut acks, mut away): (Vec<Result<PublishAckFuture, PublishError>>, _) = (Vec::new(), None);
    for message in messages {
        if let Some(error) = &away {
            acks.push(Err(PublishError::clone(error)));
            continue;
        }
        let publish = PublishMessage::build().payload(message.body).headers(message.headers);
        let sent = bus.jetstream().send_publish(message.subject, publish).await.map_err(|error| (&error).into());
        // The client takes no more until it has a connection; each further try would take as long to say so.
        away = sent.as_ref().err().filter(|error| matches!(error, PublishError::Away(_))).cloned();
        acks.push(sent);
    }
    answers(acks, in_vain).await
}

/// Ends when what was not acknowledged by then will hardly be: its connection has gone, and another has had time to bring
/// answers. The client tells nobody that they are lost.
fn in_vain(bus: &Bus) -> impl Future<Output = ()> + Send + use<> {
    let (bus, mut connected, before) = (bus.clone(), bus.connected(), bus.losses());
    async move {
        while bus.losses() == before || !*connected.borrow_and_update() {
            if connected.changed().await.is_err() {
                return;
            }
        }
        tokio::time::sleep(GRACE).await;
    }
}

/// Each waits for as long as the client does, until one is late: then the others have as long together. What a connection takes
/// with it is lost for all of them, and a thousand patiences are hours.
async fn answers<A>(
    acks: Vec<Result<A, PublishError>>,
    in_vain: impl Future<Output = ()> + Send,
) -> Vec<Result<PublishAck, PublishError>>
where
    A: IntoFuture<Output = Result<PublishAck, context::PublishError>, IntoFuture: Unpin>,
{
    let (mut in_vain, mut until) = (std::pin::pin!(in_vain), None);
    let mut results = Vec::with_capacity(acks.len());
    for ack in acks {
        let answer = match ack {
            Ok(ack) => match until {
                Some(until) => tokio::time::timeout_at(until, ack).await.ok(),
                None => match select(ack.into_future(), in_vain.as_mut()).await {
                    Either::Left((answer, _)) => Some(answer),
                    Either::Right(_) => None,
                },
            },
            Err(error) => {
                results.push(Err(error));
                continue;
            }
        };
        let late = |error: &context::PublishError| error.kind() == context::PublishErrorKind::TimedOut;
        until = until.or_else(|| match &answer {
            None => Some(Instant::now()),
            Some(Err(error)) if late(error) => Some(Instant::now() + PATIENCE),
            Some(_) => None,
        });
        results.push(match answer {
            Some(answer) => answer.map_err(|error| (&error).into()),
            None => Err(PublishError::Away("no acknowledgement came".to_owned())),
        });
    }
    results
}

/// All or none. The server stores the batch when it has seen the commit; `sync_interval: always` then syncs once.
async fn atomically(bus: &Bus, due: &[Due]) -> Result<(), PublishError> {
    let batch = clock::new_id().to_string();
    let (last, rest) = due.split_last().expect("called with two messages or more");
    let numbered = |due: &Due, n: usize| {
        let mut message = due.ready();
        message.headers.insert(NATS_BATCH_ID, batch.as_str());
        message.headers.insert(NATS_BATCH_SEQUENCE, n.to_string());
        message
    };
    let away = |error: &dyn std::fmt::Display| PublishError::Away(error.to_string());
    let (client, in_vain) = (bus.client(), in_vain(bus));
    let work = async {
        for (n, due) in rest.iter().enumerate() {
            let message = numbered(due, n + 1);
            client
                .publish_with_headers(message.subject, message.headers, message.body)
                .await
                .map_err(|error| away(&error))?;
        }
        let mut message = numbered(last, due.len());
        message.headers.insert(NATS_BATCH_COMMIT, "1");
        let answer = tokio::select! {
            answer = client.request_with_headers(message.subject, message.headers, message.body) => answer,
            () = in_vain => return Err(away(&"no acknowledgement came")),
        };
        let answer = answer.map_err(|error| away(&error))?;
        match serde_json::from_slice::<Response<PublishAck>>(&answer.payload) {
            Ok(Response::Ok(_)) => Ok(()),
            Ok(Response::Err { error }) => Err(server_error(&error)),
            Err(error) => Err(PublishError::Other(error.to_string())),
        }
    };
    let work = tokio::time::timeout(ATOMIC_PATIENCE, work);
    let done = bus.guard_where(|subject| due.iter().any(|due| due.goes_to(subject)), work).await?;
    done.unwrap_or_else(|_| Err(away(&"it takes nothing")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commands_next_event_waits_for_the_one_before_and_other_commands_do_not() {
        let of = |n: u128, events| {
            let list = vec![Outgoing::default(); events];
            let outbox = Arc::new(Outbox { list, ..Outbox::default() });
            due("shop", &Key { tenant: "acme".into(), id: Uuid::from_u128(n) }, &outbox, 0).collect::<Vec<_>>()
        };
        let all = [of(1, 2), of(2, 1), of(3, 3)].concat();
        let waves: Vec<Vec<_>> = waves(&all)
            .into_iter()
            .map(|wave| wave.iter().map(|due| (due.key.id.as_u128(), due.n)).collect())
            .collect();
        assert_eq!(waves, [vec![(1, 0), (2, 0), (3, 0)], vec![(1, 1), (3, 1)], vec![(3, 2)]]);
    }

    #[tokio::test(start_paused = true)]
    async fn acknowledgements_that_got_lost_are_waited_for_once_and_not_once_each() {
        use futures_util::FutureExt;
        use futures_util::future::{pending, ready};
        // As the client does, from when it is asked.
        let late = || async {
            tokio::time::sleep(PATIENCE).await;
            Err(context::PublishErrorKind::TimedOut.into())
        };
        let lost = || Ok(late().boxed());
        let came = serde_json::from_str::<PublishAck>(r#"{"stream":"EVT","seq":7}"#).unwrap();
        let came = || Ok(ready(Ok(came.clone())).boxed());
        let acks = || vec![came(), lost(), lost(), came(), lost()];
        let began = Instant::now();
        let told = answers(acks(), pending()).await;
        assert_eq!(began.elapsed(), 2 * PATIENCE, "the first, and the others together");
        assert_eq!(told.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true, false]);
        assert!(told.iter().all(|told| told.as_ref().err().is_none_or(PublishError::passes)));
        let told = answers(acks(), tokio::time::sleep(GRACE)).await;
        assert_eq!(told.iter().filter(|told| told.is_ok()).count(), 2);
        assert_eq!(began.elapsed(), 2 * PATIENCE + GRACE, "sooner, if it is in vain");
    }
}
