//! The WebSocket door with a real bus, a real presence worker, and sockets of its own making.
#![expect(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod browser;
mod chromium;
mod credentials;
mod crowd;
mod gaps;
mod hostile;
mod killed;
mod limits;
mod people;
mod process;
mod recovery;
mod rooms;
mod scene;
mod speech;
mod together;
mod traced;
mod wire;
