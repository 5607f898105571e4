//! Texts as files, for a first try without a provider. A file is whole or not there, and a repetition replaces it by
//! itself, so this way needs no `uncertain`.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::Context;
use omnibus_runtime::{CallError, Found, clock};
use omnibus_schemas::texter::SmsState;
use tokio::fs;
use tokio::io::AsyncWriteExt;

use super::{Fut, Provider, Receipt, Text, Word};
use crate::settings::Settings;

/// The folder, one `<tenant>-<message id>.txt` per text.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    senders: Vec<String>,
    prices: BTreeMap<String, i64>,
}

impl Folder {
    /// It is made when the first text is written.
    pub(super) fn new(settings: &Settings) -> Self {
        let sender = settings.twilio_phone_number.clone().unwrap_or_else(|| "+15005550006".to_owned());
        Folder { path: settings.sms_dir.clone(), senders: vec![sender], prices: Settings::prices(&settings.sms_prices) }
    }

    async fn write(&self, text: Text<'_>) -> Result<Receipt, CallError> {
        let written = self.put(text).await;
        written.with_context(|| format!("can't write into {}", self.path.display())).map_err(CallError::NotDone)?;
        Ok(receipt(text))
    }

    async fn put(&self, text: Text<'_>) -> io::Result<()> {
        fs::create_dir_all(&self.path).await?;
        let place = self.place(text);
        let unfinished = place.with_extension(format!("{}.part", clock::new_id()));
        let words = format!("To: {}\nFrom: {}\n\n{}\n", text.to, text.from, text.body);
        let result = write_whole(&unfinished, &place, words.as_bytes()).await;
        if result.is_err() {
            // A leftover is told apart by its name; that it can't be removed changes nothing.
            let _ = fs::remove_file(&unfinished).await;
        }
        result
    }

    /// A tenant is a token, so the name can't lead elsewhere.
    fn place(&self, text: Text<'_>) -> PathBuf {
        self.path.join(format!("{}-{}.txt", text.tenant, text.message_id))
    }
}

async fn write_whole(unfinished: &Path, place: &Path, words: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(unfinished).await?;
    file.write_all(words).await?;
    file.sync_all().await?;
    drop(file);
    fs::rename(unfinished, place).await
}

fn receipt(text: Text<'_>) -> Receipt {
    Receipt {
        provider_id: format!("{}-{}", text.tenant, text.message_id),
        status: SmsState::Accepted,
        at: clock::now(),
        price_micro: None,
    }
}

impl Provider for Folder {
    fn name(&self) -> &str {
        "folder"
    }

    fn senders(&self) -> &[String] {
        &self.senders
    }

    fn price(&self, country: &str) -> Option<i64> {
        self.prices.get(country).or_else(|| self.prices.get("*")).copied()
    }

    fn send<'a>(&'a self, text: Text<'a>) -> Fut<'a, Result<Receipt, CallError>> {
        Box::pin(self.write(text))
    }

    fn find<'a>(&'a self, text: Text<'a>) -> Fut<'a, anyhow::Result<Found<Receipt>>> {
        Box::pin(async move {
            match fs::metadata(self.place(text)).await {
                Ok(_) => Ok(Found::Done(receipt(text))),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::NotDone),
                Err(error) => Err(error.into()),
            }
        })
    }

    fn ask<'a>(&'a self, _provider_id: &'a str) -> Fut<'a, anyhow::Result<Option<Word>>> {
        Box::pin(async { Ok(None) })
    }

    fn can_be_asked(&self) -> bool {
        false
    }
}
