//! Guards and pools.

use crate::kit::TestDatabase;
use diesel::connection::SimpleConnection;
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::Database;
use std::time::Duration;

/// A server whose clock was set back by an hour wakes its sleepers an hour late. Here, its head of the queue oversleeps.
#[test]
fn a_wait_ends_by_the_callers_clock() {
    let database = Database::with_size(1);
    let _holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut conn = database.connect();
    conn.batch_execute(
        "CREATE OR REPLACE FUNCTION dbsemaphore._wait_for_ticket( \
             semaphore_id bigint, slot_bound integer, other_count integer, excluded_ids bigint[], rotation integer, \
             max_wait interval) \
         RETURNS bigint LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3600); RETURN NULL; END'",
    )
    .unwrap();
    let pool = database.pool(2);
    let request = Request::new("x").wait(Duration::from_millis(50));
    let busy = sem::with_ticket(&pool, request, |_| sem::Result::Ok(())).unwrap_err();
    assert!(matches!(busy, Error::Unavailable { .. }), "{busy:?}");
    database.assert_no_queue();
    // The connection is fit for the next request.
    for _ in 0..4 {
        pool.get().unwrap().batch_execute("SELECT 1").unwrap();
    }
}
