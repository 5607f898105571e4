//! What the presence worker can be told. `presence --help` is the reference.

use anyhow::ensure;

/// Settings of the presence worker.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "presence")]
pub struct Settings {
    /// Seconds after which an unread message that names somebody, or was written to him alone, is told to the mailer;
    /// 0 for never.
    #[arg(long, env = "UNREAD_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(..=30 * 24 * 3600))]
    pub unread_seconds: u32,
    /// Where people see a room, for those mails: `https://chat.example.com/rooms/{room}`.
    #[arg(long, env = "CHAT_URL")]
    pub chat_url: Option<String>,
}

impl Settings {
    /// The defaults. The environment is not read.
    pub fn defaults() -> Self {
        Settings { unread_seconds: 300, chat_url: None }
    }

    pub(crate) fn checked(self) -> anyhow::Result<Self> {
        if let Some(url) = &self.chat_url {
            ensure!(
                url.starts_with("https://") || url.starts_with("http://"),
                "CHAT_URL: must begin with https://, such as https://chat.example.com/rooms/{{room}}"
            );
        }
        Ok(self)
    }
}
