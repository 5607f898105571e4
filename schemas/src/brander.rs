//! White label: a tenant's look, pictures and domains. What is active stands in [`crate::brand`].

mod activation;
mod assets;
mod certificates;
mod domains;
mod face;
mod pages;
mod preview;
mod schedule;
mod theme;
mod versions;

pub use activation::*;
pub use assets::*;
pub use certificates::*;
pub use domains::*;
pub use face::*;
pub use pages::*;
pub use preview::*;
pub use schedule::*;
pub use theme::*;
pub use versions::*;

use crate::bucket::Bucket;
use crate::catalogue::Domain;

/// The domain's name.
const BRANDER: &str = "brander";
/// Who may change a brand.
const WRITE: &str = "whitelabel:write";
/// Who may look at it.
const READ: &str = "whitelabel:read";
/// What the worker tells itself.
const OPERATE: &str = "brander:operate";

/// The domain's catalogue.
pub fn domain() -> Domain {
    Domain::new(BRANDER, "White label")
        .command::<SetBranding>()
        .command::<ShowDraft>()
        .command::<ActivateBranding>()
        .command::<RollbackBranding>()
        .command::<ScheduleBranding>()
        .command::<CancelSchedule>()
        .command::<TurnSchedule>()
        .command::<UploadAsset>()
        .command::<AddDomain>()
        .command::<VerifyDomain>()
        .command::<RemoveDomain>()
        .command::<RecheckDomain>()
        .command::<OrderCertificate>()
        .command::<AnswerChallenge>()
        .command::<FinishCertificate>()
        .event::<BrandingDrafted>()
        .event::<BrandingActivated>()
        .event::<BrandingSuperseded>()
        .event::<BrandingScheduled>()
        .event::<ScheduleCancelled>()
        .event::<ScheduleSkipped>()
        .event::<AssetStored>()
        .event::<DomainAdded>()
        .event::<DomainVerified>()
        .event::<DomainChecked>()
        .event::<DomainFailing>()
        .event::<DomainRecovered>()
        .event::<DomainTakenDown>()
        .event::<DomainRemoved>()
        .event::<CertificateOrdered>()
        .event::<CertificateIssued>()
        .event::<CertificateFailed>()
        .query::<Branding>()
        .query::<BrandingVersions>()
        .query::<ContrastReport>()
        .query::<Schedules>()
        .query::<Assets>()
        .query::<Domains>()
        .query::<Preview>()
        .query::<BrandOfVersion>()
        .hook::<StoredAsset>()
        .hook::<PreviewPage>()
        .hook::<LoginPage>()
        .hook::<DashboardPage>()
        .hook::<ChallengeFile>()
        .owns(Bucket::values(crate::brand::BUCKET, "The active brand of each tenant"))
        .owns(Bucket::values(crate::brand::DRAFTS, "The newest version of each tenant's brand, active or not"))
        .owns(Bucket::values(CERTIFICATES, "Certificates of tenants' hosts, their keys sealed").for_doors())
        .owns(Bucket::objects(ASSETS, "Pictures and fonts of brands, by the hash of their content"))
}

fn an_id(n: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(0x0197_9f6e_5a00_7000_8000_0000_0000_0b00 + n)
}

fn a_time(hour: u32) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::UNIX_EPOCH + chrono::Duration::days(20_600) + chrono::Duration::hours(i64::from(hour))
}

fn fifty() -> u32 {
    50
}
