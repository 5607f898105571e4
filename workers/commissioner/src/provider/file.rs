//! Payouts as CSV files (RFC 4180), one for each, `<folder>/<tenant>/<currency>/<payout id>.csv`. A file is whole or not
//! there: it is written beside its place, synced, and moved there; and it is never overwritten.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use omnibus_runtime::{CallError, Found};

use super::{Payment, Receipt};

#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(folder: PathBuf) -> Self {
        Folder(folder)
    }

    pub(super) async fn pay(&self, payment: Payment) -> Result<Receipt, CallError> {
        let (path, reference) = self.place(&payment);
        let written = tokio::task::spawn_blocking(move || write(&path, &payment)).await;
        match written {
            Ok(Ok(())) => Ok(Receipt { reference, paid: false }),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(CallError::Unknown(error.into())),
        }
    }

    pub(super) async fn find(&self, payment: Payment) -> anyhow::Result<Found<Receipt>> {
        let (path, reference) = self.place(&payment);
        Ok(match tokio::fs::try_exists(&path).await.context("the folder of payouts can't be read")? {
            true => Found::Done(Receipt { reference, paid: false }),
            false => Found::NotDone,
        })
    }

    fn place(&self, payment: &Payment) -> (PathBuf, String) {
        // Tenant, currency and id are made of letters, digits, '-' and '_'.
        let reference = format!("{}/{}/{}.csv", payment.tenant, payment.currency, payment.payout_id);
        (self.0.join(&reference), reference)
    }
}

fn write(path: &Path, payment: &Payment) -> Result<(), CallError> {
    // Before the move into place nothing is there. After it, the file is, and may yet be lost with the machine's power.
    let folder = place(path, payment).map_err(CallError::NotDone)?;
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| CallError::Unknown(error.into()))
}

fn place<'a>(path: &'a Path, payment: &Payment) -> anyhow::Result<&'a Path> {
    let folder = path.parent().ok_or_else(|| anyhow!("a payout's file stands in a folder"))?;
    std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    let mut file = tempfile::Builder::new().prefix(".writing-").suffix(".csv").tempfile_in(folder)?;
    file.write_all(&rows(payment)?)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(folder),
        // It was there: the same payout, handed over once already.
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(folder),
        Err(error) => Err(error.error.into()),
    }
}

fn rows(payment: &Payment) -> anyhow::Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["payout_id", "partner_id", "name", "account", "amount", "currency", "program", "date"])?;
    csv.write_record([
        payment.payout_id.to_string(),
        payment.partner_id.to_string(),
        plain(&payment.name),
        payment.account.clone(),
        payment.currency.decimal(payment.amount),
        payment.currency.code().to_owned(),
        payment.program.clone(),
        payment.reserved_at.format("%Y-%m-%d").to_string(),
    ])?;
    csv.into_inner().context("a vector takes all that is written")
}

/// A text that no spreadsheet takes for a formula.
pub(crate) fn plain(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn payment(name: &str) -> Payment {
        Payment {
            tenant: "acme".into(),
            program: "main".into(),
            payout_id: Uuid::from_u128(1),
            partner_id: Uuid::from_u128(2),
            name: name.into(),
            account: "DE02120300000000202051".into(),
            amount: 123_456,
            currency: "EUR".parse().unwrap(),
            reserved_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn a_payout_is_one_file_however_often_it_is_handed_over() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().to_owned());
        assert!(matches!(folder.find(payment("Ada")).await.unwrap(), Found::NotDone));
        let receipt = folder.pay(payment("=cmd|' /C calc'!A0, \"Ada\"")).await.unwrap();
        folder.pay(payment("Somebody else")).await.unwrap();
        let text = std::fs::read_to_string(dir.path().join(&receipt.reference)).unwrap();
        assert!(
            text.contains("\"'=cmd|' /C calc'!A0, \"\"Ada\"\"\",DE02120300000000202051,1234.56,EUR,main"),
            "{text}"
        );
        assert!(matches!(folder.find(payment("Ada")).await.unwrap(), Found::Done(_)));
        assert_eq!(std::fs::read_dir(dir.path().join("acme/EUR")).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_folder_that_can_not_be_written_means_not_done() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("acme"), "a file where a folder should be").unwrap();
        let error = Folder::new(dir.path().to_owned()).pay(payment("Ada")).await.unwrap_err();
        assert!(matches!(error, CallError::NotDone(_)), "{error}");
    }
}
