//! The routes, straight from the catalogue.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use omnibus_schemas::catalogue::Route;
use omnibus_schemas::{Catalogue, CommandEntry, Method, QueryEntry};

use crate::door::Shared;
use crate::fields::{self, Fields};
use crate::observe::Observed;
use crate::problem::Problem;
use crate::visit::{self, HookRoute};
use crate::{accept, ask};

/// A command with all that can be worked out once.
pub(crate) struct CommandRoute {
    pub(crate) entry: CommandEntry,
    pub(crate) method: Method,
    pub(crate) fields: Fields,
    /// `POST /api/v1/email/send`
    pub(crate) label: Arc<str>,
    pub(crate) ce_type: String,
    /// The subject without its tenant.
    pub(crate) subject: String,
}

/// A query with all that can be worked out once.
pub(crate) struct QueryRoute {
    pub(crate) entry: QueryEntry,
    /// Whether its fields stand in the body rather than in the query string.
    pub(crate) in_body: bool,
    pub(crate) fields: Fields,
    pub(crate) label: Arc<str>,
    pub(crate) subject: String,
}

type Path = Result<RawPathParams, RawPathParamsRejection>;

/// A router for every entry that has a route.
pub(crate) fn of(catalogue: &Catalogue, door: &Arc<Shared>) -> Router {
    let mut paths: BTreeMap<String, MethodRouter<(), Infallible>> = BTreeMap::new();
    let mut add = |route: &Route, handler: MethodRouter<(), Infallible>| {
        let path = paths.entry(place(route)).or_default();
        *path = std::mem::take(path).merge(handler);
    };
    for entry in catalogue.commands() {
        let Some(route) = &entry.http else { continue };
        let command = Arc::new(CommandRoute {
            method: route.method,
            fields: Fields::of(&(entry.schema)(), route),
            label: label(route),
            ce_type: entry.ce_type(),
            subject: entry.subject(""),
            entry: entry.clone(),
        });
        let door = door.clone();
        let handler = move |path: Path, request: Request| {
            let (door, command) = (door.clone(), command.clone());
            async move { take(&door, &command, path, request).await }
        };
        add(route, on(filter(route.method), handler));
    }
    for entry in catalogue.queries() {
        let Some(route) = &entry.http else { continue };
        let query = Arc::new(QueryRoute {
            in_body: route.method != Method::Get,
            fields: Fields::of(&(entry.schema)(), route),
            label: label(route),
            subject: entry.subject(),
            entry: entry.clone(),
        });
        let door = door.clone();
        let handler = move |path: Path, request: Request| {
            let (door, query) = (door.clone(), query.clone());
            async move { tell(&door, &query, path, request).await }
        };
        add(route, on(filter(route.method), handler));
    }
    for entry in catalogue.hooks() {
        let hook = Arc::new(HookRoute {
            label: label(&entry.http),
            subject: entry.subject(),
            params: entry.http.params().map(str::to_owned).collect(),
            entry: entry.clone(),
        });
        let door = door.clone();
        let handler = move |path: Path, request: Request| {
            let (door, hook) = (door.clone(), hook.clone());
            async move { receive(&door, &hook, path, request).await }
        };
        add(&entry.http, on(filter(entry.http.method), handler));
    }
    paths.into_iter().fold(Router::new(), |router, (path, handlers)| router.route(&path, handlers))
}

async fn take(door: &Arc<Shared>, route: &CommandRoute, path: Path, request: Request) -> Response {
    let mut observed = Observed::start(&route.label, request.headers());
    let result = match path {
        Ok(path) => accept::answer(door, route, &path, request, &mut observed).await,
        Err(_) => Err(bad_path()),
    };
    observed.finish(result)
}

async fn tell(door: &Arc<Shared>, route: &QueryRoute, path: Path, request: Request) -> Response {
    let mut observed = Observed::start(&route.label, request.headers());
    let result = match path {
        Ok(path) => ask::answer(door, route, &path, request, &mut observed).await,
        Err(_) => Err(bad_path()),
    };
    observed.finish(result)
}

async fn receive(door: &Arc<Shared>, route: &HookRoute, path: Path, request: Request) -> Response {
    let observed = Observed::start(&route.label, request.headers());
    let result = match path {
        Ok(path) => visit::answer(door, route, &path, request, &observed).await,
        Err(_) => Err(bad_path()),
    };
    observed.finish(result)
}

fn bad_path() -> Problem {
    Problem::malformed("The path is not UTF-8 in percent encoding.")
}

/// No such route.
pub(crate) async fn nowhere() -> Response {
    Problem::no_route("There is no such route. /docs shows all of them.").into_response()
}

/// No such method; the router adds `Allow`.
pub(crate) async fn wrong_method() -> Response {
    Problem::method_not_allowed("The route has not this method. `Allow` names those that it has.").into_response()
}

fn label(route: &Route) -> Arc<str> {
    format!("{} {}", route.method.as_str(), route.path).into()
}

fn filter(method: Method) -> MethodFilter {
    match method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Delete => MethodFilter::DELETE,
    }
}

/// The path with its parameters named by position: `GET /x/{id}` and `PUT /x/{x_id}` are one place to the router.
fn place(route: &Route) -> String {
    let mut n = 0;
    let segments = route.path.split('/').map(|segment| match segment.starts_with('{') {
        true => {
            n += 1;
            format!("{{{}}}", fields::param(n - 1))
        }
        false => segment.to_owned(),
    });
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_named_by_their_place() {
        let route = Route { method: Method::Get, path: "/a/{x}/b/{y}".into() };
        assert_eq!(place(&route), "/a/{p0}/b/{p1}");
    }
}
