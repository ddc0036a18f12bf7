//! Leaving the queue: cancellations at that instant, a server that is kept from leaving, and the order of the unlocks.

use crate::contract::leaving::{Kind, LONG, assert_can_wait, cancel, is_broken, wait};
use crate::kit::{ServerDatabase, TestDatabase, eventually, rounds};
use crate::postgres::number;
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::{Database, postgres::Postgres};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// On PostgreSQL alone: MariaDB does not answer some statements that KILL QUERY reaches at their end.
#[test]
fn cancellations_at_the_moment_of_the_grant_leave_no_lock() {
    thread::scope(|scope| {
        for kind in [Kind::Guard, Kind::Transaction] {
            scope.spawn(move || cancel_grants(kind, rounds(100)));
        }
    });
}

/// One, two or three cancels at the moment at which the head gets its ticket and who is behind it becomes the head.
fn cancel_grants(kind: Kind, rounds: usize) {
    let database = &Database::with_size(1);
    let (done, is_done) = mpsc::channel();
    let mut holder = database.connect();
    let mut canceller = database.connect();
    let (mut cancelled, mut dice) = (0, 1u64);
    thread::scope(|scope| {
        // The head, and who is behind it.
        let waiters = [0, 1].map(|_| {
            let (go, goes) = mpsc::channel::<()>();
            let done = done.clone();
            let mut conn = database.connect();
            let pid = Arc::new(AtomicI64::new(Database::session_id(&mut conn)));
            let new_pid = Arc::clone(&pid);
            scope.spawn(move || {
                for () in goes {
                    let outcome = wait(&mut conn, kind, Request::new("x").wait(LONG));
                    if is_broken(&mut conn) {
                        // Not by us: a cancel has hit the end of the caller's own transaction.
                        assert_eq!(kind, Kind::Transaction);
                        conn = database.connect();
                        new_pid.store(Database::session_id(&mut conn), SeqCst);
                    }
                    done.send(outcome).unwrap();
                }
                assert_can_wait(&mut conn, kind);
            });
            (go, pid)
        });
        for round in 0..rounds {
            let ticket = SemaphoreTicket::require(holder, "x").unwrap();
            for (number, (go, _)) in waiters.iter().enumerate() {
                go.send(()).unwrap();
                database.until_queued(number as i64 + 1);
            }
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (target, times) = ((dice >> 40) as usize % 2, (dice >> 50) as u32 % 3 + 1);
            let aim = Duration::from_micros((dice >> 33) % 600);
            let release = scope.spawn(move || ticket.release().unwrap());
            // Within the half millisecond that a hand-over takes; spinning, because no sleep is that exact.
            let began = Instant::now();
            while began.elapsed() < aim {
                std::hint::spin_loop();
            }
            cancel::<Postgres>(&mut canceller, waiters[target].1.load(SeqCst), times);
            holder = release.join().unwrap();
            for _ in 0..2 {
                match is_done.recv().unwrap() {
                    Ok(()) => {}
                    Err(Error::Database(_) | Error::TicketLost { .. }) => cancelled += 1,
                    Err(error) => panic!("round {round}: {error:?}"),
                }
            }
            database.assert_no_queue();
            assert_eq!(database.available(), 1, "round {round}");
        }
    });
    assert!(
        cancelled > rounds / 100,
        "the aim is bad: {cancelled} of {rounds} hit"
    );
    eprintln!("{kind:?}: {cancelled} of {rounds} cancels hit a waiter");
}

/// Calls that wait in the queue.
const CALLS: [fn(&mut PgConnection) -> sem::Result<()>; 4] = [
    |conn| wait(conn, Kind::Guard, Request::new("x").wait(LONG)),
    |conn| conn.transaction(|c| sem::require(c, Request::new("x").wait(LONG)).map(drop)),
    |conn| sem::make(conn, "x", 0),
    |conn| conn.transaction(|c| sem::destroy(c, "x").map(drop)),
];

/// A call that is cancelled while it waits. The first `failures` attempts to leave the queue fail: one by the server, and then
/// those by the client.
fn cancel_call(
    call: fn(&mut PgConnection) -> sem::Result<()>,
    failures: u32,
    then: impl FnOnce(&Database, PgConnection, i64),
) {
    let database = Database::with_size(1);
    let mut canceller = database.connect();
    // A sequence counts also in transactions that are rolled back.
    canceller
        .batch_execute(&format!(
            "ALTER FUNCTION dbsemaphore._release_queue_locks() RENAME TO _release; \
             CREATE SEQUENCE public.attempts; \
             CREATE FUNCTION dbsemaphore._release_queue_locks() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN \
                 IF nextval('public.attempts') <= {failures} THEN \
                     RAISE query_canceled; \
                 END IF; \
                 RETURN dbsemaphore._release(); \
             END $$"
        ))
        .unwrap();
    let _holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut conn = database.connect();
    let pid = Database::session_id(&mut conn);
    thread::scope(|scope| {
        let caller = scope.spawn(|| call(&mut conn));
        database.until_head_waits();
        cancel::<Postgres>(&mut canceller, pid, 1);
        let error = caller.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("cancel"), "{error}");
    });
    then(&database, conn, pid);
}

#[test]
fn the_client_leaves_the_queue_if_the_server_failed_to() {
    for call in CALLS {
        for failures in 0..3 {
            cancel_call(call, failures, |database, mut conn, _| {
                database.assert_no_queue();
                assert!(!is_broken(&mut conn));
            });
        }
    }
}

/// Otherwise a pooler could give the session, which still is in the queue, to somebody else.
#[test]
fn a_session_that_fails_to_leave_the_queue_stays_in_a_transaction() {
    for call in CALLS {
        cancel_call(call, u32::MAX, |database, mut conn, pid| {
            assert!(is_broken(&mut conn));
            let in_transaction = format!(
                "SELECT count(*) FROM pg_stat_activity \
                 WHERE pid = {pid} AND state LIKE 'idle in transaction%'"
            );
            assert_eq!(number(&mut database.connect(), &in_transaction), 1);
        });
    }
}

/// Otherwise the next head could sleep on a ticket of the sub-transaction: see the end of `_wait_in_queue`.
#[test]
fn a_wait_leaves_the_queue_after_its_sub_transaction() {
    let database = &Database::with_size(1);
    let mut observer = database.connect();
    // A session that has the lock of kind w needs its key again to release it, after it has released the queue head lock.
    observer
        .batch_execute(
            "CREATE OR REPLACE FUNCTION dbsemaphore._advisory_key(kind text, number bigint) RETURNS bigint \
             LANGUAGE plpgsql AS $$ BEGIN \
                 IF kind = 'w' AND EXISTS (SELECT FROM dbsemaphore.advisory_locks() AS l \
                                           WHERE l.kind = 'w' AND l.pid = pg_backend_pid()) THEN \
                     PERFORM pg_advisory_lock(7); \
                 END IF; \
                 RETURN x'6462730000000000'::bigint | (ascii(kind)::bigint << 32) | number; \
             END $$; \
             SELECT pg_advisory_lock(7)",
        )
        .unwrap();
    let holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    thread::scope(|scope| {
        let mut conn = database.connect();
        let pid = Database::session_id(&mut conn);
        let waiter = scope.spawn(move || {
            let request = Request::new("x").wait(LONG);
            SemaphoreTicket::require(conn, request).map(drop)
        });
        database.until_queued(1);
        drop(holder);
        let at_gate = format!(
            "SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted AND locktype = 'advisory' AND objid = 7"
        );
        eventually("it leaves the queue", || {
            number(&mut observer, &at_gate) == 1
        });
        let heads = "SELECT count(*) FROM dbsemaphore.advisory_locks() AS l WHERE l.kind = 'q'";
        let heads = number(&mut observer, heads);
        let running = format!(
            "SELECT count(*) FROM pg_locks WHERE pid = {pid} AND locktype = 'transactionid'"
        );
        let running = number(&mut observer, &running);
        observer
            .batch_execute("SELECT pg_advisory_unlock(7)")
            .unwrap();
        waiter.join().unwrap().unwrap();
        assert_eq!((heads, running), (0, 1));
    });
}
