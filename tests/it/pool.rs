//! Guards and pools.

use crate::tools::{assert_line_is_gone, database_with, free, number, pool};
use diesel::PgConnection;
use diesel::{
    Connection, RunQueryDsl,
    connection::SimpleConnection,
    r2d2::{ConnectionManager, Pool},
};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use std::{thread, time::Duration};

/// The Python package opens a thread and a connection for each guard. None of these may be refused: never more than
/// four others hold a ticket, though which ones are held changes while a fifth looks.
#[test]
fn thousands_of_guards_through_a_pool_of_five() {
    let database = database_with(5);
    let pool = pool(&database, 5);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for _ in 0..250 {
                    let guard = SemaphoreTicket::require(pool.get().unwrap(), "x").unwrap();
                    drop(guard);
                }
            });
        }
    });
    let mut conn = database.connect();
    let opened = number(
        &mut conn,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    assert!(opened <= 5, "{opened} connections");
    assert_eq!(pool.state().connections, 5);
    assert_eq!(free(&database), 5);
}

#[test]
fn a_forgotten_guard_ends_with_its_connection() {
    let database = database_with(1);
    let pool = pool(&database, 1);
    {
        let mut conn = pool.get().unwrap();
        std::mem::forget(SemaphoreTicket::require(&mut conn, "x").unwrap());
        assert_eq!(free(&database), 0);
    }
    crate::tools::eventually("the ticket is released", || free(&database) == 1);
    drop(sem::SemaphoreTicket::require(pool.get().unwrap(), "x").unwrap());

    let mut conn = database.connect();
    std::mem::forget(SemaphoreTicket::require(&mut conn, "x").unwrap());
    drop(conn);
    crate::tools::eventually("the ticket is released", || free(&database) == 1);
}

#[test]
fn a_panic_releases_the_ticket() {
    let database = database_with(1);
    let pool = pool(&database, 1);
    for _ in 0..3 {
        let panicked = thread::scope(|scope| {
            scope
                .spawn(|| {
                    sem::with_ticket(&pool, "x", |_| -> sem::Result<()> { panic!("on purpose") })
                })
                .join()
        });
        assert!(panicked.is_err());
        let panicked = thread::scope(|scope| {
            scope
                .spawn(|| {
                    pool.get().unwrap().transaction(|c| -> sem::Result<()> {
                        let _ticket = sem::require(c, "x")?;
                        panic!("on purpose")
                    })
                })
                .join()
        });
        assert!(panicked.is_err());
        crate::tools::eventually("the ticket is released", || free(&database) == 1);
        diesel::sql_query("SELECT 1")
            .execute(&mut pool.get().unwrap())
            .unwrap();
    }
}

#[test]
fn a_request_that_does_not_wait_does_not_wait_for_a_connection() {
    let database = database_with(2);
    // The pool would wait for an hour.
    let pool = Pool::builder()
        .max_size(1)
        .connection_timeout(Duration::from_secs(3600))
        .build(ConnectionManager::<PgConnection>::new(database.url()))
        .unwrap();
    let nested = |request: Request<'_>| {
        sem::with_ticket(&pool, "x", |_| {
            sem::with_ticket(&pool, request, |_| sem::Result::Ok(()))
        })
    };
    for request in [
        Request::new("x"),
        Request::new("x").wait(Duration::from_millis(20)),
    ] {
        let busy = nested(request).unwrap_err();
        assert!(matches!(busy, Error::Pool(_)), "{busy:?}");
        assert!(busy.is_busy(), "{busy}");
    }
}

#[test]
fn a_pool_that_cannot_connect_is_not_busy() {
    let pool = Pool::builder()
        .max_size(1)
        .connection_timeout(Duration::from_secs(3600))
        .error_handler(Box::new(diesel::r2d2::NopErrorHandler))
        .build_unchecked(ConnectionManager::<PgConnection>::new(
            "postgres://127.0.0.1:1/nowhere",
        ));
    let failed = sem::with_ticket(&pool, "x", |_| sem::Result::Ok(())).unwrap_err();
    assert!(matches!(failed, Error::Pool(_)), "{failed:?}");
    assert!(!failed.is_busy(), "{failed}");
}

/// A server whose clock was set back by an hour wakes its sleepers an hour late. Here, its head of the queue oversleeps.
#[test]
fn a_wait_ends_by_the_callers_clock() {
    let database = database_with(1);
    let _holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut conn = database.connect();
    conn.batch_execute(
        "CREATE OR REPLACE FUNCTION dbsemaphore._wait_for_ticket( \
             semaphore_id bigint, slot_bound integer, excluded_ids bigint[], rotation integer, max_wait interval) \
         RETURNS bigint LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3600); RETURN NULL; END'",
    )
    .unwrap();
    let pool = pool(&database, 2);
    let request = Request::new("x").wait(Duration::from_millis(50));
    let busy = sem::with_ticket(&pool, request, |_| sem::Result::Ok(())).unwrap_err();
    assert!(matches!(busy, Error::Unavailable { .. }), "{busy:?}");
    assert_line_is_gone(&database);
    // The connection is fit for the next request.
    for _ in 0..4 {
        pool.get().unwrap().batch_execute("SELECT 1").unwrap();
    }
}
