//! Guards and pools.

use crate::kit::{
    PoolOf, ServerDatabase, TestDatabase, eventually, on_each_backend, on_each_server,
};
use diesel::{
    Connection,
    connection::SimpleConnection,
    r2d2::{
        ConnectionManager, Pool,
        event::{HandleEvent, TimeoutEvent},
    },
};
use diesel_dbsemaphore::{
    self as sem, CancellationToken, Error, Request, SemaphoreTicket, TicketConnection,
};
use std::{
    fmt,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

on_each_backend!(
    thousands_of_guards_through_a_pool_of_five,
    a_panic_releases_the_ticket,
    a_request_that_does_not_wait_does_not_wait_for_a_connection,
    a_pool_that_cannot_connect_is_not_busy,
    a_cancellation_is_reported_though_no_connection_is_available,
);

on_each_server!(
    a_forgotten_guard_ends_with_its_connection,
    a_panic_in_your_transaction_releases_the_ticket,
);

/// The Python package opens a thread and a connection for each guard. None of these may be refused: never more than
/// four others hold a ticket, though which ones are held changes while a fifth looks.
fn thousands_of_guards_through_a_pool_of_five<D: TestDatabase>() {
    let database = D::with_size(5);
    let pool = database.pool(5);
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
    assert_eq!(pool.state().connections, 5);
    assert_eq!(database.available(), 5);
}

/// Not on SQLite: the guard has open files, which it does not close.
fn a_forgotten_guard_ends_with_its_connection<D: ServerDatabase>() {
    let database = D::with_size(1);
    let pool = database.pool(1);
    {
        let mut conn = pool.get().unwrap();
        std::mem::forget(SemaphoreTicket::require(&mut conn, "x").unwrap());
        assert_eq!(database.available(), 0);
    }
    eventually("the ticket is released", || database.available() == 1);
    drop(sem::SemaphoreTicket::require(pool.get().unwrap(), "x").unwrap());

    let mut conn = database.connect();
    std::mem::forget(SemaphoreTicket::require(&mut conn, "x").unwrap());
    drop(conn);
    eventually("the ticket is released", || database.available() == 1);
}

fn a_panic_releases_the_ticket<D: TestDatabase>() {
    assert_released_by_panic::<D>(|pool| sem::with_ticket(pool, "x", |_| panic!("on purpose")));
}

fn a_panic_in_your_transaction_releases_the_ticket<D: ServerDatabase>() {
    assert_released_by_panic::<D>(|pool| {
        pool.get().unwrap().transaction(|c| {
            let _ticket = sem::require(c, "x")?;
            panic!("on purpose")
        })
    });
}

fn assert_released_by_panic<D: TestDatabase>(holder: fn(&PoolOf<D>) -> sem::Result<()>) {
    let database = D::with_size(1);
    let pool = database.pool(1);
    for _ in 0..3 {
        let panicked = thread::scope(|scope| scope.spawn(|| holder(&pool)).join());
        assert!(panicked.is_err());
        eventually("the ticket is released", || database.available() == 1);
        pool.get().unwrap().batch_execute("SELECT 1").unwrap();
    }
}

fn a_request_that_does_not_wait_does_not_wait_for_a_connection<D: TestDatabase>() {
    let database = D::with_size(2);
    // The pool would wait for an hour.
    let pool = Pool::builder()
        .max_size(1)
        .connection_timeout(Duration::from_secs(3600))
        .build(ConnectionManager::<D::Connection>::new(database.url()))
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
        assert!(busy.to_string().contains("max_size"), "{busy}");
    }
}

fn a_pool_that_cannot_connect_is_not_busy<D: TestDatabase>() {
    let pool = Pool::builder()
        .max_size(1)
        .connection_timeout(Duration::from_secs(3600))
        .error_handler(Box::new(diesel::r2d2::NopErrorHandler))
        .build_unchecked(ConnectionManager::<D::Connection>::new(D::NOWHERE));
    let failed = sem::with_ticket(&pool, "x", |_| sem::Result::Ok(())).unwrap_err();
    assert!(matches!(failed, Error::Pool(_)), "{failed:?}");
    assert!(!failed.is_busy(), "{failed}");
    let text = failed.to_string();
    assert!(text.contains("could not connect: "), "{text}");
    assert!(!text.contains('\n'), "{text}");
}

/// Cancels the token when a check-out has failed, just before the pool says so.
struct CancelAtTimeout<C> {
    token: Arc<CancellationToken>,
    conn: Mutex<C>,
}

impl<C: TicketConnection + Send> HandleEvent for CancelAtTimeout<C> {
    fn handle_timeout(&self, _: TimeoutEvent) {
        self.token.cancel(&mut *self.conn.lock().unwrap()).unwrap();
    }
}

impl<C> fmt::Debug for CancelAtTimeout<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelAtTimeout")
    }
}

fn a_cancellation_is_reported_though_no_connection_is_available<D: TestDatabase>() {
    let database = D::with_size(1);
    let token = Arc::new(CancellationToken::new());
    let pool = Pool::builder()
        .max_size(1)
        .event_handler(Box::new(CancelAtTimeout {
            token: Arc::clone(&token),
            conn: Mutex::new(database.connect()),
        }))
        .build(ConnectionManager::<D::Connection>::new(database.url()))
        .unwrap();
    let _only_connection = pool.get().unwrap();
    let request = Request::new("x").cancellation(&token);
    for limit in [Duration::from_millis(1), Duration::MAX] {
        let outcome = sem::with_ticket(&pool, request.wait(limit), |_| sem::Result::Ok(()));
        assert!(
            matches!(outcome, Err(Error::Cancelled { .. })),
            "{outcome:?}"
        );
    }
}
