//! What those who come back to a log have missed. When a node dies, all of its clients come to another at once: one reads
//! for all who wait.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::log::{Kept, Log, Most, Unread};

/// What was read last of a log.
#[derive(Debug, Default)]
pub(crate) struct CatchUp {
    reading: Mutex<Option<Reading>>,
}

#[derive(Debug)]
struct Reading {
    began: Instant,
    epoch: String,
    /// It has everything after this sequence, up to and with `upto`.
    after: u64,
    upto: u64,
    missed: Result<Missed, Unread>,
}

/// Entries in their order; `None` if they can't be told whole.
type Missed = Option<Arc<Vec<Kept>>>;

impl Reading {
    fn has(&self, epoch: &str, offset: u64, upto: u64) -> bool {
        matches!(self.missed, Ok(Some(_))) && self.epoch == epoch && self.after <= offset && self.upto >= upto
    }
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
        let asked = Instant::now();
        let mut reading = self.reading.lock().await;
        if !reading.as_ref().is_some_and(|read| read.has(epoch, offset, upto)) {
            // A no is for all who waited for it: they need not find it out one after the other.
            if let Some(read) = reading.as_ref().filter(|read| read.began >= asked) {
                match &read.missed {
                    Err(error) => return Err(error.clone()),
                    Ok(None) if read.epoch == epoch && read.after >= offset => return Ok(None),
                    Ok(_) => {}
                }
            }
            let before = reading.take().filter(|read| read.epoch == epoch && read.after < offset);
            let before = before.filter(|read| matches!(read.missed, Ok(Some(_)))).map(|read| read.after);
            // Far enough back for those who were there already, if there is room for that.
            for after in before.into_iter().chain([offset]) {
                let (began, upto) = (Instant::now(), now().max(upto));
                let missed = log.missed(subject, (epoch, after), upto, most).await.map(|found| found.map(Arc::new));
                let enough = !matches!(missed, Ok(None));
                *reading = Some(Reading { began, epoch: epoch.to_owned(), after, upto, missed });
                if enough {
                    break;
                }
            }
        }
        let read = reading.as_ref().map_or(Ok(None), |read| read.missed.clone())?;
        drop(reading);
        let wanted = |kept: &&Kept| kept.sequence > offset && kept.sequence <= upto;
        Ok(read.map(|all| all.iter().filter(wanted).cloned().collect()))
    }

    /// Frees what is kept for those who come at once.
    pub(crate) async fn forget(&self) {
        *self.reading.lock().await = None;
    }
}
