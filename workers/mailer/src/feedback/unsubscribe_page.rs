//! The two ends of an unsubscribe link. GET shows a page, because scanners follow links; POST unsubscribes, without a
//! cookie and without a redirect, because mail clients follow none. RFC 8058.

use omnibus_runtime::{AskError, At, Receive, Reply, Visit, clock};
use omnibus_schemas::mailer::{OneClickUnsubscribe, Unsubscribe, UnsubscribePage};

use crate::Mailer;
use crate::links::Bearer;

impl Mailer {
    async fn bearer(&self, at: &mut At<'_>, visit: &Visit) -> Result<Bearer, AskError> {
        let token = visit.params.get("token").map(String::as_str).unwrap_or_default();
        let bearer = self.links.read(at.db, token).await?;
        bearer.ok_or_else(|| AskError::NotFound("this link is not one of ours".into()))
    }
}

impl Receive<UnsubscribePage> for Mailer {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        self.bearer(at, &visit).await?;
        let form = "<p>Do you want no more of these mails?</p>\
                    <form method=\"post\"><input type=\"hidden\" name=\"List-Unsubscribe\" value=\"One-Click\">\
                    <button>Unsubscribe</button></form>";
        Ok(page("Unsubscribe", form))
    }
}

impl Receive<OneClickUnsubscribe> for Mailer {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        let bearer = self.bearer(at, &visit).await?;
        let (email_id, recipient) = (bearer.email_id, bearer.recipient);
        // A click is a command of its own, for whoever has come back since the last one. The handler tells repetitions.
        let id = clock::new_id();
        let done = page("Unsubscribed", "<p>You will get no more of these mails.</p>");
        Ok(done.then(&bearer.tenant, id, &Unsubscribe { email_id, recipient }))
    }
}

/// Needs nothing from anywhere, and lets nobody frame it.
fn page(title: &str, body: &str) -> Reply {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><meta name=\"robots\" content=\"noindex\"><title>{title}</title>\
         <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}}\
         button{{font:inherit;padding:.6rem 1.2rem}}</style></head><body><h1>{title}</h1>{body}</body></html>"
    );
    Reply::status(200).html(html).header("cache-control", "no-store").header("referrer-policy", "no-referrer").header(
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
    )
}
