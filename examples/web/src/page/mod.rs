//! The status page: all semaphores, who holds their tickets and who waits.

mod html;

use crate::{
    error::Error,
    shop::{CARRIER, REPORTS, Shop},
};
use actix_web::{HttpResponse, http::header, web};
use diesel::PgConnection;
use diesel_dbsemaphore::{self as sem, Holder, Usage, Waiter};

/// What is shown of a semaphore. The three are asked one after another, so they may differ by what happens meanwhile.
struct Board {
    usage: Usage,
    holders: Vec<Holder>,
    waiters: Vec<Waiter>,
}

/// The semaphore's name, how many were inside at most and in all, as counted by those who were visited.
type Counted = (&'static str, u32, u64);

pub(crate) async fn get(shop: web::Data<Shop>) -> Result<HttpResponse, Error> {
    let counted = [
        (CARRIER, &shop.carrier.visitors),
        (REPORTS, &shop.report_visitors),
    ]
    .map(|(name, visitors)| (name, visitors.most(), visitors.in_all()));
    let boards = web::block(move || look(&mut *shop.pools.work.get()?)).await??;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Should text ever get into the page unescaped, it still won't run.
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; connect-src 'self'; img-src data:; script-src 'self'; style-src 'unsafe-inline'",
        ))
        .body(html::Page(&boards, &counted).to_string()))
}

pub(crate) async fn script() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/javascript; charset=utf-8")
        .body(include_str!("live.js"))
}

fn look(conn: &mut PgConnection) -> Result<Vec<Board>, Error> {
    let mut boards = Vec::new();
    for usage in sem::usage(conn)? {
        let holders = sem::holders(conn, &usage.name);
        let waiters = sem::waiters(conn, &usage.name);
        match (holders, waiters) {
            // It has been destroyed since.
            (Err(sem::Error::UnknownSemaphore { .. }), _)
            | (_, Err(sem::Error::UnknownSemaphore { .. })) => {}
            (holders, waiters) => boards.push(Board {
                usage,
                holders: holders?,
                waiters: waiters?,
            }),
        }
    }
    Ok(boards)
}
