//! A partner's link: the click is stored on the bus, then the visitor is sent on. Only to the program's sites, whatever
//! the link says, and recognised later only if they agreed to it.

use omnibus_runtime::{AskError, At, Receive, Reply, Visit, clock};
use omnibus_schemas::commissioner::{FollowLink, RecordClick};
use reqwest::Url;
use sqlx::Row;

use crate::Commissioner;
use crate::destination::allowed;
use crate::rules::Program;

/// The cookie of a click: `<tenant>.<click id>`.
const COOKIE: &str = "omnibus_click";

impl Receive<FollowLink> for Commissioner {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        let nowhere = || AskError::NotFound("this link leads nowhere".into());
        let link = visit.params.get("link").map(|link| link.to_lowercase()).unwrap_or_default();
        // The one look-up without a tenant: a link's code is unique among all of them, and says whose it is.
        let row = sqlx::query(
            "select l.tenant, l.program, l.destination, p.status = 'approved' as earns
             from commissioner.links l
             join commissioner.partners p on p.tenant = l.tenant and p.partner_id = l.partner_id
             where l.link = $1",
        )
        .bind(&link)
        .fetch_optional(&mut *at.db)
        .await?
        .ok_or_else(nowhere)?;
        let (tenant, program): (String, String) = (row.try_get("tenant")?, row.try_get("program")?);
        let rules = Program::find(at.db, &tenant, &program).await?.ok_or_else(nowhere)?.rules;
        let destination: String = row.try_get("destination")?;
        // Judged by the sites of today: one that was given up must not be led to.
        let home = || allowed(&format!("https://{}/", rules.sites.first()?), &rules.sites);
        let mut to = allowed(&destination, &rules.sites).or_else(home).ok_or_else(nowhere)?;
        let header = |name: &str| visit.headers.get(name).map(String::as_str);
        let previewed =
            ["sec-purpose", "purpose"].iter().any(|name| header(name).is_some_and(|h| h.contains("prefetch")));
        if previewed || !row.try_get::<bool, _>("earns")? {
            return Ok(Reply::redirect(to));
        }
        let consent = consents(&visit, &rules.sites);
        let click_id = clock::new_id();
        if consent {
            to.query_pairs_mut().append_pair("via", &link).append_pair("click", &click_id.to_string());
        }
        let referrer = header("referer").and_then(|address| Some(address.parse::<Url>().ok()?.host_str()?.to_owned()));
        let click = RecordClick {
            link,
            consent,
            referrer: referrer.filter(|host| host.len() <= 253),
            clicked_at: Some(at.now),
        };
        let mut reply = Reply::redirect(to).header("cache-control", "no-store");
        if consent {
            let age = u64::from(rules.window_days) * 24 * 60 * 60;
            let cookie = format!("{COOKIE}={tenant}.{click_id}; Max-Age={age}; Path=/; Secure; HttpOnly; SameSite=Lax");
            reply = reply.header("set-cookie", cookie);
        }
        Ok(reply.then(&tenant, click_id, &click))
    }
}

/// Said by a cookie of the site's, or in the link if one of the program's own sites led here: those ask their visitors.
/// Whoever else spreads the link could say it for them. Not if the browser takes it back
/// (<https://w3c.github.io/gpc/>).
fn consents(visit: &Visit, sites: &[String]) -> bool {
    let header = |name: &str| visit.headers.get(name).map(String::as_str).unwrap_or_default();
    let by_cookie = header("cookie").split(';').any(|cookie| cookie.trim() == "consent=1");
    let by_link = visit.query.split('&').any(|pair| pair == "consent=1");
    (by_cookie || (by_link && allowed(header("referer"), sites).is_some())) && header("sec-gpc") != "1"
}
