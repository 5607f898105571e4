//! A socket as the rest of the door sees it: a queue with a bound in bytes, and a way to close it.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::extract::ws::Utf8Bytes;
use omnibus_runtime::metrics::Metric;
use tokio::sync::Notify;

use crate::codes::{Close, SLOW};

/// Bytes that wait in all queues of the process.
static WAITING: AtomicI64 = AtomicI64::new(0);

/// Bytes that wait in all queues of the process.
pub(crate) fn waiting() -> i64 {
    WAITING.load(Ordering::Relaxed)
}

/// What is to be sent, and whether the socket is to close.
pub(crate) struct Link {
    queue: Mutex<Queue>,
    wake: Notify,
    most: usize,
}

#[derive(Default)]
struct Queue {
    texts: VecDeque<Utf8Bytes>,
    bytes: usize,
    close: Option<Close>,
}

/// What a socket has to do next.
pub(crate) enum Next {
    /// Send this.
    Texts(Vec<Utf8Bytes>),
    /// Close.
    Close(Close),
}

impl Link {
    pub(crate) fn new(most: usize) -> Self {
        Link { queue: Mutex::default(), wake: Notify::new(), most }
    }

    /// One more text. A socket that is too far behind loses its queue and is closed: it holds up nobody, and comes back
    /// for what it has missed.
    pub(crate) fn push(&self, text: Utf8Bytes) {
        let mut queue = self.queue.lock().expect("no panic happens under this lock");
        if queue.close.is_some() {
            return;
        }
        queue.bytes += text.len();
        WAITING.fetch_add(text.len() as i64, Ordering::Relaxed);
        queue.texts.push_back(text);
        if queue.bytes > self.most {
            Metric::Dropped.add(queue.texts.len() as u64, &[]);
            queue.clear();
            queue.close = Some(SLOW);
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Closes, once what waits was sent.
    pub(crate) fn close(&self, why: Close) {
        let mut queue = self.queue.lock().expect("no panic happens under this lock");
        queue.close.get_or_insert(why);
        drop(queue);
        self.wake.notify_one();
    }

    /// Whether it is to close.
    pub(crate) fn closing(&self) -> Option<Close> {
        self.queue.lock().expect("no panic happens under this lock").close
    }

    /// Waits for something to do. Texts come up to `most` bytes at a time, and before a close.
    pub(crate) async fn next(&self, most: usize) -> Next {
        loop {
            if let Some(next) = self.take(most) {
                return next;
            }
            self.wake.notified().await;
        }
    }

    /// Waits until the socket is told to close.
    pub(crate) async fn closed(&self) -> Close {
        loop {
            if let Some(close) = self.closing() {
                // Whoever waits for texts must hear of it too.
                self.wake.notify_one();
                return close;
            }
            self.wake.notified().await;
        }
    }

    fn take(&self, most: usize) -> Option<Next> {
        let mut queue = self.queue.lock().expect("no panic happens under this lock");
        let (mut texts, mut bytes) = (Vec::new(), 0);
        while let Some(text) = queue.texts.front() {
            if !texts.is_empty() && bytes + text.len() > most {
                break;
            }
            bytes += text.len();
            texts.extend(queue.texts.pop_front());
        }
        queue.bytes -= bytes;
        WAITING.fetch_sub(bytes as i64, Ordering::Relaxed);
        if queue.texts.is_empty() && queue.texts.capacity() > 16 {
            // A burst must not stay in the memory of a socket that idles.
            queue.texts = VecDeque::new();
        }
        match texts.is_empty() {
            false => Some(Next::Texts(texts)),
            true => queue.close.map(Next::Close),
        }
    }
}

impl Queue {
    fn clear(&mut self) {
        WAITING.fetch_sub(self.bytes as i64, Ordering::Relaxed);
        self.texts = VecDeque::new();
        self.bytes = 0;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.queue.get_mut().expect("no panic happens under this lock").clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_queue_over_its_bound_is_thrown_away_and_closes_its_socket() {
        let link = Link::new(10);
        link.push("12345".into());
        link.push("67890".into());
        assert_eq!(link.closing(), None);
        link.push("x".into());
        assert_eq!(link.closing(), Some(SLOW));
        link.push("y".into());
        assert!(matches!(link.next(100).await, Next::Close(SLOW)));
    }

    #[tokio::test]
    async fn what_waits_is_sent_before_a_close_and_in_order() {
        let link = Link::new(100);
        for text in ["a", "b", "c"] {
            link.push(text.into());
        }
        link.close(crate::codes::SHUTDOWN);
        let Next::Texts(texts) = link.next(2).await else { panic!("a close came first") };
        assert_eq!(texts.iter().map(|text| text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(matches!(link.next(2).await, Next::Texts(texts) if texts[0].as_str() == "c"));
        assert!(matches!(link.next(2).await, Next::Close(_)));
    }
}
