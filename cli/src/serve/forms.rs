//! The forms by which operators log in and make changes.

use super::{
    State,
    answers::{Shared, broken, plain},
    changes::{self, Change},
};
use crate::secret::decode;
use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
pub(super) struct LogIn {
    token: String,
}

pub(super) async fn log_in(
    request: HttpRequest,
    state: Shared,
    form: web::Form<LogIn>,
) -> HttpResponse {
    match state.access.log_in(&request, &form.token) {
        Ok(Some(cookie)) => {
            let mut answer = see_page();
            answer
                .add_cookie(&cookie)
                .map_or_else(|error| broken(&error), |()| answer)
        }
        Ok(None) => refused("the token is wrong, or the form comes from another page"),
        Err(fault) => plain(StatusCode::INTERNAL_SERVER_ERROR, &fault.to_string()),
    }
}

#[derive(Deserialize)]
pub(super) struct Form {
    form: String,
    #[serde(default)]
    database: usize,
    /// Percent-encoded.
    #[serde(default)]
    semaphore: String,
    size: Option<String>,
    ticket: Option<i64>,
    proof: Option<String>,
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
    let removed = answer.add_cookie(&state.access.log_out(&request));
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
    let size = size.as_deref().unwrap_or_default().trim();
    let Ok(size) = size.parse() else {
        return plain(
            StatusCode::BAD_REQUEST,
            &format!("the size {size:?} is not a whole number, or is too large"),
        );
    };
    let change = Some(Change::Resize {
        name: decode(semaphore),
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
        proof,
        ..
    } = &*form;
    let hold = ticket.zip(proof.clone());
    let change = hold.map(|(ticket, proof)| Change::End {
        name: decode(semaphore),
        ticket,
        proof,
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
            "another change of this database is in progress, or a connection to it has no answer: try again later",
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

fn refused(text: &str) -> HttpResponse {
    plain(StatusCode::FORBIDDEN, text)
}

fn not_accepted() -> HttpResponse {
    refused("enter the token first, and send the form from this server's page: reload it")
}
