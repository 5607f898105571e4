//! One socket: reads commands, writes what waits, keeps the deadlines.
//!
//! One task a socket, and commands one after the other, also those of one frame: a client that floods waits for itself, and
//! what a command has changed counts before the next one begins. While one is being carried out, what waits for the client
//! is still written. Whatever the socket waits for, it ends when its credential does, or the node.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use omnibus_runtime::clock;
use omnibus_runtime::metrics::Metric;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::codes::{
    Close, EXPIRED, INVALID_TOKEN, MALFORMED, NO_PONG, NORMAL, NOT_TEXT, SERVER_ERROR, SHUTDOWN, STALE, TOO_BIG,
};
use crate::door::Shared;
use crate::link::{Link, Next};
use crate::protocol::ping;
use crate::session::Session;

/// The most bytes that are written as one message.
const BATCH: usize = 32 * 1024;
/// How long a close may take to be written.
const GOODBYE: Duration = Duration::from_secs(3);
/// After a change, so that several are told at once; and again if it can't be told yet.
const SOON: Duration = Duration::from_millis(100);

/// Sockets that are authenticated, for the gauge.
pub(crate) fn open_now(change: i64) -> f64 {
    static OPEN: AtomicI64 = AtomicI64::new(0);
    (OPEN.fetch_add(change, Ordering::Relaxed) + change) as f64
}

/// A command that is being carried out. It takes the session along and brings it back.
type Working = Pin<Box<dyn Future<Output = (Box<Session>, Result<(), Close>)> + Send>>;

/// A frame's commands, of which the first ones were carried out.
#[derive(Default)]
struct Frame {
    text: Utf8Bytes,
    at: usize,
}

impl Frame {
    fn next(&mut self) -> Option<String> {
        while let Some(rest) = self.text.get(self.at..).filter(|rest| !rest.is_empty()) {
            let line = rest.split('\n').next().unwrap_or(rest).to_owned();
            self.at += line.len() + 1;
            if !line.trim().is_empty() {
                return Some(line);
            }
        }
        None
    }
}

/// When what is due. All in one timer.
struct Deadlines {
    authenticate: Option<Instant>,
    ping: Instant,
    pong: Option<Instant>,
    tell: Option<Instant>,
    expire: Option<Instant>,
}

impl Deadlines {
    fn next(&self) -> Instant {
        let all = [self.authenticate, Some(self.ping), self.pong, self.tell, self.expire];
        all.into_iter().flatten().min().expect("there is always a next ping")
    }
}

/// Serves a socket until it ends.
pub(crate) async fn run(shared: Arc<Shared>, socket: WebSocket, ticket: Option<String>) {
    let link = Arc::new(Link::new(shared.settings.websocket_queue_bytes));
    let (mut to, mut from) = socket.split();
    let why = serve(&shared, &link, &mut to, &mut from, ticket).await;
    if let Some(why) = why {
        Metric::SocketsClosed.count(&[("code", &why.code.to_string())]);
        goodbye(&mut to, &mut from, why).await;
    }
}

/// Writes the close, and waits for the other side: a connection that is dropped with bytes unread takes the close with it.
async fn goodbye(to: &mut SplitSink<WebSocket, Message>, from: &mut SplitStream<WebSocket>, why: Close) {
    let closing = async {
        if to.send(Message::Close(Some(why.frame()))).await.is_ok() {
            while let Some(Ok(_)) = from.next().await {}
        }
    };
    let _ = tokio::time::timeout(GOODBYE, closing).await;
}

/// Returns with what the socket is to be closed; `None` if the other side is gone.
async fn serve(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    to: &mut SplitSink<WebSocket, Message>,
    from: &mut SplitStream<WebSocket>,
    ticket: Option<String>,
) -> Option<Close> {
    let mut session = Some(Box::new(Session::new(shared.clone(), link.clone(), ticket)));
    let mut changes = session.as_ref()?.changes();
    let mut key = None;
    let mut working: Option<Working> = None;
    let mut frame = Frame::default();
    let begun = Instant::now();
    let mut due = Deadlines {
        authenticate: Some(begun + shared.settings.auth()),
        ping: begun + shared.settings.ping(),
        pong: None,
        tell: None,
        expire: None,
    };
    let timer = tokio::time::sleep_until(due.next());
    tokio::pin!(timer);
    loop {
        if working.is_none()
            && let Some(line) = frame.next()
        {
            let mut taken = session.take()?;
            working = Some(Box::pin(async move {
                let done = taken.line(&line).await;
                (taken, done)
            }));
        }
        timer.as_mut().reset(due.next());
        tokio::select! {
            next = link.next(BATCH) => match next {
                Next::Close(why) => return Some(why),
                Next::Texts(texts) => {
                    let ends = ends(shared, &mut changes, key, due.expire);
                    if let Err(why) = write(shared, link, to, texts, ends).await {
                        return why;
                    }
                }
            },
            message = from.next(), if working.is_none() => {
                let text = match message? {
                    Ok(Message::Text(text)) => text,
                    Ok(Message::Binary(_)) => return Some(NOT_TEXT),
                    Ok(Message::Close(_)) => return Some(NORMAL),
                    Ok(Message::Ping(_) | Message::Pong(_)) => continue,
                    Err(error) => return of_error(&error),
                };
                due.pong = None;
                frame = Frame { text, at: 0 };
            }
            (back, done) = async { working.as_mut().expect("it is asked for only if there is one").await }, if working.is_some() => {
                working = None;
                if let Err(why) = done {
                    // What was answered before stands; what comes after it is not carried out.
                    frame = Frame::default();
                    link.close(why);
                }
                let before = key;
                learn(&back, &mut due, &mut key);
                session = Some(back);
                // While another key was watched, or none, nobody heard of what became of this one.
                if key != before && key.is_some_and(|key| shared.ring.has(key) == Some(false)) {
                    return Some(INVALID_TOKEN);
                }
            }
            () = Session::revoked(&mut changes, shared, key) => return Some(INVALID_TOKEN),
            () = shared.stop.cancelled() => return Some(SHUTDOWN),
            () = timer.as_mut() => {
                let now = Instant::now();
                if due.authenticate.is_some_and(|at| at <= now) {
                    // Who has sent his credential in time is not to blame that it takes long to be looked at.
                    return Some(if working.is_some() { SERVER_ERROR } else { STALE });
                }
                if due.pong.is_some_and(|at| at <= now) {
                    if working.is_none() {
                        return Some(NO_PONG);
                    }
                    // Nothing is read meanwhile: the answer may be there.
                    due.pong = Some(now + shared.settings.ping());
                }
                if due.expire.is_some_and(|at| at <= now) {
                    return Some(EXPIRED);
                }
                if due.ping <= now {
                    due.ping = now + shared.settings.ping();
                    if due.authenticate.is_none() {
                        link.push(ping());
                        due.pong.get_or_insert(now + shared.settings.ping());
                    }
                }
                if due.tell.is_some_and(|at| at <= now) {
                    match session.as_mut() {
                        Some(session) => {
                            let told = session.tell();
                            due.tell = Some(now + if told { shared.settings.refresh() } else { SOON });
                        }
                        None => due.tell = Some(now + SOON),
                    }
                }
            }
        }
    }
}

/// Waits for what ends a socket whatever it is at, and says with what it is to be closed then.
async fn ends(shared: &Shared, changes: &mut watch::Receiver<()>, key: Option<Uuid>, expire: Option<Instant>) -> Close {
    let expired = async {
        match expire {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = Session::revoked(changes, shared, key) => INVALID_TOKEN,
        () = shared.stop.cancelled() => SHUTDOWN,
        () = expired => EXPIRED,
    }
}

/// What a command has changed about the deadlines.
fn learn(session: &Session, due: &mut Deadlines, key: &mut Option<Uuid>) {
    let Some(who) = &session.who else { return };
    *key = who.caller.key();
    let now = Instant::now();
    if due.authenticate.take().is_some() {
        due.tell = Some(now + session.shared.settings.refresh());
    }
    if session.untold {
        due.tell = due.tell.map(|at| at.min(now + SOON));
    }
    due.expire = session.until().map(|until| {
        let left = (until - clock::now()).to_std().unwrap_or_default();
        // Far ahead is never; the sum must not overflow.
        now + left.min(Duration::from_secs(10 * 365 * 24 * 3600))
    });
}

/// Writes what has waited. A client that takes nothing in holds this up until its queue is full, it is to end anyhow, or too
/// much time is gone. `Err` has with what the socket is to be closed at once; nothing if the other side is gone.
async fn write(
    shared: &Shared,
    link: &Link,
    to: &mut SplitSink<WebSocket, Message>,
    mut texts: Vec<Utf8Bytes>,
    ends: impl Future<Output = Close>,
) -> Result<(), Option<Close>> {
    let message = match texts.len() {
        1 => texts.pop().unwrap_or_default(),
        // One frame for all of them: the protocol divides by lines.
        _ => {
            let mut all = String::with_capacity(texts.iter().map(|text| text.len() + 1).sum());
            for text in &texts {
                if !all.is_empty() {
                    all.push('\n');
                }
                all.push_str(text);
            }
            all.into()
        }
    };
    let patience = 2 * shared.settings.ping();
    let sending = to.send(Message::Text(message));
    tokio::pin!(sending);
    let why = tokio::select! {
        // Most is written at once, and then nothing else is to be looked at.
        biased;
        sent = &mut sending => return sent.map_err(|_| None),
        _ = link.closed() => None,
        why = ends => Some(why),
        () = tokio::time::sleep(patience) => return Err(Some(NO_PONG)),
    };
    // The close can follow only a whole message.
    match (tokio::time::timeout(GOODBYE, sending).await, why) {
        (Ok(Err(_)), _) => Err(None),
        (_, Some(why)) => Err(Some(why)),
        // What still waits is sent before that close.
        (_, None) => Ok(()),
    }
}

/// What a message that can't be taken closes a socket with.
fn of_error(error: &axum::Error) -> Option<Close> {
    let words = error.to_string();
    if words.contains("too long") || words.contains("too big") {
        return Some(TOO_BIG);
    }
    let transport = words.contains("reset") || words.contains("closed") || words.contains("IO error");
    (!transport).then_some(MALFORMED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_command_by_command() {
        let mut frame = Frame { text: "{\"id\":1}\n\n  \r\n{}\n\u{e4}".into(), at: 0 };
        let lines: Vec<_> = std::iter::from_fn(|| frame.next()).collect();
        assert_eq!(lines, ["{\"id\":1}", "{}", "\u{e4}"]);
        assert_eq!(frame.next(), None);
        assert_eq!(Frame::default().next(), None);
    }
}
