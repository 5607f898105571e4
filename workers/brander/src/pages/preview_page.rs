//! A version as it would look. Made for this visit and kept nowhere: not here, not in a browser, not in between.

use omnibus_runtime::{AskError, At, Receive, Reply, Visit};
use omnibus_schemas::brander::PreviewPage;

use super::html::page;
use super::link::{NotShown, Signer};
use super::serve::guarded;
use crate::Brander;
use crate::version::Version;

impl Receive<PreviewPage> for Brander {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        let unknown = || AskError::NotFound("there is nothing to be seen by this link".into());
        let token = visit.params.get("token").map(String::as_str).unwrap_or_default();
        let signer = Signer::shared(at.db).await.map_err(AskError::Failed)?;
        let shown = match signer.read(token, at.now) {
            Ok(shown) => shown,
            Err(NotShown::Forged) => return Err(unknown()),
            Err(NotShown::Over) => {
                return Ok(Reply::status(410)
                    .text("This link has ended. Ask for a new one.")
                    .header("cache-control", "no-store"));
            }
        };
        // One tenant's draft at another tenant's host would be a page that lies about where one is.
        if self.shelf.hosts.tenant(&visit.host).is_some_and(|whose| *whose != *shown.t) {
            return Err(unknown());
        }
        let found = Version::find(at.db, &shown.t, Some(shown.v)).await?.ok_or_else(unknown)?;
        let brand = found.brand(at.db, &shown.t, 0, self.settings.base()).await?;
        let done = page(&brand, shown.p, &visit.host, Some(shown.v));
        Ok(guarded(Reply::status(200).html(done.html.as_str()), &done)
            .header("cache-control", "no-store")
            .header("x-robots-tag", "noindex, nofollow"))
    }
}
