//! The pages' HTML. What warns and what asks for consent stands outside the element that a tenant's stylesheet reaches,
//! sticks to the edges of the window, and has colours of its own.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use omnibus_schemas::brand::Brand;
use omnibus_schemas::brander::{Face, LogoAssets, Page};
use sha2::{Digest, Sha256};

use super::theme;
use crate::look::stylesheet::ROOT;
use crate::version::path;

const DASHBOARD: &str = include_str!("dashboard.js");

/// A finished page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dressed {
    /// The document.
    pub html: String,
    /// What it may load and run: nothing but its own style, its own script, and pictures and fonts of this host.
    pub policy: String,
    /// Changes with the content.
    pub tag: String,
}

/// Makes a page. `draft` is the number of a version that is not live.
pub fn page(brand: &Brand, page: Page, host: &str, draft: Option<u32>) -> Dressed {
    let style = theme::stylesheet(brand);
    let script = (page == Page::Dashboard && draft.is_none()).then_some(DASHBOARD);
    let face = brand.face.as_ref();
    let mut html = String::with_capacity(style.len() + 4096);
    let name = escape(&brand.name);
    let title = match page {
        Page::Login => format!("Sign in \u{b7} {name}"),
        Page::Dashboard => format!("Dashboard \u{b7} {name}"),
    };
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
    );
    if let Some(icon) = face.and_then(|face| face.icon.as_ref()) {
        let _ = write!(html, "<link rel=\"icon\" type=\"image/png\" href=\"{}\">", path(icon));
    }
    let _ = write!(html, "<style>{style}</style></head><body>");
    let _ = match draft {
        Some(version) => write!(
            html,
            "<div class=\"omnibus-security omnibus-preview\" role=\"note\">Preview of version {version}, for those who have \
             this link; nothing here signs you in.</div>"
        ),
        None => write!(
            html,
            "<div class=\"omnibus-security\" role=\"note\">You are at <strong>{}</strong>. This page never asks for a \
             password.</div>",
            escape(host)
        ),
    };
    let _ = write!(html, "<div class=\"{ROOT}\"><header>{}", logo(brand, face));
    if page == Page::Dashboard {
        html.push_str("<nav aria-label=\"Account\"><a href=\"/login\">Sign in</a></nav>");
    }
    html.push_str("</header><main>");
    match page {
        Page::Login => login(&mut html, &name, face, draft.is_some()),
        Page::Dashboard => dashboard(&mut html, &name, draft.is_some()),
    }
    html.push_str("</main>");
    below(&mut html, brand);
    html.push_str("</div>");
    consent(&mut html, face);
    if let Some(script) = script {
        let _ = write!(html, "<script>{script}</script>");
    }
    html.push_str("</body></html>");
    let policy = policy(&style, script, face);
    let tag = format!("\"{}-{}\"", brand.revision, hex(&Sha256::digest(&html)[..8]));
    Dressed { html, policy, tag }
}

fn logo(brand: &Brand, face: Option<&Face>) -> String {
    let name = escape(&brand.name);
    let Some(LogoAssets { light, dark, width, height }) = face.and_then(|face| face.logo.as_ref()) else {
        return format!("<span>{name}</span>");
    };
    let picture = format!("<img src=\"{}\" alt=\"{name}\" width=\"{width}\" height=\"{height}\">", path(light));
    match dark {
        Some(dark) => format!(
            "<picture><source media=\"(prefers-color-scheme:dark)\" srcset=\"{}\">{picture}</picture>",
            path(dark)
        ),
        None => picture,
    }
}

fn login(html: &mut String, name: &str, face: Option<&Face>, draft: bool) {
    let _ = write!(html, "<section class=\"card\"><h1>Sign in to {name}</h1>");
    let Some(url) = face.and_then(|face| face.sign_in_url.as_deref()) else {
        html.push_str("<p>Signing in is not set up for this site yet.</p></section>");
        return;
    };
    // A form that is sent by GET replaces the address's own query: each of its fields becomes one of the form.
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let action = if draft { "" } else { address };
    let _ = write!(html, "<form method=\"get\" action=\"{}\">", escape(action));
    for (field, value) in form_urlencoded::parse(query.split('#').next().unwrap_or_default().as_bytes()) {
        let _ = write!(html, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", escape(&field), escape(&value));
    }
    html.push_str(
        "<label for=\"email\">Email address</label>\
         <input id=\"email\" name=\"login_hint\" type=\"email\" autocomplete=\"username\" required>",
    );
    let disabled = if draft { " disabled" } else { "" };
    let _ = write!(html, "<button type=\"submit\"{disabled}>Continue</button></form>");
    html.push_str("</section>");
}

fn dashboard(html: &mut String, name: &str, draft: bool) {
    let _ = write!(html, "<div class=\"wide\"><h1>{name}</h1><div id=\"tiles\" class=\"tiles\">");
    if draft {
        for title in ["Email", "Brand"] {
            let _ = write!(
                html,
                "<section class=\"tile\"><h2>{title}</h2><dl><dt>Done</dt><dd>1204</dd><dt>Refused</dt><dd>3</dd>\
                 <dt>Under way</dt><dd>12</dd></dl></section>"
            );
        }
        html.push_str("</div></div>");
        return;
    }
    html.push_str(
        "</div><section id=\"gate\" class=\"card\"><h2>You are not signed in</h2>\
         <p class=\"muted\">The figures are shown once you are.</p><a class=\"button\" href=\"/login\">Sign in</a>\
         </section></div>",
    );
}

fn below(html: &mut String, brand: &Brand) {
    let links = [("Help", &brand.support_url), ("Website", &brand.site_url)];
    let links: Vec<_> = links
        .into_iter()
        .filter_map(|(words, url)| {
            let url = escape(url.as_deref()?);
            Some(format!("<a href=\"{url}\" rel=\"noopener noreferrer\">{words}</a>"))
        })
        .collect();
    let footer = brand.footer.as_deref().map(escape).unwrap_or_default();
    if !links.is_empty() || !footer.is_empty() {
        let _ = write!(html, "<footer>{footer}\n{}</footer>", links.join(" \u{b7} "));
    }
}

fn consent(html: &mut String, face: Option<&Face>) {
    let links = [
        ("Terms", face.and_then(|face| face.terms_url.as_deref())),
        ("Privacy", face.and_then(|face| face.privacy_url.as_deref())),
    ];
    let links: String = links
        .into_iter()
        .filter_map(|(words, url)| {
            let url = escape(url?);
            Some(format!("<a href=\"{url}\" rel=\"noopener noreferrer\">{words}</a>"))
        })
        .collect();
    if !links.is_empty() {
        let _ =
            write!(html, "<div class=\"omnibus-consent\" role=\"contentinfo\">By going on you agree to:{links}</div>");
    }
}

fn policy(style: &str, script: Option<&str>, face: Option<&Face>) -> String {
    let digest = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
    let script = script.map(digest);
    let form = face.and_then(|face| face.sign_in_url.as_deref()).and_then(origin).unwrap_or("'none'");
    let connect = if script.is_some() { "'self'" } else { "'none'" };
    format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src {connect}; img-src 'self'; font-src 'self'; \
         form-action {form}; frame-ancestors 'none'; base-uri 'none'",
        digest(style),
        script.as_deref().unwrap_or("'none'"),
    )
}

/// `https://host:port` of an address; `None` where the host has characters that would mean something in a policy.
pub(crate) fn origin(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let plain = end > 0 && rest[..end].chars().all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c));
    plain.then(|| &url[.."https://".len() + end])
}

fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, character| {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
        out
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use omnibus_schemas::brander::{AssetHash, Length};

    use super::*;

    fn brand() -> Brand {
        let face = Face {
            version: 1,
            logo: None,
            icon: None,
            font: None,
            text_size: Length::px(16),
            radius: Length::px(8),
            css: String::new(),
            sign_in_url: Some("https://id.example.com/authorize?client_id=a%22b&scope=openid".into()),
            terms_url: Some("https://example.com/terms".into()),
            privacy_url: None,
        };
        Brand { face: Some(face), ..Brand::plain("<script>alert(1)</script>") }
    }

    #[test]
    fn nothing_that_a_tenant_writes_becomes_markup() {
        let mut brand = brand();
        brand.footer = Some("\"><img src=x onerror=alert(1)>".into());
        brand.site_url = Some("https://x.example/\"onmouseover=alert(1)".into());
        let done = page(&brand, Page::Login, "a\"b.com", None);
        assert!(!done.html.contains("<script") && !done.html.contains("<img") && !done.html.contains("\"onmouse"));
        assert!(done.html.contains("name=\"client_id\" value=\"a&quot;b\""), "{}", done.html);
    }

    #[test]
    fn pictures_are_shown_as_pictures_and_never_become_part_of_the_page() {
        let (light, dark, icon) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
        let asset = |hash: &str| AssetHash(hash.to_owned());
        let logo = LogoAssets { light: asset(&light), dark: Some(asset(&dark)), width: 120, height: 40 };
        let mut brand = brand();
        brand.face = brand.face.map(|face| Face { logo: Some(logo), icon: Some(asset(&icon)), ..face });
        for kind in [Page::Login, Page::Dashboard] {
            let Dressed { html, policy, .. } = page(&brand, kind, "a.com", None);
            assert!(html.contains(&format!("<img src=\"/assets/{light}\" alt=")), "{html}");
            assert!(html.contains(&format!("srcset=\"/assets/{dark}\"")), "{html}");
            assert_eq!(html.matches("/assets/").count(), 3, "they stand nowhere else");
            for other in ["<svg", "<object", "<embed", "<iframe"] {
                assert!(!html.contains(other), "{other}");
            }
            assert!(policy.contains("default-src 'none'") && policy.contains("img-src 'self'"), "{policy}");
        }
    }

    #[test]
    fn what_warns_stands_before_the_brands_root_and_consent_after_it() {
        let html = page(&brand(), Page::Login, "portal.example.com", None).html;
        let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text} is missing"));
        let root = at("<div class=\"omnibus-brand\">");
        assert!(at("<div class=\"omnibus-security\"") < root);
        assert!(at("</form>") < at("<div class=\"omnibus-consent\""));
        let inside = &html[root..at("<div class=\"omnibus-consent\"")];
        assert_eq!(inside.matches("<div").count(), inside.matches("</div>").count(), "the root is closed before it");
    }

    #[test]
    fn a_page_may_load_and_run_nothing_but_its_own() {
        let login = page(&brand(), Page::Login, "a.com", None).policy;
        assert!(
            login.contains("script-src 'none'") && login.contains("form-action https://id.example.com;"),
            "{login}"
        );
        let dashboard = page(&brand(), Page::Dashboard, "a.com", None).policy;
        assert!(dashboard.contains("script-src 'sha256-") && dashboard.contains("connect-src 'self'"));
        let draft = page(&brand(), Page::Dashboard, "a.com", Some(3)).policy;
        assert!(draft.contains("script-src 'none'"));
        assert_eq!(origin("https://id.example;script-src *"), None);
        assert_eq!(origin("https://user@id.example/"), None);
    }
}
