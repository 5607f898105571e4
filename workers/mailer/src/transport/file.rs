//! Mails as files, for a first try without a mail server. A file is whole or not there, and a repetition replaces it by
//! itself, so this way needs no `uncertain`.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::Context;
use omnibus_runtime::{CallError, Found, clock};
use tokio::fs;
use tokio::io::AsyncWriteExt;

use super::{Mail, Receipt};

/// The folder, one `<email id>.eml` per mail.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// It is made when the first mail is written.
    pub fn new(path: PathBuf) -> Self {
        Folder { path }
    }

    pub(super) async fn write(&self, mail: &Mail) -> Result<Receipt, CallError> {
        let written = self.put(mail).await;
        written.with_context(|| format!("can't write into {}", self.path.display())).map_err(CallError::NotDone)?;
        Ok(Receipt::all_sent(clock::now(), mail.recipients.len()))
    }

    async fn put(&self, mail: &Mail) -> io::Result<()> {
        fs::create_dir_all(&self.path).await?;
        let place = self.place(&mail.message_id);
        let unfinished = place.with_extension(format!("{}.part", clock::new_id()));
        let result = write_whole(&unfinished, &place, mail.text.as_bytes()).await;
        if result.is_err() {
            // A leftover is told apart by its name; that it can't be removed changes nothing.
            let _ = fs::remove_file(&unfinished).await;
        }
        result
    }

    pub(super) async fn find(&self, message_id: &str, recipients: usize) -> io::Result<Found<Receipt>> {
        let place = self.place(message_id);
        let text = match fs::read(&place).await {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::NotDone),
            Err(error) => return Err(error),
        };
        if !carries(&text, message_id) {
            return Ok(Found::NotDone);
        }
        let at = fs::metadata(&place).await?.modified()?.into();
        Ok(Found::Done(Receipt::all_sent(at, recipients)))
    }

    /// Named by the left part of the Message-ID, which is the email's id. Only characters of an id are taken over.
    fn place(&self, message_id: &str) -> PathBuf {
        let id = message_id.trim_start_matches('<').split('@').next().unwrap_or_default();
        let id: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        self.path.join(format!("{id}.eml"))
    }
}

async fn write_whole(unfinished: &Path, place: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(unfinished).await?;
    file.write_all(text).await?;
    file.sync_all().await?;
    drop(file);
    fs::rename(unfinished, place).await?;
    if let Some(folder) = place.parent() {
        fs::File::open(folder).await?.sync_all().await?;
    }
    Ok(())
}

/// Does the head, the part before the first empty line, hold this Message-ID?
fn carries(text: &[u8], message_id: &str) -> bool {
    let text = String::from_utf8_lossy(text);
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    head.split("\r\n").any(|line| line.strip_prefix("Message-ID: ") == Some(message_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use omnibus_schemas::mailer::Provider;

    fn mail(text: &str) -> Mail {
        Mail {
            way: Provider::File,
            message_id: ID.into(),
            sender: "a@example.com".into(),
            recipients: vec!["b@example.com".into()],
            text: text.into(),
            bulk: false,
        }
    }

    const ID: &str = "<01979f6e-5a00-7000-8000-000000000003@example.com>";
    const TEXT: &str = "Message-ID: <01979f6e-5a00-7000-8000-000000000003@example.com>\r\n\r\nHello\r\n";

    #[tokio::test]
    async fn a_repetition_replaces_the_file_and_leaves_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("deep/mail"));
        for _ in 0..2 {
            folder.write(&mail(TEXT)).await.unwrap();
        }
        let files: Vec<_> = std::fs::read_dir(&folder.path).unwrap().map(|f| f.unwrap().file_name()).collect();
        assert_eq!(files, ["01979f6e-5a00-7000-8000-000000000003.eml"]);
        assert_eq!(std::fs::read_to_string(folder.path.join(&files[0])).unwrap(), TEXT);
    }

    #[tokio::test]
    async fn a_folder_can_tell_whether_it_has_the_mail() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().into());
        assert!(matches!(folder.find(ID, 1).await.unwrap(), Found::NotDone));
        folder.write(&mail("Message-ID: <other@example.com>\r\n\r\n")).await.unwrap();
        assert!(matches!(folder.find(ID, 1).await.unwrap(), Found::NotDone));
        folder.write(&mail(TEXT)).await.unwrap();
        assert!(matches!(folder.find(ID, 1).await.unwrap(), Found::Done(_)));
    }

    #[tokio::test]
    async fn a_folder_that_can_not_be_written_means_not_done() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Folder::new(file).write(&mail(TEXT)).await.unwrap_err();
        assert!(matches!(error, CallError::NotDone(_)), "{error}");
    }

    #[test]
    fn a_name_can_not_lead_out_of_the_folder() {
        let folder = Folder::new("/mail".into());
        let place = folder.place("<../../etc/passwd@x>");
        assert_eq!(place, Path::new("/mail/etcpasswd.eml"));
    }

    #[test]
    fn neither_addresses_nor_text_are_printed() {
        let printed = format!("{:?}", mail(TEXT));
        assert!(!printed.contains("b@example.com") && !printed.contains("Hello"), "{printed}");
    }
}
