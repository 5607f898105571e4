//! The pages of a host. Whose host it is is read from `Host` and from nothing else; headers that a proxy or a stranger
//! may set are not even looked at.

use omnibus_runtime::{AskError, At, Receive, Reply, Visit};
use omnibus_schemas::brander::{DashboardPage, LoginPage, Page};

use super::Dressed;
use crate::Brander;

impl Receive<LoginPage> for Brander {
    async fn receive(&self, _: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        self.page_of(&visit, Page::Login)
    }
}

impl Receive<DashboardPage> for Brander {
    async fn receive(&self, _: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        self.page_of(&visit, Page::Dashboard)
    }
}

impl Brander {
    fn page_of(&self, visit: &Visit, page: Page) -> Result<Reply, AskError> {
        let host = visit.host.trim_end_matches('.');
        let done = self.shelf.page(host, page);
        let done = done.ok_or_else(|| AskError::NotFound("no brand is at home at this host".into()))?;
        // Kept by browsers, and asked about each time: a switch is seen with the next visit.
        let known = visit.headers.get("if-none-match").is_some_and(|known| known.contains(&done.tag));
        let reply = if known { Reply::status(304) } else { Reply::status(200).html(done.html.as_str()) };
        Ok(guarded(reply, &done).header("cache-control", "private, no-cache").header("etag", done.tag.as_str()))
    }
}

/// The headers of every page.
pub(super) fn guarded(reply: Reply, page: &Dressed) -> Reply {
    reply
        .header("content-security-policy", page.policy.as_str())
        .header("x-content-type-options", "nosniff")
        .header("x-frame-options", "DENY")
        .header("referrer-policy", "no-referrer")
        .header("cross-origin-opener-policy", "same-origin")
}
