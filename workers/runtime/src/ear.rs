//! The connection over which messages are pulled. It is one of its own, because what is delivered can end it: the client
//! gives up a connection over headers that it can't read, and dies of some of them. See [`crate::broken`].

use tokio::sync::Mutex;

use crate::bus::{Bus, ConnectError};

/// A worker's connection for pulls, made anew when it has died.
pub(crate) struct Ear {
    now: Mutex<Hearing>,
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
        Ok(Ear { now: Mutex::new(Hearing { bus: bus.twin().await?, generation: 0 }) })
    }

    /// The connection of now.
    pub(crate) async fn now(&self) -> Hearing {
        self.now.lock().await.clone()
    }

    /// Makes another one if `hearing` is still the one of now and has died.
    pub(crate) async fn renewed(&self, hearing: &Hearing) {
        let mut now = self.now.lock().await;
        if now.generation != hearing.generation {
            return;
        }
        if !now.bus.dead().await {
            return;
        }
        tracing::error!(user = now.bus.user(), "the connection for pulls has died; making another");
        match now.bus.twin().await {
            Ok(bus) => *now = Hearing { bus, generation: now.generation + 1 },
            Err(error) => tracing::error!(%error, "no other connection could be made"),
        }
    }
}
