//! Waits that another thread cancels.

use crate::kit::{ServerDatabase, TestDatabase, eventually, on_each_backend, on_each_server};
use diesel::{
    Connection,
    connection::{InstrumentationEvent, SimpleConnection},
};
use diesel_dbsemaphore::{self as sem, CancellationToken, Error, Request, SemaphoreTicket};
use std::{
    sync::{Arc, mpsc},
    thread,
    thread::ScopedJoinHandle,
    time::Duration,
};

on_each_backend!(
    a_cancelled_wait_ends_at_each_position_and_no_other_does,
    a_cancelled_token_refuses_requests_that_would_wait,
);

on_each_server!(
    your_transaction_continues_after_a_cancelled_wait,
    a_cancelled_token_refuses_your_transaction_too,
    a_wait_that_has_not_reached_the_server_is_cancelled,
);

const LONG: Duration = Duration::from_secs(60);

/// Until the call that waits has returned: PostgreSQL may miss a cancel.
fn cancel<D: TestDatabase, T>(
    database: &D,
    token: &CancellationToken,
    waiter: ScopedJoinHandle<'_, T>,
) -> T {
    let mut conn = database.connect();
    eventually("the wait ends", || {
        token.cancel(&mut conn).unwrap();
        waiter.is_finished()
    });
    waiter.join().unwrap()
}

fn assert_cancelled<T: std::fmt::Debug>(outcome: Result<T, Error>) {
    assert!(
        matches!(&outcome, Err(Error::Cancelled { name, .. }) if name == "x"),
        "{outcome:?}"
    );
}

fn a_cancelled_wait_ends_at_each_position_and_no_other_does<D: TestDatabase>() {
    let database = D::with_size(1);
    let holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let tokens: [CancellationToken; 3] = Default::default();
    thread::scope(|scope| {
        let mut waiters: Vec<_> = tokens
            .iter()
            .enumerate()
            .map(|(number, token)| {
                let database = &database;
                let waiter = scope.spawn(move || {
                    let request = Request::new("x").wait_forever().cancellation(token);
                    let mut conn = database.connect();
                    let guard = SemaphoreTicket::require(&mut conn, request).map(drop);
                    // The connection is fit for use, whatever came of it.
                    conn.batch_execute("SELECT 1").unwrap();
                    guard
                });
                database.until_queued(number as i64 + 1);
                waiter
            })
            .collect();
        database.until_head_waits();
        let last = waiters.pop().unwrap();
        assert_cancelled(cancel(&database, &tokens[2], last));
        let head = waiters.remove(0);
        assert_cancelled(cancel(&database, &tokens[0], head));
        database.until_queued(1);
        drop(holder);
        waiters.pop().unwrap().join().unwrap().unwrap();
    });
    database.assert_no_queue();
    assert_eq!(database.available(), 1);
}

fn your_transaction_continues_after_a_cancelled_wait<D: ServerDatabase>() {
    let database = D::with_size(1);
    let _holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let token = CancellationToken::new();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            database.connect().transaction::<_, Error, _>(|c| {
                c.batch_execute("CREATE TEMPORARY TABLE work (id int)")?;
                let request = Request::new("x").wait_forever().cancellation(&token);
                let outcome = sem::require(c, request);
                c.batch_execute("SELECT * FROM work")?;
                outcome
            })
        });
        database.until_queued(1);
        assert_cancelled(cancel(&database, &token, waiter));
    });
    database.assert_no_queue();
}

fn a_cancelled_token_refuses_requests_that_would_wait<D: TestDatabase>() {
    let database = D::with_size(1);
    let mut conn = database.connect();
    let token = CancellationToken::new();
    assert!(!token.cancel(&mut conn).unwrap());
    let request = Request::new("x").cancellation(&token);
    let wait = request.wait(LONG);
    assert_cancelled(SemaphoreTicket::require(database.connect(), wait).map(drop));
    // A request that does not wait has nothing to cancel.
    drop(SemaphoreTicket::require(database.connect(), request).unwrap());
}

fn a_cancelled_token_refuses_your_transaction_too<D: ServerDatabase>() {
    let database = D::with_size(1);
    let mut conn = database.connect();
    let token = CancellationToken::new();
    assert!(!token.cancel(&mut conn).unwrap());
    let request = Request::new("x").cancellation(&token);
    let outcome = conn.transaction(|c| sem::require(c, request.wait(LONG)));
    assert_cancelled(outcome);
    conn.transaction(|c| sem::require(c, request)).unwrap();
}

/// Its thread has seen that the token is not cancelled, and is about to send the statement that the server could cancel.
fn a_wait_that_has_not_reached_the_server_is_cancelled<D: ServerDatabase>() {
    let database = D::with_size(0);
    let token = Arc::new(CancellationToken::new());
    let (about_to_wait, is_about_to_wait) = mpsc::channel();
    let (searched, was_searched) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let mut waiting_conn = database.connect();
    let session = D::session_id(&mut waiting_conn);
    waiting_conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            if query.to_string().contains(D::JOINS_THE_QUEUE) {
                about_to_wait.send(()).unwrap();
                was_searched.recv_timeout(LONG).unwrap();
            }
        }
    });
    // If it waits without end, the test ends, too.
    thread::spawn({
        let token = Arc::clone(&token);
        move || {
            let request = Request::new("x").wait_forever().cancellation(&token);
            tell.send(SemaphoreTicket::require(waiting_conn, request).map(drop))
        }
    });
    is_about_to_wait.recv_timeout(LONG).unwrap();
    let mut conn = database.connect();
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::FinishQuery { .. } = event {
            let _ = searched.send(());
        }
    });
    let found = token.cancel(&mut conn).unwrap();
    if !found {
        database.kill_session(session);
    }
    assert!(found);
    assert_cancelled(told.recv_timeout(LONG).unwrap());
}
