#![doc = include_str!("../README.md")]

mod activate_branding;
mod activation;
pub mod assets;
mod assets_listed;
mod branding;
mod branding_versions;
mod cancel_schedule;
mod certificates;
mod contrast_report;
pub mod domains;
pub mod look;
pub mod pages;
mod rollback_branding;
mod schedule_branding;
mod schedules;
mod set_branding;
pub mod settings;
mod show_draft;
mod shown;
mod stored_asset;
mod turn_schedule;
mod upload_asset;
mod version;

pub use settings::Settings;

use std::sync::Arc;

use omnibus_dns::Dns;
use omnibus_runtime::{Desk, Worker};
use omnibus_schemas::brander::{
    ActivateBranding, AddDomain, AnswerChallenge, Assets, BrandOfVersion, Branding, BrandingVersions, CancelSchedule,
    ChallengeFile, ContrastReport, DashboardPage, Domains, FinishCertificate, LoginPage, OrderCertificate, Preview,
    PreviewPage, RecheckDomain, RemoveDomain, RollbackBranding, ScheduleBranding, Schedules, SetBranding, ShowDraft,
    StoredAsset, TurnSchedule, UploadAsset, VerifyDomain,
};
use tokio::sync::{Semaphore, broadcast, watch};

use certificates::authority::Authority;
use pages::Shelf;

const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_looks", include_str!("../migrations/0001_looks.sql")),
    ("0002_domains", include_str!("../migrations/0002_domains.sql")),
    ("0003_certificates", include_str!("../migrations/0003_certificates.sql")),
    ("0004_told", include_str!("../migrations/0004_told.sql")),
];

/// The worker: its tables, and what it does with each command, query and visit.
///
/// # Errors
/// If the settings contradict themselves.
pub fn worker(settings: Settings) -> anyhow::Result<Worker> {
    Ok(Worker::new("brander", Brander::new(settings)?)
        .migrations("brander", MIGRATIONS)
        .handles::<SetBranding>()
        .effects::<ShowDraft>()
        .effects::<ActivateBranding>()
        .effects::<RollbackBranding>()
        .handles::<ScheduleBranding>()
        .handles::<CancelSchedule>()
        .effects::<TurnSchedule>()
        .handles::<AddDomain>()
        .effects::<VerifyDomain>()
        .handles::<RemoveDomain>()
        .effects::<RecheckDomain>()
        .answers::<Domains>()
        .effects::<OrderCertificate>()
        .effects::<AnswerChallenge>()
        .effects::<FinishCertificate>()
        .receives::<ChallengeFile>()
        .runs("renewals", certificates::renewals::watch)
        .runs("certificates", certificates::handed_out::keep)
        .effects::<UploadAsset>()
        .answers::<Assets>()
        .receives::<StoredAsset>()
        .answers::<Branding>()
        .answers::<BrandingVersions>()
        .answers::<ContrastReport>()
        .answers::<Schedules>()
        .runs("desk", |brander, desk| async move { brander.sit_down(desk) })
        .runs("shown", shown::keep)
        .runs("hosts", domains::hosts::follow)
        .answers::<Preview>()
        .answers::<BrandOfVersion>()
        .receives::<LoginPage>()
        .receives::<DashboardPage>()
        .receives::<PreviewPage>()
        .runs("brands", pages::brands::follow)
        .runs("rechecks", domains::rechecks::watch)
        .build())
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Brander {
    settings: Settings,
    /// Hosts that no tenant may claim, nor anything below them.
    ours: Vec<String>,
    dns: Dns,
    shelf: Shelf,
    /// Places for those who make pictures anew.
    makers: Arc<Semaphore>,
    /// Where certificates are ordered, if anywhere.
    authority: Option<Authority>,
    /// The connections, once the worker runs: calls that leave wait for them.
    desk: watch::Sender<Option<Desk>>,
    /// Hosts of which the database has told that they changed.
    told: broadcast::Sender<String>,
}

impl Brander {
    /// Checks the settings. Connects to nothing yet.
    ///
    /// # Errors
    /// If the settings contradict themselves.
    fn new(settings: Settings) -> anyhow::Result<Self> {
        settings.check()?;
        let ours = settings.ours()?;
        let dns = Dns::new(&settings.dns_servers)?;
        let authority = Authority::new(&settings)?;
        Ok(Brander {
            settings,
            ours,
            dns,
            shelf: Shelf::default(),
            makers: Arc::new(Semaphore::new(2)),
            authority,
            desk: watch::Sender::new(None),
            told: broadcast::Sender::new(1024),
        })
    }

    /// A host as rows have it, from how somebody wrote it. One that can't be claimed is in no row.
    fn host(&self, text: &str) -> String {
        domains::host::claimable(text, &[]).unwrap_or_default()
    }

    fn sit_down(&self, desk: Desk) -> anyhow::Result<()> {
        self.desk.send_replace(Some(desk));
        Ok(())
    }

    /// The connections. Waits for the worker to have started.
    async fn desk(&self) -> Desk {
        let mut desks = self.desk.subscribe();
        let found = desks.wait_for(Option::is_some).await;
        found.expect("the sender lives as long as self").clone().expect("waited for")
    }
}
