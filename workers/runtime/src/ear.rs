//! The connection over which messages are pulled. It is one of its own, because what is delivered can end it: the client
//! gives up a connection over headers that it can't read, and dies of some of them. See [`crate::broken`].

use std::time::Duration;

use tokio::sync::Mutex;

use crate::bus::{Bus, ConnectError};

/// How long another connection may take. Whoever is refused one comes again.
const PATIENCE: Duration = Duration::from_secs(5);

/// A worker's connection for pulls, made anew when it has died.
pub(crate) struct Ear {
    /// Never held for longer than it takes to look: whoever asks for the connection hears of no end of the worker.
    now: Mutex<Hearing>,
    /// Held by whoever makes another one.
    making: Mutex<()>,
}

/// The connection, and how many were before it.
#[derive(Clone)]
pub(crate) struct Hearing {
    pub(crate) bus: Bus,
    generation: u64,
}

impl Ear {
    /// Beside `bus`, as the same user.
    pub(crate) async fn beside(bus: &Bus) -> Result<Self, ConnectError> {
        let first = Hearing { bus: bus.twin().await?, generation: 0 };
        Ok(Ear { now: Mutex::new(first), making: Mutex::default() })
    }

    /// The connection of now.
    pub(crate) async fn now(&self) -> Hearing {
        self.now.lock().await.clone()
    }

    /// Makes another one if `hearing` is still the one of now and has died. Returns at once if somebody is about it.
    pub(crate) async fn renewed(&self, hearing: &Hearing) {
        let Ok(_making) = self.making.try_lock() else { return };
        if self.now().await.generation != hearing.generation || !hearing.bus.dead().await {
            return;
        }
        tracing::error!(user = hearing.bus.user(), "the connection for pulls has died; making another");
        match tokio::time::timeout(PATIENCE, hearing.bus.twin()).await {
            Ok(Ok(bus)) => *self.now.lock().await = Hearing { bus, generation: hearing.generation + 1 },
            Ok(Err(error)) => tracing::error!(%error, "no other connection could be made"),
            Err(_) => tracing::error!("no other connection could be made in time"),
        }
    }
}
