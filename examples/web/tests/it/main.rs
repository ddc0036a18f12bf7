//! The web application from outside, over HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod app;
mod busy;
mod failures;
mod page;
mod start_and_stop;

use diesel::PgConnection;
use diesel_dbsemaphore as sem;

/// So many wait for tickets of this semaphore.
fn waiting(conn: &mut PgConnection, name: &str) -> usize {
    sem::waiters(conn, name).unwrap().len()
}
