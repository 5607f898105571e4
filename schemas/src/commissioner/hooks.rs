//! Plain HTTP: partners' links, shops' webhooks, and statements for people to read.

use super::DOMAIN;
use crate::contract::Http;
use crate::hook::Hook;

/// A partner's link.
pub struct FollowLink;

impl Hook for FollowLink {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "follow_link";
    const HTTP: Http = Http::get("/r/{link}");
    const HEADERS: &'static [&'static str] = &["cookie", "referer", "sec-gpc", "sec-purpose", "purpose"];
    const MAX_BODY: usize = 1024;
    const SUMMARY: &'static str = "A partner's link: counts the click and leads to the program's site. With consent \
         (the cookie `consent=1`, or `?consent=1` from one of the program's own sites, and no `Sec-GPC: 1`) with \
         `via=<link>` and `click=<id>` added to the address, and a cookie. Public.";
}

/// Orders as a shop reports them.
pub struct OrderWebhook;

impl Hook for OrderWebhook {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "order_webhook";
    const HTTP: Http = Http::post("/hooks/partners/{tenant}/{program}/orders");
    const HEADERS: &'static [&'static str] = &["x-omnibus-signature"];
    const SUMMARY: &'static str = "A paid order, as `POST /api/v1/partners/orders` takes it; the program is the address's. \
         Proved by `X-Omnibus-Signature: t=<seconds>,v1=<hex HMAC-SHA256 of \"<t>.<body>\">` with the program's secret, \
         at most five minutes old. The same body again is the same order.";
}

/// Refunds as a shop reports them.
pub struct RefundWebhook;

impl Hook for RefundWebhook {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "refund_webhook";
    const HTTP: Http = Http::post("/hooks/partners/{tenant}/{program}/refunds");
    const HEADERS: &'static [&'static str] = &["x-omnibus-signature"];
    const SUMMARY: &'static str = "A refund, as `POST /api/v1/partners/refunds` takes it; the program is the address's. \
         Signed as the webhook of orders is. The same body again is the same refund.";
}

/// A statement as a page.
pub struct StatementPage;

impl Hook for StatementPage {
    const DOMAIN: &'static str = DOMAIN;
    const NAME: &'static str = "statement_page";
    const HTTP: Http = Http::get("/p/statements/{tenant}/{partner_id}/{month}/{key}");
    const MAX_BODY: usize = 1024;
    const SUMMARY: &'static str = "A partner's month as a page. Proved by the key in the address, which `GET \
         /api/v1/partners/{partner_id}/statements/{year}/{month}` gives.";
}
