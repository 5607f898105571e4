//! Links that show a version to whoever holds them, until they end: the tenant, the version, the page and the end, signed
//! with a key that all replicas share.

use chrono::{DateTime, Utc};
use omnibus_runtime::signed;
use omnibus_schemas::brander::Page;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

/// What a link shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shown {
    /// The tenant.
    pub(super) t: String,
    /// The version.
    pub(super) v: u32,
    /// The page.
    pub(super) p: Page,
    /// When it ends, in seconds since 1970.
    pub(super) e: i64,
}

/// Why a link shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotShown {
    /// Nobody here signed it.
    Forged,
    /// It has ended.
    Over,
}

/// Signs links and reads them.
#[derive(Clone)]
pub(super) struct Signer(signed::Signer);

impl Signer {
    /// The key that all replicas share, made by the first that needs it.
    pub(super) async fn shared(db: &mut PgConnection) -> anyhow::Result<Self> {
        let mut fresh = [0_u8; 32];
        SystemRandom::new().fill(&mut fresh).map_err(|_| anyhow::anyhow!("the machine has no randomness"))?;
        let key = sqlx::query_scalar(
            "with made as (insert into brander.keys (name, value) values ('preview', $1) on conflict do nothing returning value)
             select value from made union all select value from brander.keys where name = 'preview' limit 1",
        )
        .bind(fresh.as_slice())
        .fetch_optional(&mut *db)
        .await?;
        let key: Vec<u8> = match key {
            Some(key) => key,
            // Made by another in the same moment, after this statement began to look.
            None => sqlx::query_scalar("select value from brander.keys where name = 'preview'").fetch_one(db).await?,
        };
        Ok(Signer(signed::Signer::new(&key)))
    }

    pub(super) fn token(&self, shown: &Shown) -> String {
        self.0.write(shown)
    }

    pub(super) fn read(&self, token: &str, now: DateTime<Utc>) -> Result<Shown, NotShown> {
        let shown: Shown = self.0.read(token).ok_or(NotShown::Forged)?;
        match shown.e > now.timestamp() {
            true => Ok(shown),
            false => Err(NotShown::Over),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_shows_what_was_signed_until_it_ends_and_nothing_else() {
        let signer = Signer(signed::Signer::new(&[7; 32]));
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let shown = Shown { t: "acme".into(), v: 3, p: Page::Login, e: 1_000_060 };
        let token = signer.token(&shown);
        assert_eq!(signer.read(&token, now), Ok(shown.clone()));
        assert_eq!(signer.read(&token, now + chrono::TimeDelta::seconds(60)), Err(NotShown::Over));
        assert_eq!(Signer(signed::Signer::new(&[8; 32])).read(&token, now), Err(NotShown::Forged));
        let (body, sign) = token.split_once('.').unwrap();
        let other = signer.token(&Shown { v: 4, ..shown });
        let (other, _) = other.split_once('.').unwrap();
        for forged in
            ["", ".", body, &format!("{other}.{sign}"), &format!("{body}."), &format!("{body}.{}", &sign[1..])]
        {
            assert_eq!(signer.read(forged, now), Err(NotShown::Forged), "{forged}");
        }
    }
}
