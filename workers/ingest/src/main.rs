//! The HTTP door as a process of its own.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    omnibus_ingest::command::run().await
}
