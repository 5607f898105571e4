//! Our account at the authority. Its key is made once and kept sealed; the account is found again by it.

use anyhow::Context;
use instant_acme::{Account, Key};
use omnibus_runtime::seal::Seal;
use rcgen::KeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use sqlx::PgPool;
use tokio::sync::OnceCell;

use crate::Settings;

/// The authority, where one is set.
pub(crate) struct Authority {
    pub(super) seal: Seal,
    directory: String,
    contact: Option<String>,
    ca_file: Option<std::path::PathBuf>,
    account: OnceCell<Account>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Authority {
    /// `None` while no directory is set.
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<Option<Self>> {
        let (Some(directory), Some(seal)) = (&settings.acme_directory_url, settings.seal()?) else {
            return Ok(None);
        };
        Ok(Some(Authority {
            seal,
            directory: directory.clone(),
            contact: settings.acme_contact.clone(),
            ca_file: settings.acme_ca_file.clone(),
            account: OnceCell::new(),
        }))
    }

    /// The account, made with the first use. The authority answers the same account to the same key, so replicas share it.
    pub(super) async fn account(&self, db: &PgPool) -> anyhow::Result<&Account> {
        self.account
            .get_or_try_init(|| async {
                let key = self.key(db).await?;
                let pair = Key::from_pkcs8_der(key.clone_key())?;
                let builder = match &self.ca_file {
                    Some(file) => Account::builder_with_root(file)?,
                    None => Account::builder()?,
                };
                let made = builder.create_from_key((pair, key.into()), self.directory.clone()).await;
                let (account, _) = made.context("the authority gives us no account")?;
                if let Some(contact) = &self.contact {
                    account.update_contacts(&[&format!("mailto:{contact}")]).await?;
                }
                Ok(account)
            })
            .await
    }

    async fn key(&self, db: &PgPool) -> anyhow::Result<PrivatePkcs8KeyDer<'static>> {
        let name = format!("acme {}", self.directory);
        let pair = KeyPair::generate()?;
        sqlx::query("insert into brander.keys (name, value) values ($1, $2) on conflict do nothing")
            .bind(&name)
            .bind(self.seal.close(&pair.serialize_der(), &name)?)
            .execute(db)
            .await?;
        let sealed: Vec<u8> =
            sqlx::query_scalar("select value from brander.keys where name = $1").bind(&name).fetch_one(db).await?;
        Ok(self.seal.open(&sealed, &name)?.into())
    }
}
