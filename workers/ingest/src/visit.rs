//! Plain HTTP that a domain answers itself: handed over as it came, answered as the domain says. No credential of ours
//! is asked for, and none is passed on.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_nats::HeaderMap as BusHeaders;
use axum::body::Body;
use axum::extract::{ConnectInfo, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use omnibus_runtime::{Reply, Visit};
use omnibus_schemas::body::encode;
use omnibus_schemas::{Encoding, HookEntry, headers};
use tokio_util::io::ReaderStream;

use crate::door::Shared;
use crate::observe::Observed;
use crate::problem::Problem;
use crate::{accept, ask, peer};

/// A hook with all that can be worked out once.
pub(crate) struct HookRoute {
    pub(crate) entry: HookEntry,
    pub(crate) label: Arc<str>,
    pub(crate) subject: String,
    /// The names in the path, in order.
    pub(crate) params: Vec<String>,
}

/// Answers one request.
pub(crate) async fn answer(
    door: &Arc<Shared>,
    route: &HookRoute,
    path: &RawPathParams,
    request: Request,
    observed: &Observed,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = accept::read_body(door, &parts.headers, body, route.entry.max_body).await?;
    let visit = Visit { body: body.into(), ..visit(door, route, path, &parts) };
    let mut map = BusHeaders::new();
    map.insert(headers::SOURCE, accept::SOURCE);
    map.insert(headers::TRACEPARENT, observed.trace.to_string().as_str());
    map.insert(headers::CONTENT_TYPE, Encoding::MessagePack.content_type());
    let message = encode(Encoding::MessagePack, &visit).into();
    let answer = ask::send(&door.bus, &route.subject, map, message, door.settings.query_timeout()).await?;
    let reply = Reply::read(&answer.payload).ok_or_else(|| {
        tracing::error!(subject = route.subject, "a hook's reply can't be read");
        Problem::worker_failed("The worker's reply can't be read. Its version differs from the door's.")
    })?;
    respond(door, route, reply).await
}

fn visit(door: &Shared, route: &HookRoute, path: &RawPathParams, parts: &Parts) -> Visit {
    let values: BTreeMap<&str, &str> = path.iter().collect();
    let param =
        |(n, name): (usize, &String)| Some((name.clone(), (*values.get(crate::fields::param(n).as_str())?).to_owned()));
    let seen = |name: &&'static str| Some(((*name).to_owned(), parts.headers.get(*name)?.to_str().ok()?.to_owned()));
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let peer = peer.unwrap_or(IpAddr::from([0, 0, 0, 0]));
    Visit {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        params: route.params.iter().enumerate().filter_map(param).collect(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: route.entry.headers.iter().filter_map(seen).collect(),
        host: host(&parts.headers, &parts.uri),
        address: peer::caller(peer, &parts.headers, &door.settings.trusted_proxies).to_string(),
        body: Vec::new(),
    }
}

/// The host that the client means. What a proxy or a client writes into other headers is not asked.
pub(crate) fn host(headers: &HeaderMap, uri: &Uri) -> String {
    let named = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let named = uri.authority().map(|authority| authority.as_str()).or(named).unwrap_or_default();
    let name = named.rsplit_once('@').map_or(named, |(_, host)| host);
    // An IPv6 address stands in brackets and keeps them.
    let name = match name.rsplit_once(':') {
        Some((before, port)) if port.bytes().all(|b| b.is_ascii_digit()) => before,
        _ => name,
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

async fn respond(door: &Shared, route: &HookRoute, reply: Reply) -> Result<Response, Problem> {
    let faulty = |what: &str| {
        tracing::error!(subject = route.subject, what, "a hook's reply can't be sent");
        Problem::worker_failed("The worker's reply can't be sent. The door's log says why.")
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(reply.code()).map_err(|_| faulty("its status"))?;
    for (name, value) in reply.headers() {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| faulty("the name of a header"))?;
        let value = HeaderValue::from_str(value).map_err(|_| faulty("the value of a header"))?;
        response.headers_mut().append(name, value);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let (bytes, object) = reply.into_body();
    let Some((bucket, name)) = object else {
        *response.body_mut() = bytes.into();
        return Ok(response);
    };
    let away = || Problem::bus_away("The bus does not answer; try again.").after(2);
    let store = door.bus.jetstream().get_object_store(&bucket).await.map_err(|_| away())?;
    let object = match store.get(&name).await {
        Ok(object) => object,
        Err(error) if error.kind() == async_nats::jetstream::object_store::GetErrorKind::NotFound => {
            return Err(Problem::not_found("There is no such file."));
        }
        Err(_) => return Err(away()),
    };
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(object.info.size as u64));
    *response.body_mut() = Body::from_stream(ReaderStream::new(object));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_the_one_that_was_asked_for_and_nothing_else() {
        let of = |uri: &str, named: Option<&str>| {
            let mut request = axum::http::Request::builder().uri(uri).header("x-forwarded-host", "evil.example");
            if let Some(named) = named {
                request = request.header("host", named);
            }
            let parts = request.body(()).unwrap().into_parts().0;
            host(&parts.headers, &parts.uri)
        };
        assert_eq!(of("/login", Some("Shop.Example.com:8443")), "shop.example.com");
        assert_eq!(of("/login", Some("shop.example.com.")), "shop.example.com");
        assert_eq!(of("/login", Some("[::1]:8080")), "[::1]");
        assert_eq!(of("http://user@a.example:1/login", Some("b.example")), "a.example");
        assert_eq!(of("/login", None), "");
    }
}
