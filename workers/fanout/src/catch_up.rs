//! What those who come back to a log have missed. When a node dies, all of its clients come to another at once: one reads
//! for all who wait.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::log::{Kept, Log, Most, Unread};

/// What was read last of a log.
#[derive(Debug, Default)]
pub(crate) struct CatchUp {
    read: Mutex<Read>,
}

#[derive(Debug, Default)]
struct Read {
    whole: Option<Whole>,
    no: Option<No>,
}

/// Every entry after one sequence, up to and with another. What is stored never changes, so this stays true.
#[derive(Debug)]
struct Whole {
    epoch: String,
    after: u64,
    upto: u64,
    entries: Arc<Vec<Kept>>,
}

impl Whole {
    /// Nothing is known here of an offset beyond the end: the log may never have been so long.
    fn has(&self, epoch: &str, offset: u64, upto: u64) -> bool {
        self.epoch == epoch && self.after <= offset && offset.max(upto) <= self.upto
    }
}

/// The log could not be read, or not told whole to who has seen it up to `offset`.
#[derive(Debug)]
struct No {
    began: Instant,
    epoch: String,
    offset: u64,
    failed: Option<Unread>,
}

impl CatchUp {
    /// What a client that has seen a log up to `offset` has missed, up to `upto`; `None` if that can't be said whole.
    /// `now` tells up to where the log was heard by now: others may want to know that far.
    pub(crate) async fn missed(
        &self,
        (log, subject): (&Log, &str),
        (epoch, offset): (&str, u64),
        (upto, now): (u64, impl Fn() -> u64),
        most: Most,
    ) -> Result<Option<Vec<Kept>>, Unread> {
        // Has the client seen what this node has not heard of yet, or what there never was? That the log alone can say,
        // and for nobody else.
        if offset > now().max(upto) {
            return log.missed(subject, (epoch, offset), upto, most).await;
        }
        let asked = Instant::now();
        let mut read = self.read.lock().await;
        if !read.whole.as_ref().is_some_and(|whole| whole.has(epoch, offset, upto)) {
            // A no is for all who waited for it: they need not find it out one after the other.
            if let Some(no) = read.no.as_ref().filter(|no| no.began >= asked) {
                match &no.failed {
                    Some(error) => return Err(error.clone()),
                    None if no.epoch == epoch && offset <= no.offset => return Ok(None),
                    None => {}
                }
            }
            // Far enough back for those who were there already, if there is room for that.
            let before = read.whole.as_ref().filter(|whole| whole.epoch == epoch && whole.after < offset);
            let before = before.map(|whole| whole.after);
            for after in before.into_iter().chain([offset]) {
                let (began, upto) = (Instant::now(), now().max(upto));
                let failed = match log.missed(subject, (epoch, after), upto, most).await {
                    Ok(Some(entries)) => {
                        let entries = Arc::new(entries);
                        read.whole = Some(Whole { epoch: epoch.to_owned(), after, upto, entries });
                        break;
                    }
                    Ok(None) => None,
                    Err(error) => Some(error),
                };
                read.no = Some(No { began, epoch: epoch.to_owned(), offset: after, failed: failed.clone() });
                if let Some(error) = failed {
                    return Err(error);
                }
            }
        }
        let Some(whole) = read.whole.as_ref().filter(|whole| whole.has(epoch, offset, upto)) else { return Ok(None) };
        let entries = whole.entries.clone();
        drop(read);
        let wanted = |kept: &&Kept| kept.sequence > offset && kept.sequence <= upto;
        Ok(Some(entries.iter().filter(wanted).cloned().collect()))
    }

    /// Frees what is kept for those who come at once, unless somebody is at it: whoever calls this has live entries to
    /// hand on, and does not wait for those who read.
    pub(crate) fn forget(&self) {
        if let Ok(mut read) = self.read.try_lock() {
            *read = Read::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_answers_for_its_own_stretch_of_its_own_log_alone() {
        let whole = Whole { epoch: "e".to_owned(), after: 10, upto: 20, entries: Arc::default() };
        assert!(whole.has("e", 10, 20) && whole.has("e", 15, 18) && whole.has("e", 20, 20));
        for (what, epoch, offset, upto) in [
            ("of another log", "f", 10, 20),
            ("that begins before", "e", 9, 20),
            ("that ends later", "e", 10, 21),
            ("of which nobody has heard", "e", 21, 20),
        ] {
            assert!(!whole.has(epoch, offset, upto), "a stretch {what}");
        }
    }
}
