//! Rows of `brander.versions`, and the brand that a version becomes when it is active.

use chrono::{DateTime, Utc};
use omnibus_runtime::{Cx, Fail};
use omnibus_schemas::brand::{Brand, Logo};
use omnibus_schemas::brander::{AssetHash, Face, LogoAssets, Look};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

/// A version, as it was made.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) version: u32,
    pub(crate) version_id: Uuid,
    pub(crate) look: Look,
    pub(crate) css: String,
    pub(crate) contrast_faults: u32,
    pub(crate) hints: Vec<String>,
    pub(crate) created_at: DateTime<Utc>,
}

impl Version {
    /// The version of that number, or the newest.
    pub(crate) async fn find(
        db: &mut PgConnection,
        tenant: &str,
        version: Option<u32>,
    ) -> Result<Option<Version>, sqlx::Error> {
        let row = sqlx::query(
            "select version, version_id, look, css, contrast_faults, hints, created_at
             from brander.versions where tenant = $1 and ($2::integer is null or version = $2)
             order by version desc limit 1",
        )
        .bind(tenant)
        .bind(version.map(|version| i32::try_from(version).unwrap_or(i32::MAX)))
        .fetch_optional(db)
        .await?;
        row.as_ref().map(Version::read).transpose()
    }

    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let number = |column| row.try_get::<i32, _>(column).map(i32::unsigned_abs);
        let Json(look) = row.try_get("look")?;
        let Json(hints) = row.try_get("hints")?;
        Ok(Version {
            version: number("version")?,
            version_id: row.try_get("version_id")?,
            look,
            css: row.try_get("css")?,
            contrast_faults: number("contrast_faults")?,
            hints,
            created_at: row.try_get("created_at")?,
        })
    }

    /// Keeps the version's pictures and font from being removed until this transaction ends. Gives back one that has been.
    pub(crate) async fn hold(&self, cx: &mut Cx<'_>) -> Result<Option<String>, sqlx::Error> {
        let (tenant, mut wanted) = (cx.tenant(), hashes(&self.look));
        let held: Vec<String> = sqlx::query_scalar(
            "select hash from brander.assets where tenant = $1 and hash = any ($2) order by hash for share",
        )
        .bind(tenant)
        .bind(&wanted)
        .fetch_all(cx.db())
        .await?;
        wanted.retain(|hash| !held.contains(hash));
        Ok(wanted.pop())
    }

    /// As [`Version::hold`], where nothing may be missing.
    pub(crate) async fn hold_whole(&self, cx: &mut Cx<'_>) -> Result<(), Fail> {
        let Some(gone) = self.hold(cx).await? else { return Ok(()) };
        let version = self.version;
        let detail = format!("version {version} shows the asset {gone}, which was removed; set a look without it");
        Err(Fail::reject("asset_removed", detail))
    }

    /// What everyone follows once this version is active. Of pictures and a font that were removed since it was made,
    /// nothing is shown.
    pub(crate) async fn brand(
        self,
        db: &mut PgConnection,
        tenant: &str,
        revision: u64,
        base: &str,
    ) -> Result<Brand, sqlx::Error> {
        let Version { version, version_id, mut look, css, .. } = self;
        let there = "select hash from brander.assets where tenant = $1 and hash = any ($2)";
        let there: Vec<String> = sqlx::query_scalar(there).bind(tenant).bind(hashes(&look)).fetch_all(&mut *db).await?;
        let there = |hash: &AssetHash| there.contains(&hash.0);
        look.logo = look
            .logo
            .filter(|logo| there(&logo.light))
            .map(|logo| LogoAssets { dark: logo.dark.filter(there), ..logo });
        look.icon = look.icon.filter(there);
        look.font = look.font.filter(there);
        let logo = match &look.logo {
            None => None,
            Some(logo) => {
                let light = for_mail(db, tenant, &logo.light).await?;
                let dark = match &logo.dark {
                    Some(dark) => for_mail(db, tenant, dark).await?,
                    None => None,
                };
                let url = |hash: AssetHash| format!("{base}{}", path(&hash));
                let (width, height) = (logo.width, logo.height);
                light.map(|light| Logo { url: url(light), dark_url: dark.map(url), width, height })
            }
        };
        Ok(Brand {
            revision,
            version_id: Some(version_id),
            name: look.name,
            logo,
            light: look.light,
            dark: look.dark,
            font_family: look.font_family,
            sender: look.sender,
            footer: look.footer,
            support_url: look.support_url,
            site_url: look.site_url,
            face: Some(Face {
                version,
                logo: look.logo,
                icon: look.icon,
                font: look.font,
                text_size: look.text_size,
                radius: look.radius,
                css,
                sign_in_url: look.sign_in_url,
                terms_url: look.terms_url,
                privacy_url: look.privacy_url,
            }),
        })
    }
}

/// The assets that a look shows.
fn hashes(look: &Look) -> Vec<String> {
    let logo = look.logo.iter().flat_map(|logo| std::iter::once(&logo.light).chain(&logo.dark));
    logo.chain(&look.icon).chain(&look.font).map(|hash| hash.0.clone()).collect()
}

/// Where an asset is on every host.
pub(crate) fn path(hash: &AssetHash) -> String {
    format!("/assets/{}", hash.0)
}

/// The picture that mail programs show in an asset's place.
async fn for_mail(db: &mut PgConnection, tenant: &str, hash: &AssetHash) -> Result<Option<AssetHash>, sqlx::Error> {
    let found: Option<Option<String>> =
        sqlx::query_scalar("select mail_hash from brander.assets where tenant = $1 and hash = $2")
            .bind(tenant)
            .bind(&hash.0)
            .fetch_optional(db)
            .await?;
    Ok(found.flatten().map(AssetHash))
}
