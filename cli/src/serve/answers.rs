//! The answers to requests that read.

use super::{State, metrics, page, watched::Status};
use crate::view::Shown;
use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use serde::Serialize;
use std::error::Error;

pub(super) type Shared = web::Data<State>;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn page(request: HttpRequest, state: Shared) -> HttpResponse {
    match page::render(&state, state.access.form_token(&request).as_deref()) {
        Ok(page) => typed("text/html; charset=utf-8", page),
        Err(error) => broken(&error),
    }
}

pub(super) async fn script() -> HttpResponse {
    typed("text/javascript; charset=utf-8", page::SCRIPT.to_owned())
}

pub(super) async fn style() -> HttpResponse {
    typed("text/css; charset=utf-8", page::STYLE.to_owned())
}

/// In the older format, if the client accepts that and not the newer one.
pub(super) async fn metrics(request: HttpRequest, state: Shared) -> HttpResponse {
    let accepted = request.headers().get(header::ACCEPT);
    let accepted = accepted
        .and_then(|accepted| accepted.to_str().ok())
        .unwrap_or_default();
    let wants_text = accepted.contains("text/") && !accepted.contains("openmetrics");
    let (kind, metrics) = if wants_text {
        (TEXT, metrics::text(&state))
    } else {
        (OPEN_METRICS, metrics::open_metrics(&state))
    };
    match metrics {
        Ok(metrics) => typed(kind, metrics),
        Err(error) => broken(&error),
    }
}

#[derive(Serialize)]
struct Databases {
    databases: Vec<Database>,
}

#[derive(Serialize)]
struct Database {
    name: String,
    up: bool,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    /// The age of the last result.
    age_ms: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    semaphores: Option<Vec<Shown>>,
}

fn databases(state: &State, with_semaphores: bool) -> Databases {
    let databases = state.databases.iter().map(|watched| {
        let seen = watched.seen();
        let status = watched.status(&seen);
        let semaphores = seen.snapshot.usages.iter().map(|usage| {
            let people = seen.snapshot.people.get(&usage.name);
            let (holders, waiters) = people.cloned().unwrap_or_default();
            Shown {
                usage: usage.clone(),
                holders,
                waiters,
            }
        });
        Database {
            name: watched.name.clone(),
            up: matches!(status, Status::Up),
            fault: match status {
                Status::Down(fault) => Some(fault),
                Status::Connecting => Some("no answer yet".to_owned()),
                Status::Up => None,
            },
            age_ms: seen.age().map(|age| age.as_millis()),
            semaphores: with_semaphores.then(|| semaphores.collect()),
        }
    });
    Databases {
        databases: databases.collect(),
    }
}

pub(super) async fn semaphores(state: Shared) -> HttpResponse {
    json(StatusCode::OK, &databases(&state, true))
}

/// 503 if a database is down.
pub(super) async fn health(state: Shared) -> HttpResponse {
    let all = databases(&state, false);
    let is_healthy = all.databases.iter().all(|database| database.up);
    let status = if is_healthy {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(status, &all)
}

fn typed(kind: &'static str, body: String) -> HttpResponse {
    HttpResponse::Ok().content_type(kind).body(body)
}

fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status).json(body)
}

pub(super) fn plain(status: StatusCode, text: &str) -> HttpResponse {
    HttpResponse::build(status)
        .content_type("text/plain; charset=utf-8")
        .body(format!("{text}\n"))
}

pub(super) fn broken(error: &impl Error) -> HttpResponse {
    plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
}
