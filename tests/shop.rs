//! A domain made for breaking: `put` changes state as it is told, `charge` calls a provider that does as it is told.
//!
//! What a command's `how` says, its handler does: so every way a handler can end has a command that ends that way.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use omnibus_runtime::worker::Builder;
use omnibus_runtime::{
    Answer, Ask, AskError, CallError, Cx, Effect, EffectMany, Events, Fail, Found, Handle, HandleMany, Meta, One,
    Policy, Prepared, Returned, Settled, WhenUncertain, Worker,
};
use omnibus_schemas::{Catalogue, Command, Domain, Event, Http, Query};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

/// A catalogue with the shop alone.
pub fn catalogue() -> Catalogue {
    let domain = Domain::new("shop", "Shop (for tests)")
        .command::<Put>()
        .command::<Charge>()
        .event::<PutDone>()
        .event::<Charged>()
        .event::<ChargeSettled>()
        .query::<Count>();
    Catalogue::new(vec![domain])
}

/// Puts a thing into the shop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema, garde::Validate)]
pub struct Put {
    /// What. At most 40 characters.
    #[garde(length(chars, max = 40))]
    pub thing: String,
    /// How the handler ends: `ok`, `fail:<n>` (the first n tries of this process), `fail`, `panic`, `hang`, `reject`,
    /// `snooze:<ms>` (once), `snoozes:<n>`, `database` (a statement that fails), `deadlock:<n>`, `locks:<n>,<m>`
    /// (holds one, and then another), `cut:<n>` (the connection ends), `broken`, `swallow` (an error not passed on), `then` (a follow-up), `later:<ms>` (a scheduled
    /// one), `past`, `nowhere` (a follow-up in no lane), `large`, `nul` (an error with a zero byte), `telling` (an error that
    /// repeats the thing), `nothing`; where many are taken at once, `whole` (all of them fail) and `silent` (no answer).
    #[serde(default)]
    #[garde(length(max = 40))]
    pub how: String,
}

impl Command for Put {
    const DOMAIN: &'static str = "shop";
    const NAME: &'static str = "put";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/shop/things"));
    const SCOPE: &'static str = "shop:put";
    const ALIASES: &'static [&'static str] = &["lay"];

    fn example() -> Self {
        Put { thing: "apple".into(), how: String::new() }
    }
}

/// Charges through a provider that is a folder: a call leaves one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema, garde::Validate)]
pub struct Charge {
    /// What for.
    #[garde(length(chars, max = 40))]
    pub thing: String,
    /// How the call ends: `ok`, `not_done:<n>` (the first n calls), `not_done`, `refused`, `unknown` (after it
    /// happened), `unknown_not` (without it having happened), `hang`, `panic`, `slow:<ms>`, `open` (until the file
    /// `answered-<command id>` is there), `skip`, `early` (an event before the call), `unrecorded:<n>` (the record fails
    /// so often), `unrecorded`.
    #[serde(default)]
    #[garde(length(max = 40))]
    pub how: String,
    /// What the provider says when asked: `done`, `not_done`, `cannot_tell`, `away`. Besides, `unsettled:<n>` (the hook
    /// fails so often) and `unsettled`.
    #[serde(default)]
    #[garde(length(max = 40))]
    pub reconcile: String,
    /// Send again when nobody can tell, instead of holding.
    #[serde(default)]
    #[garde(skip)]
    pub resend: bool,
}

impl Command for Charge {
    const DOMAIN: &'static str = "shop";
    const NAME: &'static str = "charge";
    const LANE: &'static str = "calls";
    const HTTP: Option<Http> = Some(Http::post("/api/v1/shop/charges"));
    const SCOPE: &'static str = "shop:charge";

    fn example() -> Self {
        Charge { thing: "apple".into(), how: String::new(), reconcile: String::new(), resend: false }
    }
}

/// A thing is in the shop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PutDone {
    /// What.
    pub thing: String,
}

impl Event for PutDone {
    const DOMAIN: &'static str = "shop";
    const NAME: &'static str = "put_done";

    fn example() -> Self {
        PutDone { thing: "apple".into() }
    }
}

/// The provider has charged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Charged {
    /// The provider's receipt.
    pub receipt: String,
}

impl Event for Charged {
    const DOMAIN: &'static str = "shop";
    const NAME: &'static str = "charged";

    fn example() -> Self {
        Charged { receipt: "r1".into() }
    }
}

/// A charge ended otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ChargeSettled {
    /// `refused`, `gave_up`, `uncertain`, `vouched` or `dropped`.
    pub how: String,
}

impl Event for ChargeSettled {
    const DOMAIN: &'static str = "shop";
    const NAME: &'static str = "charge_settled";

    fn example() -> Self {
        ChargeSettled { how: "refused".into() }
    }
}

/// How often a thing was put, and charged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema, garde::Validate)]
pub struct Count {
    /// What.
    #[garde(length(chars, max = 40))]
    pub thing: String,
}

/// Counts of one thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Counted {
    /// Rows of `put`.
    pub put: i64,
    /// Rows of `charge` that are recorded as done.
    pub charged: i64,
}

impl Query for Count {
    type Answer = Counted;
    const DOMAIN: &'static str = "shop";
    const NAME: &'static str = "count";
    const HTTP: Option<Http> = Some(Http::get("/api/v1/shop/things/{thing}"));
    const SCOPE: &'static str = "shop:read";

    fn example() -> Self {
        Count { thing: "apple".into() }
    }
}

/// The shop's state: where the provider's folder is. A try may take `SECONDS`.
pub struct Shop<const SECONDS: u64> {
    provider: PathBuf,
}

/// Short, so that what hangs is given up soon.
const SHORT: u64 = 2;
/// For what lasts until the test says so.
const LONG: u64 = 120;

/// The shop's worker. `provider` is the folder in which calls leave their files.
pub fn worker(provider: &Path) -> Worker {
    build::<SHORT>(provider).handles::<Put>().effects::<Charge>().build()
}

/// The same, with tries that may take as long as a test wants.
pub fn patient_worker(provider: &Path) -> Worker {
    build::<LONG>(provider).handles::<Put>().effects::<Charge>().build()
}

/// The same, with puts, and what surrounds charges, taken many at a time. Whoever looks from outside sees no difference.
pub fn worker_of_many(provider: &Path) -> Worker {
    build::<SHORT>(provider).handles_many::<Put>().effects_many::<Charge>().build()
}

/// Both of it.
pub fn patient_worker_of_many(provider: &Path) -> Worker {
    build::<LONG>(provider).handles_many::<Put>().effects_many::<Charge>().build()
}

fn build<const SECONDS: u64>(provider: &Path) -> Builder<Shop<SECONDS>> {
    Worker::new("shop", Shop::<SECONDS> { provider: provider.to_owned() })
        .migrations(
            "shop",
            &[(
                "0001_shop",
                // Deliberately without a key on the command: a command carried out twice shows as two rows.
                "create table shop.things (tenant text not null, thing text not null, command_id uuid not null);
                 create table shop.charges (tenant text not null, thing text not null, command_id uuid primary key,
                                            status text not null, receipt text);",
            )],
        )
        .answers::<Count>()
}

/// `fail:2` → 2
fn number(how: &str) -> u64 {
    how.split_once(':').and_then(|(_, n)| n.parse().ok()).unwrap_or(0)
}

impl<const SECONDS: u64> Shop<SECONDS> {
    /// How often this has been reached, over all processes: a file of one byte a time.
    fn times(&self, what: &str, id: Uuid) -> u64 {
        use std::io::Write;
        let path = self.provider.join(format!("{what}-{id}"));
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).expect("the folder is there");
        file.write_all(b".").expect("one byte fits");
        file.metadata().expect("the file is open").len()
    }
}

async fn raise(db: &mut PgConnection, code: &'static str) -> Result<Events, Fail> {
    let statement = format!("do $$ begin raise exception using errcode = '{code}'; end $$");
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(db).await?;
    Ok(Events::none())
}

const fn policy(seconds: u64) -> Policy {
    Policy {
        attempts: 3,
        backoff: Duration::from_millis(20),
        backoff_cap: Duration::from_millis(100),
        timeout: Duration::from_secs(seconds),
    }
}

impl<const SECONDS: u64> Handle<Put> for Shop<SECONDS> {
    const POLICY: Policy = policy(SECONDS);

    async fn handle(&self, cx: &mut Cx<'_>, cmd: Put) -> Result<Events, Fail> {
        let (tenant, id, now) = (cx.tenant().to_owned(), cx.meta().id, cx.now());
        sqlx::query("insert into shop.things (tenant, thing, command_id) values ($1, $2, $3)")
            .bind(tenant)
            .bind(&cmd.thing)
            .bind(id)
            .execute(cx.db())
            .await?;
        self.put(cx.db(), id, now, cmd).await
    }
}

impl<const SECONDS: u64> HandleMany<Put> for Shop<SECONDS> {
    const POLICY: Policy = policy(SECONDS);

    async fn handle_many(
        &self,
        db: &mut PgConnection,
        many: Vec<One<'_, Put>>,
    ) -> Result<Vec<Result<Events, Fail>>, Fail> {
        sqlx::query("insert into shop.things select * from unnest($1::text[], $2::text[], $3::uuid[])")
            .bind(many.iter().map(One::tenant).collect::<Vec<_>>())
            .bind(many.iter().map(|one| one.command.thing.as_str()).collect::<Vec<_>>())
            .bind(many.iter().map(|one| one.meta().id).collect::<Vec<_>>())
            .execute(&mut *db)
            .await?;
        // How many it gets at once is for the tests to see.
        self.times(&format!("many-{}", many.len()), many[0].meta().id);
        let mut answers = Vec::new();
        for one in many {
            let (id, now) = (one.meta().id, one.now());
            match one.command.how.as_str() {
                "whole" => return Err(Fail::Retry(anyhow!("told to fail as a whole"))),
                "silent" => {}
                _ => answers.push(self.put(db, id, now, one.command).await),
            }
        }
        Ok(answers)
    }
}

impl<const SECONDS: u64> Shop<SECONDS> {
    /// Ends as the command says, after its row is written.
    async fn put(&self, db: &mut PgConnection, id: Uuid, now: DateTime<Utc>, cmd: Put) -> Result<Events, Fail> {
        let done = Events::of(PutDone { thing: cmd.thing.clone() });
        let once_more = |how: &str| Put { thing: cmd.thing.clone(), how: how.into() };
        match cmd.how.split(':').next().unwrap_or_default() {
            "fail" if cmd.how == "fail" || self.times("put", id) <= number(&cmd.how) => {
                Err(Fail::Retry(anyhow!("told to fail")))
            }
            "panic" => panic!("told to panic"),
            "hang" => std::future::pending().await,
            "reject" => Err(Fail::reject("no_room", "the shop is full")),
            "snooze" if self.times("snooze", id) == 1 => Err(Fail::Snooze(Duration::from_millis(number(&cmd.how)))),
            "database" => {
                sqlx::query("select 1/0").execute(db).await?;
                Ok(done)
            }
            "then" => Ok(Events::none().then(once_more("")).join(done)),
            "later" => {
                let at = now + Duration::from_millis(number(&cmd.how));
                Ok(done.then_at(at, once_more("")))
            }
            "nothing" => Ok(Events::none()),
            "past" => Ok(done.then_at(now - Duration::from_secs(3600), once_more(""))),
            "snoozes" if self.times("snooze", id) <= number(&cmd.how) => Err(Fail::Snooze(Duration::from_millis(1))),
            // What PostgreSQL says when two transactions wait for each other, when it goes down, and when it is broken.
            "deadlock" if self.times("put", id) <= number(&cmd.how) => raise(db, "40P01").await,
            "locks" => {
                self.times("locks", id);
                for lock in cmd.how.trim_start_matches("locks:").split(',').filter_map(|lock| lock.parse::<i64>().ok())
                {
                    sqlx::query("select pg_advisory_xact_lock($1), pg_sleep(0.05)")
                        .bind(lock)
                        .execute(&mut *db)
                        .await?;
                }
                Ok(done)
            }
            "cut" if self.times("put", id) <= number(&cmd.how) => {
                sqlx::query("select pg_terminate_backend(pg_backend_pid())").execute(db).await?;
                Ok(done)
            }
            "broken" => raise(db, "XX000").await,
            "swallow" => {
                let _ = sqlx::query("select 1/0").execute(db).await;
                Ok(done)
            }
            "nowhere" => Ok(done.then_in("nowhere", once_more(""))),
            "large" => Ok(Events::of(PutDone { thing: cmd.thing.repeat(300_000) })),
            "nul" => Err(Fail::Retry(anyhow!("a zero byte: \0"))),
            "telling" => Err(Fail::Retry(anyhow!("no room for {}", cmd.thing))),
            _ => Ok(done),
        }
    }
}

/// What is about to leave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChargePlan {
    charge: Charge,
    number: u64,
}

impl<const SECONDS: u64> Effect<Charge> for Shop<SECONDS> {
    const POLICY: Policy = policy(SECONDS);
    const PROVIDER: Option<&'static str> = Some("bank");

    type Plan = ChargePlan;
    type Done = String;

    async fn prepare(&self, cx: &mut Cx<'_>, cmd: Charge) -> Result<Prepared<ChargePlan>, Fail> {
        if cmd.how == "skip" {
            return Ok(Prepared::Skip(Events::none()));
        }
        let (tenant, id) = (cx.tenant().to_owned(), cx.meta().id);
        sqlx::query(
            "insert into shop.charges (tenant, thing, command_id, status) values ($1, $2, $3, 'queued')
             on conflict (command_id) do nothing",
        )
        .bind(tenant)
        .bind(&cmd.thing)
        .bind(id)
        .execute(cx.db())
        .await?;
        let early = match cmd.how.as_str() {
            "early" => Events::of(PutDone { thing: cmd.thing.clone() }),
            _ => Events::none(),
        };
        Ok(Prepared::Go(ChargePlan { charge: cmd, number: self.times("prepare", id) }, early))
    }

    async fn perform(&self, meta: &Meta, plan: &ChargePlan) -> Result<String, CallError> {
        let how = plan.charge.how.as_str();
        let called = |shop: &Self| shop.times("call", meta.id);
        match how.split(':').next().unwrap_or_default() {
            "not_done" if how == "not_done" || self.times("refusal", meta.id) <= number(how) => {
                Err(CallError::NotDone(anyhow!("the line is busy")))
            }
            "refused" => Err(CallError::Refused { code: "no_funds", detail: "the account is empty".into() }),
            "unknown" => {
                called(self);
                Err(CallError::Unknown(anyhow!("the line was cut after the call")))
            }
            "unknown_not" => Err(CallError::Unknown(anyhow!("the line was cut"))),
            "hang" => {
                called(self);
                std::future::pending().await
            }
            "panic" => panic!("told to panic"),
            "slow" => {
                let calls = called(self);
                tokio::time::sleep(Duration::from_millis(number(how))).await;
                Ok(format!("receipt {calls}"))
            }
            "open" => {
                let calls = called(self);
                let answered = self.provider.join(format!("answered-{}", meta.id));
                while !answered.exists() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Ok(format!("receipt {calls}"))
            }
            _ => Ok(format!("receipt {}", called(self))),
        }
    }

    async fn record(&self, cx: &mut Cx<'_>, plan: ChargePlan, receipt: String) -> Result<Events, Fail> {
        let (tenant, id) = (cx.tenant().to_owned(), cx.meta().id);
        let how = plan.charge.how.as_str();
        if how.starts_with("unrecorded") && (how == "unrecorded" || self.times("record", id) <= number(how)) {
            sqlx::query("select 1/0").execute(cx.db()).await?;
        }
        sqlx::query("update shop.charges set status = 'charged', receipt = $3 where tenant = $1 and command_id = $2")
            .bind(tenant)
            .bind(id)
            .bind(&receipt)
            .execute(cx.db())
            .await?;
        Ok(Events::of(Charged { receipt }))
    }

    async fn reconcile(&self, meta: &Meta, plan: &ChargePlan) -> Result<Found<String>, Fail> {
        match plan.charge.reconcile.as_str() {
            "done" => Ok(Found::Done("receipt found".into())),
            "not_done" => Ok(Found::NotDone),
            "away" if self.times("asked", meta.id) == 1 => Err(Fail::Retry(anyhow!("the bank does not answer"))),
            "away" => Ok(Found::Done("receipt found later".into())),
            // What a real provider does: it knows its own calls.
            // (A file without its byte is a call that was cut off before it arrived.)
            "ask" => Ok(match std::fs::metadata(self.provider.join(format!("call-{}", meta.id))) {
                Ok(calls) if calls.len() > 0 => Found::Done("receipt found".into()),
                _ => Found::NotDone,
            }),
            _ => Ok(Found::CannotTell),
        }
    }

    fn when_uncertain(&self, plan: &ChargePlan) -> WhenUncertain {
        if plan.charge.resend { WhenUncertain::Resend } else { WhenUncertain::Hold }
    }

    async fn settle(&self, cx: &mut Cx<'_>, plan: Option<ChargePlan>, how: &Settled) -> Result<Events, Fail> {
        let told = plan.map(|plan| plan.charge.reconcile).unwrap_or_default();
        if told.starts_with("unsettled")
            && (told == "unsettled" || self.times("unsettled", cx.meta().id) <= number(&told))
        {
            sqlx::query("select 1/0").execute(cx.db()).await?;
        }
        let how = match how {
            Settled::Refused { .. } => "refused",
            Settled::GaveUp { .. } => "gave_up",
            Settled::Uncertain { .. } => "uncertain",
            Settled::Vouched { .. } => "vouched",
            Settled::Dropped { .. } => "dropped",
        };
        let (tenant, id) = (cx.tenant().to_owned(), cx.meta().id);
        sqlx::query("update shop.charges set status = $3 where tenant = $1 and command_id = $2")
            .bind(tenant)
            .bind(id)
            .bind(how)
            .execute(cx.db())
            .await?;
        Ok(Events::of(ChargeSettled { how: how.into() }))
    }
}

impl<const SECONDS: u64> EffectMany<Charge> for Shop<SECONDS> {
    async fn prepare_many(
        &self,
        db: &mut PgConnection,
        many: Vec<One<'_, Charge>>,
    ) -> Result<Vec<Result<Prepared<ChargePlan>, Fail>>, Fail> {
        let leaving: Vec<_> = many.iter().filter(|one| one.command.how != "skip").collect();
        sqlx::query(
            "insert into shop.charges (tenant, thing, command_id, status)
             select tenant, thing, id, 'queued' from unnest($1::text[], $2::text[], $3::uuid[]) as x(tenant, thing, id)
             order by id on conflict (command_id) do nothing",
        )
        .bind(leaving.iter().map(|one| one.tenant()).collect::<Vec<_>>())
        .bind(leaving.iter().map(|one| one.command.thing.as_str()).collect::<Vec<_>>())
        .bind(leaving.iter().map(|one| one.meta().id).collect::<Vec<_>>())
        .execute(db)
        .await?;
        self.times(&format!("prepare-many-{}", many.len()), many[0].meta().id);
        let prepared = many.into_iter().map(|one| {
            let (id, charge) = (one.meta().id, one.command);
            Ok(match charge.how.as_str() {
                "skip" => Prepared::Skip(Events::none()),
                "early" => {
                    let early = Events::of(PutDone { thing: charge.thing.clone() });
                    Prepared::Go(ChargePlan { charge, number: self.times("prepare", id) }, early)
                }
                _ => Prepared::go(ChargePlan { charge, number: self.times("prepare", id) }),
            })
        });
        Ok(prepared.collect())
    }

    async fn record_many(
        &self,
        db: &mut PgConnection,
        many: Vec<Returned<'_, ChargePlan, String>>,
    ) -> Result<Vec<Result<Events, Fail>>, Fail> {
        if many.iter().any(|one| one.plan.charge.how.starts_with("unrecorded")) {
            return Err(Fail::Retry(anyhow!("told to fail")));
        }
        sqlx::query(
            "update shop.charges c set status = 'charged', receipt = x.receipt
             from unnest($1::text[], $2::uuid[], $3::text[]) as x(tenant, id, receipt)
             where c.tenant = x.tenant and c.command_id = x.id",
        )
        .bind(many.iter().map(Returned::tenant).collect::<Vec<_>>())
        .bind(many.iter().map(|one| one.meta().id).collect::<Vec<_>>())
        .bind(many.iter().map(|one| one.done.as_str()).collect::<Vec<_>>())
        .execute(db)
        .await?;
        self.times(&format!("record-many-{}", many.len()), many[0].meta().id);
        Ok(many.into_iter().map(|one| Ok(Events::of(Charged { receipt: one.done }))).collect())
    }
}

impl<const SECONDS: u64> Answer<Count> for Shop<SECONDS> {
    async fn answer(&self, ask: &mut Ask<'_>, query: Count) -> Result<Counted, AskError> {
        let row = sqlx::query(
            "select (select count(*) from shop.things where tenant = $1 and thing = $2),
                    (select count(*) from shop.charges where tenant = $1 and thing = $2 and status = 'charged')",
        )
        .bind(ask.tenant)
        .bind(&query.thing)
        .fetch_one(&mut *ask.db)
        .await?;
        Ok(Counted { put: row.try_get(0)?, charged: row.try_get(1)? })
    }
}
