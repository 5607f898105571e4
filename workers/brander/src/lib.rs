#![doc = include_str!("../README.md")]

mod activate_branding;
mod activation;
mod branding;
mod branding_versions;
mod cancel_schedule;
mod contrast_report;
pub mod look;
mod rollback_branding;
mod schedule_branding;
mod schedules;
mod set_branding;
pub mod settings;
mod shown;
mod turn_schedule;
mod version;

pub use settings::Settings;

use omnibus_runtime::{Desk, Worker};
use omnibus_schemas::brander::{
    ActivateBranding, Branding, BrandingVersions, CancelSchedule, ContrastReport, RollbackBranding, ScheduleBranding,
    Schedules, SetBranding, TurnSchedule,
};
use tokio::sync::watch;

/// The worker: its tables, and what it does with each command, query and visit.
///
/// # Errors
/// If the settings contradict themselves.
pub fn worker(settings: Settings) -> anyhow::Result<Worker> {
    Ok(Worker::new("brander", Brander::new(settings)?)
        .migrations("brander", &[("0001_looks", include_str!("../migrations/0001_looks.sql"))])
        .handles::<SetBranding>()
        .effects::<ActivateBranding>()
        .effects::<RollbackBranding>()
        .handles::<ScheduleBranding>()
        .handles::<CancelSchedule>()
        .effects::<TurnSchedule>()
        .answers::<Branding>()
        .answers::<BrandingVersions>()
        .answers::<ContrastReport>()
        .answers::<Schedules>()
        .runs("desk", |brander, desk| async move { brander.sit_down(desk) })
        .runs("shown", shown::keep)
        .build())
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Brander {
    settings: Settings,
    /// The connections, once the worker runs: calls that leave wait for them.
    desk: watch::Sender<Option<Desk>>,
}

impl Brander {
    /// Checks the settings. Connects to nothing yet.
    ///
    /// # Errors
    /// If the settings contradict themselves.
    fn new(settings: Settings) -> anyhow::Result<Self> {
        settings.check()?;
        Ok(Brander { settings, desk: watch::Sender::new(None) })
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
