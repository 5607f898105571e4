//! A partner's month as a page: no script, nothing loaded from elsewhere, light and dark by the reader's system.

use std::fmt::Write;

use omnibus_runtime::{AskError, At, Receive, Reply, Visit};
use omnibus_schemas::commissioner::{Money, StatementLine, StatementPage, StatementReport, StatementTotal};
use uuid::Uuid;

use crate::Commissioner;
use crate::ask::statement::{Month, read};
use crate::secrets::same;

/// Bookings on one page; the API pages through more.
const LINES: u16 = 500;

const STYLE: &str = include_str!("statement_page.css");

impl Receive<StatementPage> for Commissioner {
    async fn receive(&self, at: &mut At<'_>, visit: Visit) -> Result<Reply, AskError> {
        let nothing = || AskError::NotFound("there is no such statement".into());
        let param = |name: &str| visit.params.get(name).map(String::as_str).unwrap_or_default();
        let (tenant, month) = (param("tenant"), Month::parse(param("month")).ok_or_else(nothing)?);
        let partner_id: Uuid = param("partner_id").parse().map_err(|_| nothing())?;
        let key = self.statement_key(tenant, partner_id, &month).map_err(AskError::Failed)?;
        if !same(&key, param("key")) {
            return Err(nothing());
        }
        let report = read(at.db, tenant, partner_id, &month, None, LINES, visit.path).await?;
        Ok(Reply::status(200)
            .html(page(&report, &month.name()))
            .header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
            .header("referrer-policy", "no-referrer")
            .header("x-robots-tag", "noindex"))
    }
}

impl Commissioner {
    /// What proves that somebody was given the address of a statement.
    pub(crate) fn statement_key(&self, tenant: &str, partner_id: Uuid, month: &Month) -> anyhow::Result<String> {
        let key = self.secrets.derive(&["statement", tenant, &partner_id.to_string(), &month.name()])?;
        Ok(key[..40].to_owned())
    }
}

fn page(report: &StatementReport, month: &str) -> String {
    let mut html = String::with_capacity(8 * 1024);
    let (name, program) = (escaped(&report.name), escaped(&report.program));
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\
         <title>Statement {month}: {name}</title><style>{STYLE}</style></head><body><main>\
         <header><p class=\"program\">{program}</p><h1>Statement for {month}</h1><p>{name}</p></header>"
    );
    if report.totals.is_empty() {
        html.push_str("<p class=\"empty\">Nothing has been booked yet.</p>");
    }
    for total in &report.totals {
        totals(&mut html, total);
    }
    if !report.lines.is_empty() {
        lines(&mut html, &report.lines);
    }
    if report.next.is_some() {
        let _ = write!(html, "<p class=\"more\">The first {LINES} bookings are shown; the totals are of all.</p>");
    }
    html.push_str("<footer><p>Times are UTC. Amounts that are taken off are shown with a minus sign.</p></footer>");
    html.push_str("</main></body></html>");
    html
}

fn totals(html: &mut String, total: &StatementTotal) {
    let less = |money: Money| Money { amount: -money.amount, ..money };
    let currency = total.opening.currency;
    let _ = write!(html, "<section><h2>{currency}</h2><dl>");
    for (what, money) in [
        ("Owed before", total.opening),
        ("Earned", total.earned),
        ("Taken back", less(total.reversed)),
        ("Paid out", less(total.paid)),
        ("Owed now", total.closing),
    ] {
        let _ = write!(html, "<div><dt>{what}</dt><dd>{}</dd></div>", shown(money));
    }
    html.push_str("</dl></section>");
}

fn lines(html: &mut String, lines: &[StatementLine]) {
    html.push_str(
        "<h2>Bookings</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Bookings\"><table><thead><tr>\
         <th scope=\"col\">Date</th><th scope=\"col\">What</th><th scope=\"col\">Order</th>\
         <th scope=\"col\" class=\"amount\">Amount</th></tr></thead><tbody>",
    );
    for line in lines {
        let what = match line.kind.as_str() {
            "earned" => "Earned",
            "reversed" => "Taken back",
            "reserved" => "Payout",
            "failed" => "Payout failed",
            _ => "Payout came back",
        };
        let date = line.booked_at.format("%Y-%m-%d %H:%M");
        let order = escaped(line.order_id.as_deref().unwrap_or("\u{2013}"));
        let money = shown(line.money);
        let _ = write!(
            html,
            "<tr><td>{date}</td><td>{what}</td><td class=\"order\">{order}</td><td class=\"amount\">{money}</td></tr>"
        );
    }
    html.push_str("</tbody></table></div>");
}

/// With a minus sign that is as wide as a digit, and with groups of thousands.
fn shown(money: Money) -> String {
    let text = money.currency.decimal(money.amount.saturating_abs());
    let (whole, part) = text.split_once('.').map_or((text.as_str(), None), |(whole, part)| (whole, Some(part)));
    let mut grouped = String::new();
    for (n, digit) in whole.chars().enumerate() {
        if n > 0 && (whole.len() - n) % 3 == 0 {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    let sign = if money.amount < 0 { "\u{2212}" } else { "" };
    let part = part.map(|part| format!(".{part}")).unwrap_or_default();
    format!("{sign}{grouped}{part}\u{a0}{}", money.currency)
}

/// Text that is text in HTML, whoever wrote it.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut html, character| {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
        html
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_in_groups_with_their_currency() {
        let money = |amount, code: &str| shown(Money { amount, currency: code.parse().unwrap() });
        assert_eq!(money(123_456_789, "EUR"), "1\u{202f}234\u{202f}567.89\u{a0}EUR");
        assert_eq!(money(-50, "EUR"), "\u{2212}0.50\u{a0}EUR");
        assert_eq!(money(1000, "JPY"), "1\u{202f}000\u{a0}JPY");
    }

    #[test]
    fn a_name_is_never_markup() {
        assert_eq!(escaped("<script>\"&'"), "&lt;script&gt;&quot;&amp;&#39;");
    }
}
