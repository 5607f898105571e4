//! The door as a whole: bind, serve, drain.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum_server::tls_rustls::RustlsConfig;
use omnibus_runtime::seal::Seal;
use omnibus_runtime::{Bus, Health};
use omnibus_schemas::Catalogue;
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::caller::{self, Caller};
use crate::certificates::Certificates;
use crate::idempotency::Bodies;
use crate::jwt::{JwtKeysError, Verifier};
use crate::keyring::KeyRing;
use crate::limits::Limits;
use crate::observe::{self, Observed};
use crate::outcome::Outcomes;
use crate::problem::Problem;
use crate::settings::Settings;
use crate::shed::Shedding;
use crate::{connect, docs, linger, peer, ready, routes, secure, tls};

/// How long a connection may stand without a whole request line and headers.
const HEADERS: Duration = Duration::from_secs(30);

/// What a door is made of.
#[derive(Debug, Clone)]
pub struct DoorParts {
    /// The connection of the bus user `ingest`.
    pub bus: Bus,
    /// What there is to call.
    pub catalogue: Catalogue,
    /// How it is set up.
    pub settings: Settings,
    /// What else is served at the same address: the WebSocket door, where both are one process.
    pub beside: Option<Router>,
    /// Where it says whether it is ready.
    pub health: Health,
    /// Cancelled when it shall stop.
    pub stop: CancellationToken,
}

/// A door that is bound to its address and not open yet.
pub struct Door {
    shared: Arc<Shared>,
    app: Router,
    first: Listening,
    /// Beside the first, for TLS.
    second: Option<Listening>,
    health: Health,
}

/// Connections that may wait to be taken: what is beyond is reset by the system, and a busy moment brings many at once.
const WAITING: u32 = 4096;

/// Binds an address, for a server of axum-server.
///
/// # Errors
/// The system's, such as that another program has it.
pub fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    // Another door may have been here a moment ago.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)?.into_std()
}

/// An address that is bound.
struct Listening {
    listener: std::net::TcpListener,
    address: SocketAddr,
    tls: Option<RustlsConfig>,
}

/// Why a door can't open.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The address.
    #[error("can't listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The keys for tokens.
    #[error(transparent)]
    Tokens(#[from] JwtKeysError),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// A setting.
    #[error("{setting}: {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong with it and what would do.
        reason: String,
    },
    /// While serving.
    #[error("the HTTP server failed: {0}")]
    Serve(std::io::Error),
}

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) bus: Bus,
    pub(crate) catalogue: Catalogue,
    pub(crate) settings: Settings,
    pub(crate) bodies: Bodies,
    pub(crate) outcomes: Outcomes,
    pub(crate) shedding: Shedding,
    pub(crate) stop: CancellationToken,
    ring: KeyRing,
    tokens: Verifier,
    limits: Limits,
    /// Of tenants' hosts, where the door speaks TLS and can open their keys.
    pub(crate) certificates: Option<Certificates>,
}

impl Shared {
    /// Lets a caller in: his credential, his tenant's limit, his scope; in this order.
    pub(crate) fn admit(&self, headers: &HeaderMap, scope: &str, observed: &mut Observed) -> Result<Caller, Problem> {
        let caller = caller::authenticate(headers, &self.ring, &self.tokens)?;
        observed.tenant = Some(caller.tenant.clone());
        match self.limits.by_tenant.spend(&caller.tenant) {
            Ok(left) => observed.left = left,
            Err((problem, left)) => {
                observed.left = Some(left);
                return Err(problem);
            }
        }
        caller.demand(scope)?;
        Ok(caller)
    }
}

impl Door {
    /// Binds the addresses. Requests wait until [`Door::serve`].
    pub async fn new(parts: DoorParts) -> Result<Self, DoorError> {
        let DoorParts { bus, catalogue, settings, beside, health, stop } = parts;
        ready::check(&settings)?;
        let certificates = certificates(&settings)?;
        ready::unknown(&health, certificates.is_some());
        let tls = tls::of(&settings, certificates.clone())?;
        let shared = Arc::new(Shared {
            tokens: Verifier::of(&settings)?,
            limits: Limits::new(settings.rate_limit_ip, settings.rate_limit_tenant),
            ring: KeyRing::default(),
            bodies: Bodies::default(),
            outcomes: Outcomes::default(),
            shedding: Shedding::new(&catalogue, settings.shed_after_ms),
            certificates,
            bus,
            catalogue,
            settings,
            stop,
        });
        let app = app(&shared, beside.unwrap_or_default(), &health)?;
        let listen = |address: SocketAddr, tls| {
            let bound = || -> std::io::Result<_> {
                let listener = self::listen(address)?;
                let address = listener.local_addr()?;
                Ok(Listening { listener, address, tls })
            };
            bound().map_err(|error| DoorError::Listen { address, error })
        };
        let (first, second) = match (shared.settings.https_listen, tls) {
            (Some(secure), Some(tls)) => (listen(shared.settings.http_listen, None)?, Some(listen(secure, Some(tls))?)),
            (Some(_), None) => {
                let reason = "needs TLS_CERT_FILE and TLS_KEY_FILE, or CERTIFICATE_KEY".to_owned();
                return Err(DoorError::Setting { setting: "HTTPS_LISTEN", reason });
            }
            (None, tls) => (listen(shared.settings.http_listen, tls)?, None),
        };
        Ok(Door { shared, app, first, second, health })
    }

    /// Where it listens; the real port if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.first.address
    }

    /// Where it listens for TLS beside that, if anywhere.
    pub fn secure_address(&self) -> Option<SocketAddr> {
        self.second.as_ref().map(|second| second.address)
    }

    /// `http://127.0.0.1:8080` or `https://..`.
    pub fn url(&self) -> String {
        let scheme = if self.first.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.first.address)
    }

    /// Serves until `stop` is cancelled and what was running then has finished, or its time was up.
    pub async fn serve(self) -> Result<(), DoorError> {
        let Door { shared, app, first, second, health } = self;
        let stop = shared.stop.clone();
        // The keys are followed for as long as a request runs.
        let end = CancellationToken::new();
        let _end = end.clone().drop_guard();
        tokio::spawn({
            let (ring, bus, health, end) = (shared.ring.clone(), shared.bus.clone(), health.clone(), end.clone());
            async move { ring.follow(bus, health, end).await }
        });
        if let Some(certificates) = shared.certificates.clone() {
            let (bus, health, end) = (shared.bus.clone(), health.clone(), end.clone());
            tokio::spawn(async move { certificates.follow(bus, health, end).await });
        }
        tokio::spawn({
            let (shared, health, end) = (shared.clone(), health.clone(), end.clone());
            async move { end.run_until_cancelled(ready::watch(&shared, &health)).await }
        });
        tokio::spawn({
            let (shared, end) = (shared.clone(), end.clone());
            async move { shared.limits.tidy(&end).await }
        });
        tokio::spawn({
            let (shared, end) = (shared.clone(), end.clone());
            async move { end.run_until_cancelled(shared.shedding.watch(&shared.bus)).await }
        });
        // With TLS beside it, the plain address leads those to https who can go there.
        let plain = match &second {
            Some(_) => app.clone().layer(middleware::from_fn_with_state(shared.clone(), secure::lead)),
            None => app.clone(),
        };
        let mut serving = tokio::task::JoinSet::new();
        serving.spawn(serve_at(first, plain, shared.settings.drain(), stop.clone(), end.clone()));
        if let Some(second) = second {
            serving.spawn(serve_at(second, app, shared.settings.drain(), stop, end.clone()));
        }
        while let Some(ended) = serving.join_next().await {
            ended.map_err(|error| DoorError::Serve(std::io::Error::other(error)))??;
        }
        Ok(())
    }
}

/// Serves at one address until `stop` and the end of what was running then.
async fn serve_at(
    at: Listening,
    app: Router,
    drain: Duration,
    stop: CancellationToken,
    end: CancellationToken,
) -> Result<(), DoorError> {
    let Listening { listener, address, tls } = at;
    let handle = axum_server::Handle::new();
    tokio::spawn({
        let handle = handle.clone();
        async move {
            if end.run_until_cancelled(stop.cancelled()).await.is_some() {
                tracing::info!(%address, "the door closes");
                handle.graceful_shutdown(Some(drain));
            }
        }
    });
    tracing::info!(%address, tls = tls.is_some(), "the door is open");
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    let bind = |error| DoorError::Listen { address, error };
    match tls {
        Some(config) => {
            let mut server = axum_server::from_tcp_rustls(listener, config).map_err(bind)?.handle(handle);
            server.http_builder().http1().header_read_timeout(HEADERS);
            server.first_request_timeout(HEADERS).serve(service).await
        }
        None => {
            let mut server = axum_server::from_tcp(listener).map_err(bind)?.handle(handle);
            server.http_builder().http1().header_read_timeout(HEADERS);
            server.first_request_timeout(HEADERS).serve(service).await
        }
    }
    .map_err(DoorError::Serve)
}

/// Those of tenants' hosts, if the settings have what opens their keys.
fn certificates(settings: &Settings) -> Result<Option<Certificates>, DoorError> {
    let Some(text) = &settings.certificate_key else { return Ok(None) };
    let seal = Seal::of_text(text.expose_secret())
        .map_err(|error| DoorError::Setting { setting: "CERTIFICATE_KEY", reason: error.to_string() })?;
    // A plain door has no use for them: in one process with the brander it finds the key set for that one.
    let tls = settings.https_listen.is_some() || settings.tls_cert_file.is_some();
    Ok(tls.then(|| Certificates::new(seal)))
}

fn app(shared: &Arc<Shared>, beside: Router, health: &Health) -> Result<Router, DoorError> {
    let limited = routes::of(&shared.catalogue, shared)
        .merge(docs::routes(&shared.catalogue))
        .merge(connect::routes(shared))
        .merge(beside)
        .fallback(routes::nowhere)
        .method_not_allowed_fallback(routes::wrong_method)
        .layer(middleware::from_fn_with_state(shared.clone(), limit_by_address));
    // Probes and scrapers are not limited: a flood must not make the door look dead.
    let mut app = limited.merge(health.routes().method_not_allowed_fallback(routes::wrong_method));
    if let Some(cors) = cors(&shared.settings.cors_origins)? {
        app = app.layer(cors);
    }
    let app = app.layer(CatchPanicLayer::custom(panicked)).layer(middleware::from_fn(observe::measure));
    Ok(app.layer(middleware::map_request(async |request: Request| linger::over(request))))
}

async fn limit_by_address(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let peer = peer.unwrap_or(IpAddr::from([0, 0, 0, 0]));
    let caller = peer::caller(peer, request.headers(), &shared.settings.trusted_proxies);
    match shared.limits.by_address.spend(&peer::bucket(caller)) {
        Ok(left) => {
            let mut response = next.run(request).await;
            // A tenant's limit, once there is a tenant, is the nearer one.
            if let Some(left) = left
                && !response.headers().contains_key("ratelimit")
            {
                left.tell(response.headers_mut());
            }
            response
        }
        Err((problem, left)) => {
            let mut response = problem.into_response();
            left.tell(response.headers_mut());
            response
        }
    }
}

fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    // What the panic said may hold a body: the panic hook has it on standard error, the caller gets none of it.
    tracing::error!("a request ended in a panic");
    Problem::internal("The door failed. Whether the command was accepted is not known.").into_response()
}

fn cors(origins: &[String]) -> Result<Option<CorsLayer>, DoorError> {
    if origins.is_empty() {
        return Ok(None);
    }
    let mut allowed = Vec::new();
    for origin in origins {
        let fits = origin.starts_with("https://") || origin.starts_with("http://");
        match HeaderValue::from_str(origin.trim_end_matches('/')) {
            Ok(value) if fits => allowed.push(value),
            _ => {
                let reason = format!("{origin:?} is not an origin such as https://app.example.com");
                return Err(DoorError::Setting { setting: "CORS_ORIGINS", reason });
            }
        }
    }
    let names = |names: &[&'static str]| names.iter().map(|name| HeaderName::from_static(name)).collect::<Vec<_>>();
    Ok(Some(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(allowed))
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
            .allow_headers(names(&[
                "authorization",
                "content-type",
                "idempotency-key",
                "prefer",
                "traceparent",
                "x-api-key",
            ]))
            .expose_headers(names(&[
                "link",
                "location",
                "preference-applied",
                "ratelimit",
                "ratelimit-policy",
                "retry-after",
            ]))
            .max_age(Duration::from_secs(3600)),
    ))
}
