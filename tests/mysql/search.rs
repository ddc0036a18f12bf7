//! Which tickets a request finds, and which rows it locks.

use super::{run, with_semaphore};
use diesel::Connection;
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::mysql::Database;
use std::{sync::Barrier, thread};

const LEVELS: [&str; 3] = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];

/// Several clients, each of which always finds a ticket: there is one more ticket than holders at any time.
fn nobody_is_refused(database: &Database, level: Option<&str>) {
    const CLIENTS: usize = 6;
    const CALLS: usize = 400;
    let mut conn = database.connect();
    sem::make(&mut conn, "crowded", 60).unwrap();
    let held = Request::new("crowded").tickets(54);
    let _held = SemaphoreTicket::require(&mut conn, held).unwrap();
    let start = Barrier::new(CLIENTS);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut conn = database.connect();
                if let Some(level) = level {
                    run(
                        &mut conn,
                        &format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}"),
                    )
                    .unwrap();
                }
                start.wait();
                for _ in 0..CALLS {
                    if level.is_some() {
                        conn.transaction::<_, Error, _>(|conn| sem::require(conn, "crowded"))
                            .unwrap();
                    } else {
                        SemaphoreTicket::require(&mut conn, "crowded")
                            .unwrap()
                            .release()
                            .unwrap();
                    }
                }
            });
        }
    });
}

#[test]
fn guards_are_not_refused_falsely() {
    let (database, _) = with_semaphore("neighbour", 3);
    nobody_is_refused(&database, None);
}

#[test]
fn transactions_are_not_refused_falsely() {
    let (database, _) = with_semaphore("neighbour", 3);
    nobody_is_refused(&database, Some("READ COMMITTED"));
    nobody_is_refused(&database, Some("REPEATABLE READ"));
}

/// Under each level but SERIALIZABLE, where plain queries lock, too.
#[test]
fn a_holder_delays_no_resize() {
    let (database, mut conn) = with_semaphore("reports", 3);
    run(&mut conn, "SET SESSION innodb_lock_wait_timeout = 1").unwrap();
    for level in &LEVELS[..2] {
        let mut holder = database.connect();
        run(
            &mut holder,
            &format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}"),
        )
        .unwrap();
        holder
            .transaction::<_, Error, _>(|holder| {
                sem::require(holder, "reports")?;
                sem::make(&mut conn, "reports", 8)?;
                sem::make(&mut conn, "reports", 2)?;
                sem::make(&mut conn, "reports", 3)?;
                sem::ensure(&mut conn, "another", 1).map(drop)
            })
            .unwrap();
    }
}

#[test]
fn never_more_holders_than_tickets() {
    let (database, mut conn) = with_semaphore("reports", 3);
    for level in LEVELS {
        let holders: Vec<_> = (0..3)
            .map(|_| SemaphoreTicket::require(database.connect(), "reports").unwrap())
            .collect();
        run(
            &mut conn,
            &format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}"),
        )
        .unwrap();
        let refused = conn
            .transaction(|conn| sem::acquire(conn, "reports"))
            .unwrap();
        assert_eq!(refused, None, "{level}");
        drop(holders);
    }
}

#[test]
fn a_refused_guard_for_several_tickets_keeps_none() {
    let (database, _) = with_semaphore("reports", 3);
    let mut conn = database.connect();
    let holder = SemaphoreTicket::require(database.connect(), "reports").unwrap();
    let request = Request::new("reports").tickets(3);
    assert!(
        SemaphoreTicket::acquire(&mut conn, request)
            .unwrap()
            .is_none()
    );
    let two =
        SemaphoreTicket::require(database.connect(), Request::new("reports").tickets(2)).unwrap();
    assert_eq!(two.ticket().count(), 2);
    drop((holder, two));
    assert_eq!(
        SemaphoreTicket::require(&mut conn, request)
            .unwrap()
            .ticket()
            .count(),
        3
    );
}

/// InnoDB unlocks rows at the end of the transaction only. The guide says so.
#[test]
fn a_refused_request_in_a_transaction_keeps_what_it_found() {
    let (database, mut conn) = with_semaphore("reports", 3);
    let _holder = SemaphoreTicket::require(database.connect(), "reports").unwrap();
    conn.transaction::<_, Error, _>(|conn| {
        assert_eq!(
            sem::acquire(conn, Request::new("reports").tickets(3))?,
            None
        );
        assert!(SemaphoreTicket::acquire(database.connect(), "reports")?.is_none());
        Ok(())
    })
    .unwrap();
    drop(SemaphoreTicket::require(database.connect(), Request::new("reports").tickets(2)).unwrap());
}

#[test]
fn slots_with_gaps_are_found() {
    let (database, mut conn) = with_semaphore("reports", 40);
    let mut guards: Vec<_> = (0..40)
        .map(|_| SemaphoreTicket::require(database.connect(), "reports").unwrap())
        .collect();
    let released = guards.split_off(20);
    drop(released);
    // Deletes the 20 that are available, wherever they are.
    sem::make(&mut conn, "reports", 20).unwrap();
    assert!(
        SemaphoreTicket::acquire(&mut conn, "reports")
            .unwrap()
            .is_none()
    );
    drop(guards);
    let request = Request::new("reports").tickets(20);
    let all = SemaphoreTicket::require(&mut conn, request).unwrap();
    assert!(
        SemaphoreTicket::acquire(database.connect(), "reports")
            .unwrap()
            .is_none()
    );
    drop(all);
    sem::make(&mut conn, "reports", 45).unwrap();
    let request = Request::new("reports").tickets(45);
    drop(SemaphoreTicket::require(&mut conn, request).unwrap());
}

#[test]
fn a_large_semaphore_is_searched_whole() {
    let (database, mut conn) = with_semaphore("large", 20_000);
    let most = Request::new("large").tickets(19_999);
    let most = SemaphoreTicket::require(database.connect(), most).unwrap();
    let last = SemaphoreTicket::require(database.connect(), "large").unwrap();
    assert!(
        SemaphoreTicket::acquire(&mut conn, "large")
            .unwrap()
            .is_none()
    );
    drop((most, last));
    assert!(sem::destroy(&mut conn, "large").unwrap());
}
