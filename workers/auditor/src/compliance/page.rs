//! The report as a page: no script, nothing loaded, made to be printed. Light alone, because it is a document.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use omnibus_schemas::auditor::{
    CheckReport, ControlReport, EntryLink, EvidenceDownload, EvidenceItem, ReportDocument, ReportException, Standing,
    Standings,
};

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(crate) fn page(report: &ReportDocument) -> String {
    let mut html = String::with_capacity(128 * 1024);
    let (title, source) = (escaped(&report.title), escaped(&report.source));
    let made = time(report.made_at);
    let watched = match report.watched_at {
        Some(at) => format!("The log was last read to its end on {}.", time(at)),
        None => "The log was not read yet.".to_owned(),
    };
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light\">\
         <title>{title}: controls report</title><style>{STYLE}</style></head><body><main>\
         <header><h1>{title}</h1><p>How the controls stood on {made}, under a head of {} entries. {watched}</p>\
         <p class=\"soft\">This report shows what was watched and what was filed. It is no opinion of an auditor. Requirements \
         are told in our own words; their own stand at {source}.</p></header>",
        report.head.size
    );
    counts(&mut html, &report.requirement_counts, report.control_counts);
    law(&mut html, report);
    exceptions(&mut html, &report.exceptions);
    requirements(&mut html, report);
    html.push_str("<section class=\"controls\"><h2>Controls</h2>");
    for one in &report.controls {
        control(&mut html, one);
    }
    html.push_str("</section>");
    let _ = write!(
        html,
        "<section class=\"head\"><h2>Tree head</h2><p>Whoever has a later head of this log can prove that it continues this one. Entries are \
         proved by <code>GET /api/v1/audit/entries/{{index}}/proof</code>.</p><pre>{}</pre><p class=\"soft\">Public key</p>\
         <pre>{}</pre></section></main></body></html>",
        escaped(report.head.checkpoint.trim_end()),
        escaped(&report.head.key)
    );
    html
}

fn counts(html: &mut String, requirements: &Standings, controls: Standings) {
    let all = [
        ("met", "Met", requirements.met, controls.met),
        ("stale", "Stale", requirements.stale, controls.stale),
        ("missing", "Not shown", requirements.missing, controls.missing),
        ("failing", "Failing", requirements.failing, controls.failing),
    ];
    html.push_str("<ul class=\"counts\">");
    for (class, what, requirements, controls) in all {
        let _ = write!(
            html,
            "<li class=\"{class}\">{what}<b>{requirements}</b><span class=\"soft\">requirements, {controls} \
             {}</span></li>",
            if controls == 1 { "control" } else { "controls" }
        );
    }
    html.push_str("</ul><div class=\"bar\" aria-hidden=\"true\">");
    for (class, _, requirements, _) in all {
        let _ = write!(html, "<i class=\"{class}\" style=\"flex:{requirements}\"></i>");
    }
    html.push_str("</div>");
}

fn law(html: &mut String, report: &ReportDocument) {
    let log = &report.log;
    let _ = write!(
        html,
        "<h2>Every command accounted for</h2><p class=\"law\">{} accepted = {} succeeded + {} rejected + {} dead-lettered + \
         {} held + {} open</p><p class=\"soft\">Of {} entries read; {} outcomes without an acceptance on record, {} outcomes \
         too many. Commands to the auditor itself are not counted.</p>",
        log.accepted,
        log.succeeded,
        log.rejected,
        log.dead_lettered,
        log.held,
        log.open,
        log.entries,
        log.unaccounted,
        log.doubled
    );
}

fn exceptions(html: &mut String, exceptions: &[ReportException]) {
    html.push_str("<h2>Exceptions</h2>");
    if exceptions.is_empty() {
        html.push_str("<p>None: every control is met.</p>");
        return;
    }
    html.push_str(
        "<table><thead><tr><th scope=\"col\" class=\"id\">Control</th><th scope=\"col\" class=\"is\">Stands</th>\
         <th scope=\"col\">Why</th><th scope=\"col\">Decided</th></tr></thead><tbody>",
    );
    for exception in exceptions {
        let decided = match &exception.accepted {
            Some(risk) => {
                let (by, until, note) = (escaped(&risk.by), day(risk.until), escaped(&risk.note));
                format!("Accepted by {by} until {until}: {note}")
            }
            None => "Nothing was decided".to_owned(),
        };
        let _ = write!(
            html,
            "<tr><td class=\"id\">{}</td><td class=\"is\">{}</td><td>{}</td><td>{decided}</td></tr>",
            escaped(exception.control.as_str()),
            mark(exception.status),
            escaped(&exception.detail)
        );
    }
    html.push_str("</tbody></table>");
}

fn requirements(html: &mut String, report: &ReportDocument) {
    html.push_str(
        "<h2>Requirements</h2><table><thead><tr><th scope=\"col\" class=\"id\">Number</th><th scope=\"col\">What it asks\
         </th><th scope=\"col\">Controls</th><th scope=\"col\" class=\"is\">Stands</th></tr></thead><tbody>",
    );
    for requirement in &report.requirements {
        let controls: Vec<_> = requirement.controls.iter().map(|control| control.as_str()).collect();
        let _ = write!(
            html,
            "<tr><td class=\"id\">{}</td><td><b>{}.</b> {}</td><td class=\"soft\">{}</td><td class=\"is\">{}</td></tr>",
            escaped(&requirement.requirement),
            escaped(&requirement.title),
            escaped(&requirement.text),
            escaped(&controls.join(", ")),
            mark(requirement.status)
        );
    }
    html.push_str("</tbody></table>");
}

fn control(html: &mut String, control: &ControlReport) {
    let _ = write!(
        html,
        "<article id=\"{0}\"><header><h3>{1} <span class=\"soft\">{0}</span></h3>{2}</header><dl><dt>Omnibus</dt>\
         <dd>{3}</dd><dt>The operator</dt><dd>{4}</dd><dt>Checks</dt><dd><ul>",
        escaped(control.control.as_str()),
        escaped(&control.title),
        mark(control.status),
        escaped(&control.omnibus),
        escaped(&control.operator)
    );
    for one in &control.checks {
        check(html, one);
    }
    html.push_str("</ul></dd>");
    if !control.evidence.is_empty() {
        html.push_str("<dt>Evidence</dt><dd><ul>");
        for item in &control.evidence {
            evidence(html, item);
        }
        html.push_str("</ul></dd>");
    }
    html.push_str("</dl></article>");
}

fn check(html: &mut String, check: &CheckReport) {
    let link = check.evidence.as_ref().map(entry).unwrap_or_default();
    let _ = write!(html, "<li>{} {}: {}{link}</li>", mark(check.status), escaped(&check.title), escaped(&check.detail));
}

fn entry(link: &EntryLink) -> String {
    format!(" (entry {} of {})", link.index, if link.log == "_" { "the house's log" } else { "this log" })
}

fn evidence(html: &mut String, item: &EvidenceItem) {
    let what = match (&item.sha256, item.entry) {
        (_, Some(index)) => format!("entry {index} of this log"),
        (Some(hash), None) => format!("{}SHA-256 {}", file(item), escaped(hash)),
        (None, None) => String::new(),
    };
    let place = match item.place.is_empty() {
        true => String::new(),
        false => format!(", at {}", escaped(&item.place)),
    };
    let (from, until) = (day(item.effective_from), day(item.expires_at));
    let _ = write!(html, "<li>{}: {what}{place}; from {from} until {until}</li>", escaped(&item.title));
}

/// The file, where a link to it is to be had.
fn file(item: &EvidenceItem) -> String {
    let Some(file) = &item.file else { return String::new() };
    let (name, bytes) = (escaped(&file.filename), file.size);
    match file.removed_at {
        Some(at) => format!("{name}, {bytes} bytes, removed on {}, ", day(at)),
        None => {
            format!("<a href=\"{}\">{name}</a>, {bytes} bytes, ", escaped(&EvidenceDownload::address(item.evidence_id)))
        }
    }
}

fn mark(standing: Standing) -> String {
    let words = match standing {
        Standing::Met => "Met",
        Standing::Missing => "Not shown",
        Standing::Stale => "Stale",
        Standing::Failing => "Failing",
    };
    format!("<span class=\"mark {}\">{words}</span>", standing.as_str())
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d").to_string()
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
    fn what_people_wrote_is_never_markup() {
        assert_eq!(escaped("<script>\"&'"), "&lt;script&gt;&quot;&amp;&#39;");
    }
}
