//! One tenant's looks, pictures, hosts and orders are nobody else's: every command and every query of the domain is tried
//! by a tenant who names what is another's.

use std::collections::BTreeSet;

use omnibus_schemas::brander::{
    ActivateBranding, AddDomain, AnswerChallenge, AssetHash, Assets, BrandOfVersion, Branding, BrandingVersions,
    CancelSchedule, ContrastReport, Domains, FinishCertificate, LogoAssets, Look, OrderCertificate, Page, Preview,
    RecheckDomain, RemoveDomain, RollbackBranding, ScheduleBranding, Schedules, SetBranding, ShowDraft, Turn,
    TurnSchedule, UploadAsset, VerifyDomain,
};
use omnibus_schemas::{Command, Domain, Object, Query};
use uuid::Uuid;

use crate::domains::{HOST, proved, scene};
use crate::scene::{Scene, look};

struct Stranger<'a> {
    scene: &'a Scene,
    tried: BTreeSet<&'static str>,
}

impl Stranger<'_> {
    async fn refused<C: Command>(&mut self, command: C, code: &str) {
        let told = self.scene.tell("globex", &command).await;
        assert_eq!(told.data["code"], code, "{}: {} {}", C::NAME, told.name, told.data);
        self.tried.insert(C::NAME);
    }

    async fn unknown<Q: Query>(&mut self, query: Q) {
        let answer = self.scene.stage.ask("brander", "globex", &query).await;
        assert_eq!(answer.err().map(|(code, _)| code), Some(404), "{}", Q::NAME);
        self.tried.insert(Q::NAME);
    }

    async fn empty<Q: Query>(&mut self, query: Q, rows: impl Fn(&Q::Answer) -> usize) {
        let theirs = self.scene.stage.ask("brander", "acme", &query).await.unwrap();
        assert!(rows(&theirs) > 0, "{}: there is nothing to be hidden", Q::NAME);
        let ours = self.scene.stage.ask("brander", "globex", &query).await.unwrap();
        assert_eq!(rows(&ours), 0, "{}", Q::NAME);
        self.tried.insert(Q::NAME);
    }
}

#[tokio::test]
async fn a_tenant_can_neither_see_nor_touch_what_is_anothers() {
    let (scene, names) = scene().await;
    proved(&scene, &names, "acme").await;
    for name in ["One", "Two"] {
        let version = scene.draft("acme", look(name)).await;
        scene.activate("acme", version).await;
    }
    let from = omnibus_runtime::clock::now() + chrono::TimeDelta::days(1);
    let told = scene.tell("acme", &ScheduleBranding { version: 1, from, until: None }).await;
    let schedule_id: Uuid = told.data["schedule_id"].as_str().unwrap().parse().unwrap();
    let (order_id, hash) = (Uuid::from_u128(7), AssetHash("a".repeat(64)));
    for sql in [
        "insert into brander.certificate_orders (tenant, order_id, host, registered, status, order_url, opened_at)
         values ('acme', $1, $2, 'x', 'ordered', 'https://acme.example', now())",
        "insert into brander.assets (tenant, hash, kind, bytes, stored_at)
         select 'acme', repeat('a', 64), 'png', 1, now() where $1::uuid is not null and $2::text is not null",
    ] {
        sqlx::query(sql).bind(order_id).bind(HOST).execute(&scene.stage.db).await.unwrap();
    }
    let mut stranger = Stranger { scene: &scene, tried: BTreeSet::new() };

    stranger.unknown(Branding { version: Some(1) }).await;
    stranger.unknown(ContrastReport { version: Some(1) }).await;
    stranger.unknown(Preview { version: Some(1), page: Page::Login, minutes: 5 }).await;
    stranger.unknown(BrandOfVersion { version: Some(1) }).await;
    stranger.empty(BrandingVersions { before: None, limit: 5 }, |page| page.versions.len()).await;
    stranger.empty(Schedules { after: None, limit: 5 }, |page| page.schedules.len()).await;
    stranger.empty(Assets { after: None, limit: 5 }, |page| page.assets.len()).await;
    stranger.empty(Domains { after: None, limit: 5 }, |page| page.domains.len()).await;

    stranger.refused(ActivateBranding { version: Some(1) }, "version_unknown").await;
    stranger.refused(ShowDraft { version: 1 }, "version_unknown").await;
    stranger.refused(RollbackBranding {}, "nothing_before").await;
    stranger.refused(ScheduleBranding { version: 1, from, until: None }, "version_unknown").await;
    stranger.refused(CancelSchedule { schedule_id }, "schedule_unknown").await;
    stranger.refused(TurnSchedule { schedule_id, turn: Turn::Begin }, "schedule_unknown").await;
    stranger.refused(VerifyDomain { host: HOST.into() }, "domain_unknown").await;
    stranger.refused(RemoveDomain { host: HOST.into() }, "domain_unknown").await;
    stranger.refused(OrderCertificate { host: HOST.into() }, "certificates_off").await;
    stranger.refused(AnswerChallenge { order_id }, "order_unknown").await;
    stranger.refused(FinishCertificate { order_id }, "order_unknown").await;
    let logo = LogoAssets { light: hash, dark: None, width: 100, height: 40 };
    stranger.refused(SetBranding(Look { logo: Some(logo), ..look("Theirs") }), "asset_unknown").await;
    let object = Object::example("acme", "image/png");
    stranger.refused(UploadAsset { object }, "foreign_object").await;

    // A claim on the same host is one of the stranger's own, and a look at the host is none at the owner's claim.
    let told = scene.tell("globex", &AddDomain { host: HOST.into() }).await;
    assert_eq!(told.name, "domain_added");
    scene.tell("globex", &RecheckDomain { host: HOST.into() }).await;
    stranger.tried.extend([AddDomain::NAME, RecheckDomain::NAME]);
    let domains = scene.stage.ask("brander", "acme", &Domains { after: None, limit: 5 }).await.unwrap().domains;
    assert_eq!(domains[0].status, omnibus_schemas::brander::DomainStatus::Verified);
    assert_eq!(scene.shown("globex").await, None);
    assert_eq!(scene.shown("acme").await.unwrap().name, "Two");

    let (domain, shared) = (omnibus_schemas::brander::domain(), Domain::new("x", "what every domain has"));
    let all = |of: &Domain| -> BTreeSet<&'static str> {
        of.commands.iter().map(|command| command.name).chain(of.queries.iter().map(|query| query.name)).collect()
    };
    let own: BTreeSet<_> = all(&domain).difference(&all(&shared)).copied().collect();
    assert_eq!(own.difference(&stranger.tried).collect::<Vec<_>>(), Vec::<&&str>::new(), "was not tried");
}
