//! The HTTP server.

use super::{State, answers, forms};
use crate::fault::Fault;
use actix_web::{
    App, Error, HttpServer, Route,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    error::ErrorRequestTimeout,
    guard,
    http::{StatusCode, header},
    middleware::{DefaultHeaders, Next, from_fn},
    rt::{System, time::timeout},
    web,
};
use std::{net::TcpListener, sync::Arc, time::Duration};

/// Threads that answer. No answer waits for a database.
const WORKERS: usize = 2;

/// The most connections of a thread. The others wait, so that enough open files remain for databases.
const CONNECTIONS: usize = 100;

/// How long a client has for the head of a request.
const LONGEST_HEAD: Duration = Duration::from_secs(5);

/// How long a client has for the rest of a request, and the answer for its own work.
const LONGEST_REQUEST: Duration = Duration::from_secs(10);

/// The longest form, in bytes: a name has at most 255 characters.
const LONGEST_FORM: usize = 16 * 1024;

/// The page loads nothing of other servers, runs no script but its own, and is shown in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'";

pub(super) fn run(listener: TcpListener, state: Arc<State>) -> Result<(), Fault> {
    let state = web::Data::from(state);
    let server = HttpServer::new(move || {
        let app = App::new()
            .app_data(state.clone())
            .app_data(web::FormConfig::default().limit(LONGEST_FORM))
            .route("/", reading().to(answers::page))
            .route("/app.js", reading().to(answers::script))
            .route("/style.css", reading().to(answers::style))
            .route("/metrics", reading().to(answers::metrics))
            .route("/health", reading().to(answers::health))
            .route("/api/semaphores", reading().to(answers::semaphores));
        let app = if state.access.allows_changes() {
            app.route("/log-in", web::post().to(forms::log_in))
                .route("/log-out", web::post().to(forms::log_out))
                .route("/resize", web::post().to(forms::resize))
                .route("/end", web::post().to(forms::end))
        } else {
            app
        };
        app.wrap(from_fn(limit_time))
            .wrap(from_fn(check_host))
            .wrap(
                DefaultHeaders::new()
                    .add((header::CACHE_CONTROL, "no-store"))
                    .add((header::CONTENT_SECURITY_POLICY, POLICY))
                    // With "no-referrer", browsers hide the origin of forms also from this server.
                    .add((header::REFERRER_POLICY, "same-origin"))
                    .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
                    .add((header::X_FRAME_OPTIONS, "DENY"))
                    .add(("Cross-Origin-Opener-Policy", "same-origin"))
                    .add(("Cross-Origin-Resource-Policy", "same-origin")),
            )
    })
    .workers(WORKERS)
    .max_connections(CONNECTIONS)
    .client_request_timeout(LONGEST_HEAD)
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(System::new().block_on(server)?)
}

/// GET, and HEAD: the server leaves out the body of the answer.
fn reading() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

async fn limit_time(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let answer = timeout(LONGEST_REQUEST, next.call(request)).await;
    answer.map_err(|_| ErrorRequestTimeout("the request has not been complete in time"))?
}

async fn check_host(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let host = request.headers().get(header::HOST);
    let host = host
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let state = request.app_data::<answers::Shared>();
    if state.is_some_and(|state| state.access.is_known_host(&host)) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let refused = format!(
        "the host name {host:?} is not allowed: start dbsemaphore serve with --allowed-host NAME"
    );
    let answer = answers::plain(StatusCode::FORBIDDEN, &refused);
    Ok(request.into_response(answer).map_into_right_body())
}
