//! The WebSocket door as a process of its own.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    omnibus_fanout::command::run().await
}
