//! Private servers: what survives, who gets in, what stays behind.
#![cfg(feature = "local")]
#![expect(clippy::unwrap_used, reason = "clippy knows #[test] functions as tests, but not what they call")]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use omnibus_runtime::local::{
    LocalError, NatsConfig, NatsOptions, NatsServer, Postgres, PostgresOptions, SyncInterval,
};
use sqlx::{Connection, PgConnection};

async fn count(postgres: &Postgres) -> i64 {
    let mut connection = PgConnection::connect(&postgres.url("shop")).await.unwrap();
    sqlx::query_scalar("select count(*) from orders").fetch_one(&mut connection).await.unwrap()
}

async fn take_an_order(postgres: &Postgres) {
    postgres.ensure_database("shop").await.unwrap();
    let mut connection = PgConnection::connect(&postgres.url("shop")).await.unwrap();
    sqlx::query("create table if not exists orders (id int)").execute(&mut connection).await.unwrap();
    sqlx::query("insert into orders values (1)").execute(&mut connection).await.unwrap();
}

/// JetStream, for whoever waits longer than the client would.
async fn jetstream(server: &NatsServer) -> jetstream::Context {
    let mut context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    context.set_timeout(Duration::from_secs(120));
    context
}

async fn stream(server: &NatsServer) -> jetstream::stream::Stream {
    let context = jetstream(server).await;
    let config = jetstream::stream::Config { name: "S".into(), subjects: vec!["s".into()], ..Default::default() };
    context.get_or_create_stream(config).await.unwrap()
}

async fn publish(server: &NatsServer) {
    let context = jetstream(server).await;
    context.publish("s", "x".into()).await.unwrap().await.unwrap();
}

/// Fails the test rather than wait for ever.
#[expect(clippy::disallowed_methods, reason = "what is waited for happens in other processes")]
fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what} did not come true");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_gone(pid: u32) -> bool {
    // A zombie whose new parent is slow to collect it is as good as gone.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let zombie = stat.rsplit(')').next().is_some_and(|fields| fields.trim_start().starts_with('Z'));
    zombie || kill(Pid::from_raw(pid.try_into().unwrap()), None).is_err()
}

fn kill9(pid: u32) {
    kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_killed_nats_server_comes_back_with_its_messages_at_the_same_address() {
    for sync in [SyncInterval::Lazy, SyncInterval::Always] {
        let options = NatsOptions { config: NatsConfig::Open(sync), ..NatsOptions::default() };
        let mut server = NatsServer::start(options).await.unwrap();
        let (url, pid) = (server.url(), server.pid().unwrap());
        stream(&server).await;
        publish(&server).await;
        server.kill9().await;
        assert!(is_gone(pid) && server.pid().is_none());
        server.restart().await.unwrap();
        assert_eq!(server.url(), url);
        publish(&server).await;
        assert_eq!(stream(&server).await.get_info().await.unwrap().state.messages, 2);
    }
}

#[tokio::test]
async fn a_stopped_nats_server_leaves_nothing_but_its_own_folder() {
    let folder = tempfile::tempdir().unwrap();
    let options = NatsOptions { dir: Some(folder.path().join("nats")), ..NatsOptions::default() };
    let mut server = NatsServer::start(options.clone()).await.unwrap();
    stream(&server).await;
    publish(&server).await;
    server.stop().await;
    drop(server);
    let server = NatsServer::start(options).await.unwrap();
    assert_eq!(stream(&server).await.get_info().await.unwrap().state.messages, 1);

    let temporary = NatsServer::start(NatsOptions::default()).await.unwrap();
    let (dir, pid) = (temporary.dir().to_owned(), temporary.pid().unwrap());
    drop(temporary);
    assert!(!dir.exists() && is_gone(pid));
}

#[tokio::test]
async fn a_given_configuration_counts_and_its_users_are_asked_for() {
    let text = "port: 4222\njetstream { sync_interval: always }\n\
                authorization { users = [{ user: worker, password: secret }] }";
    let options = NatsOptions { config: NatsConfig::Text(text.into()), ..NatsOptions::default() };
    let server = NatsServer::start(options).await.unwrap();
    assert_ne!(server.port(), 4222, "the address is ours to choose");
    assert!(async_nats::connect(server.url()).await.is_err(), "nobody comes in without a password");
    let options = async_nats::ConnectOptions::with_user_and_password("worker".into(), "secret".into());
    options.connect(server.url()).await.unwrap();
    let mode = std::fs::metadata(server.dir().join("nats.conf")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "passwords are for the owner only");
}

#[tokio::test]
async fn a_configuration_that_nats_refuses_is_told_in_its_own_words() {
    let options = NatsOptions { config: NatsConfig::Text("nonsense: {".into()), ..NatsOptions::default() };
    let error = NatsServer::start(options).await.unwrap_err();
    assert!(matches!(error, LocalError::Ended { program: "nats-server", .. }));
    assert!(error.to_string().contains("Parse error on line 1"), "{error}");
}

#[tokio::test]
async fn a_folder_has_one_owner_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let options = NatsOptions { dir: Some(folder.path().to_owned()), ..NatsOptions::default() };
    let first = NatsServer::start(options.clone()).await.unwrap();
    let error = NatsServer::start(options).await.unwrap_err();
    assert!(matches!(error, LocalError::InUse { .. }), "{error}");
    assert!(async_nats::connect(first.url()).await.is_ok(), "the first is not disturbed");
}

#[tokio::test]
async fn a_killed_postgres_comes_back_with_every_committed_row() {
    let mut postgres = Postgres::start(PostgresOptions::default()).await.unwrap();
    take_an_order(&postgres).await;
    for _ in 0..2 {
        let mut connection = PgConnection::connect(&postgres.url("shop")).await.unwrap();
        let backend: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
        let pid = postgres.pid().unwrap();
        postgres.kill9().await;
        assert!(is_gone(pid) && is_gone(backend.try_into().unwrap()), "backends go with the postmaster");
        postgres.restart().await.unwrap();
        take_an_order(&postgres).await;
    }
    assert_eq!(count(&postgres).await, 3);
}

#[tokio::test]
async fn durable_data_outlives_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        PostgresOptions { dir: Some(folder.path().join("postgres")), durable: true, ..PostgresOptions::default() };
    let mut postgres = Postgres::start(options.clone()).await.unwrap();
    let mut connection = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
    let fsync: String = sqlx::query_scalar("show fsync").fetch_one(&mut connection).await.unwrap();
    assert_eq!(fsync, "on");
    take_an_order(&postgres).await;
    postgres.stop().await;
    drop(postgres);
    let postgres = Postgres::start(options).await.unwrap();
    assert_eq!(count(&postgres).await, 1);
    let dir = postgres.dir().to_owned();
    remove_data(&dir, postgres);
}

#[tokio::test]
async fn root_may_keep_its_data_where_postgres_cannot_go() {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let wanted = home.path().join("a folder/postgres");
    let options = PostgresOptions { dir: Some(wanted.clone()), ..PostgresOptions::default() };
    let postgres = Postgres::start(options.clone()).await.unwrap();
    take_an_order(&postgres).await;
    let dir = postgres.dir().to_owned();
    if geteuid().is_root() {
        assert!(dir.starts_with("/var/lib/omnibus"), "{}", dir.display());
    } else {
        assert_eq!(dir, wanted.canonicalize().unwrap());
    }
    drop(postgres);
    let postgres = Postgres::start(options).await.unwrap();
    assert_eq!(postgres.dir(), dir, "the same wish leads to the same place");
    assert_eq!(count(&postgres).await, 1);
    remove_data(&dir, postgres);
}

#[tokio::test]
async fn only_its_owner_reaches_the_socket_and_no_port_is_open() {
    let postgres = Postgres::shared().await.unwrap();
    let mode = std::fs::metadata(postgres.dir()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let mut connection = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
    let listens: String = sqlx::query_scalar("show listen_addresses").fetch_one(&mut connection).await.unwrap();
    assert_eq!(listens, "");
}

#[tokio::test]
async fn a_long_path_does_not_break_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("x".repeat(100));
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let postgres = Postgres::start(PostgresOptions { dir: Some(dir), ..PostgresOptions::default() }).await.unwrap();
    take_an_order(&postgres).await;
    assert_eq!(count(&postgres).await, 1);
}

#[tokio::test]
async fn tests_of_one_process_share_one_postgres() {
    let (one, two) = tokio::join!(Postgres::shared(), Postgres::shared());
    assert_eq!(one.unwrap().pid(), two.unwrap().pid());
}

/// A process that starts servers in `folder` and waits to be killed.
struct Owner {
    process: Child,
    nats: u32,
    postgres: u32,
    postgres_dir: PathBuf,
}

impl Owner {
    fn start(folder: Option<&Path>, temporary: Option<&Path>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "owner", "--nocapture"]).stdout(Stdio::piped());
        command.env("OWNER_FOLDER", folder.unwrap_or(Path::new("")));
        if let Some(temporary) = temporary {
            command.env("TMPDIR", temporary);
        }
        let mut process = command.spawn().unwrap();
        let line = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap)
            .find_map(|line| line.split_once("serving ").map(|(_, rest)| rest.to_owned()))
            .expect("the owner says when its servers are up");
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap();
        Owner { process, nats: word().parse().unwrap(), postgres: word().parse().unwrap(), postgres_dir: word().into() }
    }

    fn killed(mut self) -> Self {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self
    }

    /// The shell that cleans up after it.
    fn afterlife(&self) -> u32 {
        let owner = self.process.id().to_string();
        let listing = Command::new("ps").args(["-A", "-o", "pid=,ppid=,command="]).output().map(|output| output.stdout);
        let lines: Vec<String> = match listing {
            Ok(listing) => String::from_utf8(listing).unwrap().lines().map(str::to_owned).collect(),
            Err(_) => proc_listing(),
        };
        let shell = lines.iter().find_map(|line| {
            let mut words = line.split_whitespace();
            let (pid, parent) = (words.next()?, words.next()?);
            (parent == owner && line.contains("omnibus-afterlife")).then(|| pid.parse().unwrap())
        });
        shell.expect("every owner has one")
    }
}

/// What `ps` would say, where it is not installed.
fn proc_listing() -> Vec<String> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    pids.filter_map(|path| {
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        let command = std::fs::read(path.join("cmdline")).ok()?;
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.to_owned();
        Some(format!(
            "{} {parent} {}",
            path.file_name()?.display(),
            String::from_utf8_lossy(&command).replace('\0', " ")
        ))
    })
    .collect()
}

#[tokio::test]
#[ignore = "a process of its own for the tests below"]
async fn owner() {
    let folder = std::env::var("OWNER_FOLDER").ok().filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let options = NatsOptions { dir: folder.as_ref().map(|folder| folder.join("nats")), ..NatsOptions::default() };
    let nats = NatsServer::start(options).await.unwrap();
    let options = PostgresOptions { dir: folder.map(|folder| folder.join("postgres")), ..PostgresOptions::default() };
    let postgres = Postgres::start(options).await.unwrap();
    take_an_order(&postgres).await;
    println!("serving {} {} {}", nats.pid().unwrap(), postgres.pid().unwrap(), postgres.dir().display());
    std::future::pending::<()>().await;
}

#[test]
fn servers_and_temporary_folders_go_with_a_killed_owner() {
    let owner = Owner::start(None, None);
    assert!(!is_gone(owner.nats) && !is_gone(owner.postgres) && owner.postgres_dir.exists());
    let owner = owner.killed();
    wait_until("the servers are gone", || is_gone(owner.nats) && is_gone(owner.postgres));
    wait_until("the folder is gone", || !owner.postgres_dir.exists());
}

#[tokio::test]
async fn servers_that_a_killed_owner_left_running_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let owner = Owner::start(Some(folder.path()), None);
    kill9(owner.afterlife());
    let owner = owner.killed();
    assert!(!is_gone(owner.nats) && !is_gone(owner.postgres), "nobody is left to end them");

    let options = NatsOptions { dir: Some(folder.path().join("nats")), ..NatsOptions::default() };
    let nats = NatsServer::start(options).await.unwrap();
    let options = PostgresOptions { dir: Some(folder.path().join("postgres")), ..PostgresOptions::default() };
    let postgres = Postgres::start(options).await.unwrap();
    assert!(is_gone(owner.nats) && is_gone(owner.postgres));
    assert!(async_nats::connect(nats.url()).await.is_ok());
    assert_eq!(count(&postgres).await, 1);
}

#[test]
fn processes_that_start_at_once_share_one_template() {
    let temporary = tempfile::tempdir().unwrap();
    std::fs::set_permissions(temporary.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let owners: Vec<_> = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..3).map(|_| scope.spawn(|| Owner::start(None, Some(temporary.path())))).collect();
        starting.into_iter().map(|owner| owner.join().unwrap()).collect()
    });
    for owner in owners {
        owner.killed();
    }
    wait_until("only the template is left", || {
        let left = std::fs::read_dir(temporary.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left.map(|name| name.into_string().unwrap()).collect();
        matches!(&left[..], [template] if template.starts_with("omnibus-pg-template-"))
    });
}

/// What root's PostgreSQL keeps outside the temporary folder of a test.
fn remove_data(dir: &Path, postgres: Postgres) {
    drop(postgres);
    std::fs::remove_dir_all(dir).unwrap();
}
