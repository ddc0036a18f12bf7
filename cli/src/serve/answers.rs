//! The answers to requests.

use super::{
    State,
    access::is_from_here,
    changes::{self, Change},
    metrics, page,
    watched::Status,
};
use crate::view::Shown;
use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use serde::{Deserialize, Serialize};
use std::{error::Error, sync::Arc};

pub(super) type Shared = web::Data<State>;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn page(request: HttpRequest, state: Shared) -> HttpResponse {
    match page::render(&state, state.access.form_token(&request)) {
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

#[derive(Deserialize)]
pub(super) struct LogIn {
    token: String,
}

pub(super) async fn log_in(
    request: HttpRequest,
    state: Shared,
    form: web::Form<LogIn>,
) -> HttpResponse {
    match state
        .access
        .log_in(&form.token)
        .filter(|_| is_from_here(&request))
    {
        Some(cookie) => {
            let mut answer = see_page();
            answer
                .add_cookie(&cookie)
                .map_or_else(|error| broken(&error), |()| answer)
        }
        None => refused("the token is wrong, or the form comes from another page"),
    }
}

#[derive(Deserialize)]
pub(super) struct Form {
    form: String,
    #[serde(default)]
    database: usize,
    #[serde(default)]
    semaphore: String,
    size: Option<u32>,
    ticket: Option<i64>,
    pid: Option<i32>,
}

pub(super) async fn log_out(
    request: HttpRequest,
    state: Shared,
    form: web::Form<Form>,
) -> HttpResponse {
    if !state.access.accepts(&request, &form.form) {
        return not_accepted();
    }
    let mut answer = see_page();
    let removed = answer.add_cookie(&state.access.log_out());
    removed.map_or_else(|error| broken(&error), |()| answer)
}

pub(super) async fn resize(
    request: HttpRequest,
    state: Shared,
    form: web::Form<Form>,
) -> HttpResponse {
    let Form {
        semaphore, size, ..
    } = &*form;
    let change = size.map(|size| Change::Resize {
        name: semaphore.clone(),
        size,
    });
    change_by(&request, &state, &form, change).await
}

pub(super) async fn end(
    request: HttpRequest,
    state: Shared,
    form: web::Form<Form>,
) -> HttpResponse {
    let Form {
        semaphore,
        ticket,
        pid,
        ..
    } = &*form;
    let change = ticket.map(|ticket| Change::End {
        name: semaphore.clone(),
        ticket,
        pid: *pid,
    });
    change_by(&request, &state, &form, change).await
}

async fn change_by(
    request: &HttpRequest,
    state: &State,
    form: &Form,
    change: Option<Change>,
) -> HttpResponse {
    if !state.access.accepts(request, &form.form) {
        return not_accepted();
    }
    let (Some(watched), Some(change)) = (state.databases.get(form.database), change) else {
        return plain(StatusCode::BAD_REQUEST, "the form is not complete");
    };
    let watched = Arc::clone(watched);
    match web::block(move || changes::start(&watched, change)).await {
        Ok(Ok(true)) => see_page(),
        Ok(Ok(false)) => plain(
            StatusCode::CONFLICT,
            "another change of this database is in progress: try again when it has ended",
        ),
        Ok(Err(fault)) => plain(StatusCode::INTERNAL_SERVER_ERROR, &fault.to_string()),
        Err(error) => broken(&error),
    }
}

/// So that a reload does not send the form again.
fn see_page() -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, "/"))
        .finish()
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

fn refused(text: &str) -> HttpResponse {
    plain(StatusCode::FORBIDDEN, text)
}

fn not_accepted() -> HttpResponse {
    refused("enter the token first, and send the form from this server's page: reload it")
}

fn broken(error: &impl Error) -> HttpResponse {
    plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
}
