//! Connections to one SMTP server, kept for the next mail. lettre has a pool of its own, but not one that lends a
//! connection command by command, and only that way it is known how far a mail came.

use std::fmt;
use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Ehlo, Rset};
use lettre::transport::smtp::extension::ClientId;
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::reply;
use crate::settings::{Settings, TlsMode};

/// A connection that rested longer is not worth the question whether it still stands.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// After a shorter rest the question costs more than it tells: if nobody is there, MAIL finds out, before anything has left.
const SHORTEST_REST: Duration = Duration::from_secs(1);
/// How long that question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the server is reached.
pub(super) struct Server {
    host: String,
    port: u16,
    tls: Encryption,
    credentials: Option<Credentials>,
    helo: ClientId,
    pub(super) timeout: Duration,
}

enum Encryption {
    None,
    Starttls(TlsParameters),
    Tls(TlsParameters),
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Server {
    pub(super) fn new(host: &str, settings: &Settings) -> anyhow::Result<Self> {
        let tls = || tls(host, settings);
        let tls = match settings.tls_mode() {
            TlsMode::None => Encryption::None,
            TlsMode::Starttls => Encryption::Starttls(tls()?),
            TlsMode::Tls => Encryption::Tls(tls()?),
        };
        let credentials = match (&settings.smtp_username, &settings.smtp_password) {
            (Some(name), Some(password)) => Some(Credentials::new(name.clone(), password.expose_secret().to_owned())),
            (None, None) => None,
            (Some(_), None) => anyhow::bail!("SMTP_USERNAME is set without SMTP_PASSWORD"),
            (None, Some(_)) => anyhow::bail!("SMTP_PASSWORD is set without SMTP_USERNAME"),
        };
        if credentials.is_some() && matches!(tls, Encryption::None) {
            tracing::warn!("SMTP_TLS=none: the SMTP password crosses the network unencrypted");
        }
        let helo = match &settings.smtp_helo {
            Some(name) if name.chars().all(|c| c.is_ascii_graphic()) => ClientId::Domain(name.clone()),
            Some(_) => anyhow::bail!("SMTP_HELO must be a host name such as mailer.example.com"),
            None => ClientId::default(),
        };
        Ok(Server {
            host: host.to_owned(),
            port: settings.smtp_port,
            tls,
            credentials,
            helo,
            timeout: settings.timeout(),
        })
    }

    /// A connection, and whether its server pipelines.
    async fn connect(&self) -> anyhow::Result<(AsyncSmtpConnection, bool)> {
        let place = (self.host.as_str(), self.port);
        let away = |words: String| anyhow!("can't connect to {}:{}: {words}", self.host, self.port);
        let connected = match &self.tls {
            Encryption::Tls(tls) => {
                AsyncSmtpConnection::connect_tokio1(place, None, &self.helo, Some(tls.clone()), None).await
            }
            Encryption::None | Encryption::Starttls(_) => {
                let stream = TcpStream::connect(place).await.map_err(|error| away(error.to_string()))?;
                // The final dot is a write of its own: it must not wait until what stands before it is acknowledged, which
                // a server's machine puts off for 40 ms. A stream with TLS from the first byte is lettre's to make.
                stream.set_nodelay(true).map_err(|error| away(error.to_string()))?;
                AsyncSmtpConnection::connect_with_transport(Box::new(stream), &self.helo).await
            }
        };
        let mut connection = connected.map_err(|error| away(reply::words(&error)))?;
        if let Encryption::Starttls(tls) = &self.tls {
            if !connection.can_starttls() {
                return Err(anyhow!(
                    "{} offers no STARTTLS; set SMTP_TLS=tls if it speaks TLS from the first byte, \
                     or SMTP_TLS=none if it stands on a trusted network",
                    self.host
                ));
            }
            let upgraded = connection.starttls(tls.clone(), &self.helo).await;
            upgraded.map_err(|e| anyhow!("STARTTLS with {} failed: {}", self.host, reply::words(&e)))?;
        }
        let pipelining = pipelines(&mut connection, &self.helo).await.map_err(|error| away(reply::words(&error)))?;
        if let Some(credentials) = &self.credentials {
            let welcome = connection.auth(DEFAULT_MECHANISMS, credentials).await;
            welcome.map_err(|e| {
                anyhow!("{} refused the login (SMTP_USERNAME, SMTP_PASSWORD): {}", self.host, reply::words(&e))
            })?;
        }
        Ok((connection, pipelining))
    }
}

/// Does the server take several commands in one piece (RFC 2920)? lettre asks for what it can do as well, and keeps
/// nothing of this.
async fn pipelines(connection: &mut AsyncSmtpConnection, helo: &ClientId) -> Result<bool, Error> {
    match connection.command(Ehlo::new(helo.clone())).await {
        Ok(response) => Ok(response.message().any(|line| line.trim().eq_ignore_ascii_case("PIPELINING"))),
        // It does not like to be asked twice.
        Err(error) if error.status().is_some() => Ok(false),
        Err(error) => Err(error),
    }
}

fn tls(host: &str, settings: &Settings) -> anyhow::Result<TlsParameters> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = &settings.smtp_ca_file {
        let pem = std::fs::read(path).with_context(|| format!("can't read SMTP_CA_FILE {}", path.display()))?;
        let certificate = Certificate::from_pem(&pem);
        let certificate = certificate.with_context(|| format!("SMTP_CA_FILE {} is not PEM", path.display()))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().context("can't set up TLS for the SMTP server")
}

/// The connections. Those in use never number more than the pool's size, nor do those at rest.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) server: Server,
    free: Semaphore,
    resting: Mutex<Vec<Resting>>,
}

struct Resting {
    connection: AsyncSmtpConnection,
    pipelining: bool,
    since: Instant,
    /// Did it end with a mail that was taken?
    clean: bool,
}

impl fmt::Debug for Resting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resting").field("since", &self.since).finish_non_exhaustive()
    }
}

/// A connection on loan. Dropped, it is closed; [`Loan::give_back`] keeps it.
pub(super) struct Loan<'p> {
    pub(super) connection: AsyncSmtpConnection,
    /// Does its server take several commands in one piece?
    pub(super) pipelining: bool,
    /// Did it carry a mail before?
    pub(super) used: bool,
    pool: &'p Pool,
    _permit: SemaphorePermit<'p>,
}

impl Pool {
    pub(super) fn new(server: Server, size: u16) -> Self {
        Pool { server, free: Semaphore::new(size.into()), resting: Mutex::default() }
    }

    /// A connection that answers, or a new one. No mail has left when this fails.
    pub(super) async fn lend(&self) -> anyhow::Result<Loan<'_>> {
        let limit = self.server.timeout;
        let free = async { self.free.acquire().await.context("the pool is closed") };
        let permit = within(limit, free, "waiting for a free connection (SMTP_POOL)").await?;
        within(limit, self.standing(permit), "connecting").await
    }

    async fn standing<'p>(&'p self, permit: SemaphorePermit<'p>) -> anyhow::Result<Loan<'p>> {
        while let Some(mut resting) = self.rouse() {
            let rested = resting.since.elapsed();
            if rested >= LONGEST_REST {
                continue;
            }
            if !(resting.clean && rested < SHORTEST_REST) {
                // RSET is also the question whether anybody is still there: servers close what rests.
                let answer = tokio::time::timeout(PATIENCE, resting.connection.command(Rset)).await;
                if !matches!(answer, Ok(Ok(_))) {
                    continue;
                }
            }
            let Resting { connection, pipelining, .. } = resting;
            return Ok(Loan { connection, pipelining, used: true, pool: self, _permit: permit });
        }
        let (connection, pipelining) = self.server.connect().await?;
        Ok(Loan { connection, pipelining, used: false, pool: self, _permit: permit })
    }

    fn rouse(&self) -> Option<Resting> {
        self.resting.lock().expect("no holder of this lock panics").pop()
    }
}

impl Loan<'_> {
    /// For connections whose talk stands between two commands.
    pub(super) fn give_back(self) {
        self.rest(false);
    }

    /// For connections by which a mail was taken: of that one, nothing is left to be undone.
    pub(super) fn give_back_clean(self) {
        self.rest(true);
    }

    fn rest(self, clean: bool) {
        let Loan { connection, pipelining, pool, .. } = self;
        let rested = Resting { connection, pipelining, since: Instant::now(), clean };
        pool.resting.lock().expect("no holder of this lock panics").push(rested);
    }
}

async fn within<T>(limit: Duration, what: impl Future<Output = anyhow::Result<T>>, doing: &str) -> anyhow::Result<T> {
    match tokio::time::timeout(limit, what).await {
        Ok(result) => result,
        Err(_) => Err(anyhow!("{doing} took longer than {} s", limit.as_secs())),
    }
}
