//! Makes a link to a version.

use chrono::TimeDelta;
use omnibus_runtime::{Answer, Ask, AskError, clock};
use omnibus_schemas::brander::{Preview, PreviewLink};

use super::link::{Shown, Signer};
use crate::Brander;
use crate::version::Version;

impl Answer<Preview> for Brander {
    async fn answer(&self, ask: &mut Ask<'_>, query: Preview) -> Result<PreviewLink, AskError> {
        let found = Version::find(&mut *ask.db, ask.tenant, query.version).await?;
        let found = found.ok_or_else(|| AskError::NotFound("there is no such version; set a look first".into()))?;
        let expires_at = clock::now() + TimeDelta::minutes(query.minutes.into());
        let signer = Signer::shared(&mut *ask.db).await.map_err(AskError::Failed)?;
        let shown = Shown { t: ask.tenant.to_owned(), v: found.version, p: query.page, e: expires_at.timestamp() };
        let url = format!("{}/preview/{}", self.settings.base(), signer.token(&shown));
        Ok(PreviewLink { url, expires_at })
    }
}
