//! A new version of a look: everything about it is checked now, so that activating it is a switch and nothing more.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::brander::{AssetHash, AssetKind, BrandingDrafted, Look, SetBranding, ShowDraft};
use sqlx::Row;
use sqlx::types::Json;
use uuid::Uuid;

use crate::Brander;
use crate::look::{contrast, stylesheet};
use crate::pages::{GENERIC, origin};

/// Versions of one tenant, at most: a look is set by people, not by loops.
const MOST: i32 = 10_000;

impl Handle<SetBranding> for Brander {
    async fn handle(&self, cx: &mut Cx<'_>, SetBranding(look): SetBranding) -> Result<Events, Fail> {
        let css =
            stylesheet::scoped(&look.css).map_err(|refused| Fail::reject("css_refused", format!("/css: {refused}")))?;
        if look.sign_in_url.as_deref().is_some_and(|url| origin(url).is_none()) {
            let words = "/sign_in_url: the host must be a plain name, without user and password";
            return Err(Fail::reject("sign_in_url", words));
        }
        let first = look.font_family.split(',').next().unwrap_or_default().trim().to_ascii_lowercase();
        if look.font.is_some() && GENERIC.contains(&first.as_str()) {
            let words = "/font: the file's own name must stand first in /font_family, before a generic one";
            return Err(Fail::reject("font_name", words));
        }
        let hints = assets(cx, &look).await?;
        let contrast_faults = u32::try_from(contrast::faults(&look).len())?;
        let newest: i32 = sqlx::query_scalar(
            "insert into brander.tenants (tenant, newest) values ($1, 1)
             on conflict (tenant) do update set newest = tenants.newest + 1 returning newest",
        )
        .bind(cx.tenant())
        .fetch_one(cx.db())
        .await?;
        if newest > MOST {
            return Err(Fail::reject("too_many_versions", format!("a brand has {MOST} versions at most")));
        }
        // Ids come from callers: with the tenant in it, two tenants that choose the same one have two versions.
        let version_id = Uuid::new_v5(&cx.id("version"), cx.tenant().as_bytes());
        sqlx::query(
            "insert into brander.versions
                 (tenant, version, version_id, look, css, contrast_faults, hints, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(cx.tenant())
        .bind(newest)
        .bind(version_id)
        .bind(Json(&look))
        .bind(css)
        .bind(i32::try_from(contrast_faults)?)
        .bind(Json(&hints))
        .bind(cx.now())
        .execute(cx.db())
        .await?;
        let version = newest.unsigned_abs();
        let drafted = BrandingDrafted { version, version_id, contrast_faults, hints };
        Ok(Events::none().about(version_id.to_string(), drafted).then(ShowDraft { version }))
    }
}

/// Every asset must be there, be the tenant's own, and be of a kind that its place can show. Returns what may surprise.
async fn assets(cx: &mut Cx<'_>, look: &Look) -> Result<Vec<String>, Fail> {
    let mut hints = Vec::new();
    let logo = look.logo.iter();
    let named = logo
        .flat_map(|logo| [("/logo/light", Some(&logo.light)), ("/logo/dark", logo.dark.as_ref())])
        .chain([("/icon", look.icon.as_ref()), ("/font", look.font.as_ref())])
        .filter_map(|(pointer, hash)| Some((pointer, hash?)));
    for (pointer, hash) in named {
        let (kind, mail) = asset(cx, pointer, hash).await?;
        let fits = match pointer {
            "/font" => kind == AssetKind::Woff2,
            "/icon" => kind == AssetKind::Png,
            _ => kind != AssetKind::Woff2,
        };
        if !fits {
            let wanted = match pointer {
                "/font" => "a WOFF2 font",
                "/icon" => "a PNG picture",
                _ => "a picture",
            };
            return Err(Fail::reject(
                "asset_kind",
                format!("{pointer}: the asset is {}, and must be {wanted}", kind.as_str()),
            ));
        }
        if pointer.starts_with("/logo") && !mail {
            hints.push(format!("{pointer}: mail programs can't show this picture, so mails carry the name; upload PNG, JPEG, WebP or SVG"));
        }
    }
    Ok(hints)
}

async fn asset(cx: &mut Cx<'_>, pointer: &str, hash: &AssetHash) -> Result<(AssetKind, bool), Fail> {
    let row = sqlx::query("select kind, mail_hash from brander.assets where tenant = $1 and hash = $2")
        .bind(cx.tenant())
        .bind(&hash.0)
        .fetch_optional(cx.db())
        .await?;
    let unknown = || Fail::reject("asset_unknown", format!("{pointer}: no such asset is stored; upload it first"));
    let row = row.ok_or_else(unknown)?;
    let kind = AssetKind::parse(row.try_get("kind")?).ok_or_else(unknown)?;
    Ok((kind, row.try_get::<Option<String>, _>("mail_hash")?.is_some()))
}
