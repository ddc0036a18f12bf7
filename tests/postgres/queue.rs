//! Waiting in the queue of a semaphore.

use crate::contract::queue::hold;
use crate::kit::TestDatabase;
use crate::postgres::number;
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::Database;
use std::{sync::mpsc, thread, time::Duration};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_wait_in_a_transaction_leaves_its_settings_and_tickets_as_they_were() {
    let database = Database::with_size(1);
    let holder = hold(&database, 1);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let mut conn = database.connect();
            conn.batch_execute(
                "SET lock_timeout = '50s'; SET client_connection_check_interval = '7s'",
            )
            .unwrap();
            conn.transaction::<_, Error, _>(|c| {
                let ticket = sem::require(c, Request::new("x").wait(LONG))?;
                assert_eq!(sem::require(c, "x")?, ticket);
                let settings = "SELECT (current_setting('lock_timeout') = '50s' \
                    AND current_setting('client_connection_check_interval') = '7s')::int";
                assert_eq!(number(c, settings), 1);
                Ok(())
            })
            .unwrap();
        });
        database.until_queued(1);
        drop(holder);
        waiter.join().unwrap();
    });
}

#[test]
fn the_callers_limits_are_obeyed_and_the_transaction_survives() {
    let database = Database::with_size(1);
    let _holder = hold(&database, 1);
    let mut conn = database.connect();
    for setting in ["lock_timeout", "statement_timeout"] {
        conn.batch_execute(&format!("RESET ALL; SET {setting} = '80ms'"))
            .unwrap();
        conn.transaction::<_, Error, _>(|c| {
            let refused = sem::acquire(c, Request::new("x").wait(LONG)).unwrap_err();
            assert!(matches!(refused, Error::Database(_)), "{refused:?}");
            assert!(refused.to_string().contains("timeout"), "{refused}");
            c.batch_execute("SELECT 1")?;
            Ok(())
        })
        .unwrap();
        // The guard's own limit counts, not these.
        let request = Request::new("x").wait(Duration::from_millis(200));
        assert!(
            SemaphoreTicket::acquire(&mut conn, request)
                .unwrap()
                .is_none()
        );
    }
    database.assert_no_queue();
}

#[test]
fn a_shrink_by_a_holder_deletes_its_own_tickets_last() {
    let database = Database::with_size(3);
    let mut conn = database.connect();
    conn.batch_execute("SET statement_timeout = '20s'").unwrap();
    let other = hold(&database, 1);
    conn.transaction::<_, Error, _>(|c| {
        let mine = sem::require(c, "x")?;
        sem::make(c, "x", 2)?;
        assert_eq!(sem::require(c, "x")?, mine);
        drop(other);
        sem::make(c, "x", 0)?;
        assert_eq!(
            sem::require(c, "x")?,
            mine,
            "its own until the transaction ends"
        );
        Ok(())
    })
    .unwrap();
    assert_eq!(sem::list(&mut conn).unwrap()["x"], 0);
}

/// Makes a semaphore whose only ticket has a high slot, because it was held during a shrink. Returns its holder.
fn make_with_gaps(database: &Database, name: &str) -> PgConnection {
    let mut conn = database.connect();
    sem::make(&mut conn, name, 5).unwrap();
    let mut holder = database.connect();
    holder
        .batch_execute(&format!(
            "BEGIN; SELECT FROM dbsemaphore.ticket t JOIN dbsemaphore.semaphore s ON s.id = t.semaphore_id \
             WHERE s.name = '{name}' AND t.slot = 4 FOR NO KEY UPDATE OF t"
        ))
        .unwrap();
    sem::make(&mut conn, name, 1).unwrap();
    holder
}

/// Not asleep for a time, after which the ticket may have been available for long.
#[test]
fn a_head_sleeps_on_the_last_ticket_that_a_shrink_has_left() {
    let database = Database::with_size(1);
    let mut holder = make_with_gaps(&database, "x");
    let mut observer = database.connect();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            SemaphoreTicket::require(database.connect(), Request::new("x").wait(LONG)).map(drop)
        });
        database.until_head_waits();
        let blind = "SELECT count(*)::int FROM pg_stat_activity \
            WHERE datname = current_database() AND wait_event = 'PgSleep'";
        for _ in 0..300 {
            assert_eq!(number(&mut observer, blind), 0);
        }
        holder.batch_execute("ROLLBACK").unwrap();
        waiter.join().unwrap().unwrap();
    });
}

#[test]
fn a_deadlock_ends_in_an_error() {
    let database = Database::with_size(1);
    sem::make(&mut database.connect(), "y", 1).unwrap();
    assert_deadlock_is_found(&database);
}

#[test]
fn a_deadlock_after_a_shrink_ends_in_an_error() {
    let database = Database::with_size(1);
    for name in ["x", "y"] {
        drop(make_with_gaps(&database, name));
    }
    assert_deadlock_is_found(&database);
}

/// Each of two transactions holds the only ticket of one semaphore, and waits for that of the other.
fn assert_deadlock_is_found(database: &Database) {
    let both_hold = std::sync::Barrier::new(2);
    let outcomes: Vec<_> = thread::scope(|scope| {
        [("x", "y"), ("y", "x")]
            .map(|(first, second)| {
                let both_hold = &both_hold;
                scope.spawn(move || {
                    database.connect().transaction::<_, Error, _>(|c| {
                        sem::require(c, first)?;
                        both_hold.wait();
                        sem::require(c, Request::new(second).wait(LONG)).map(drop)
                    })
                })
            })
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let failed: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.as_ref().err())
        .collect();
    assert_eq!(failed.len(), 1, "{outcomes:?}");
    assert!(failed[0].to_string().contains("deadlock"), "{}", failed[0]);
    assert_eq!(database.available(), 1);
    database.assert_no_queue();
}

/// Two who hold wait for each other, one of them behind a head that holds nothing: PostgreSQL, which looks at whoever
/// has waited longest, takes the head for its victim.
#[test]
fn a_head_that_holds_nothing_survives_a_deadlock() {
    let database = Database::with_size(1);
    sem::make(&mut database.connect(), "y", 1).unwrap();
    let take = |first: &'static str,
                second: &'static str,
                held: mpsc::Sender<()>,
                go: mpsc::Receiver<()>| {
        let database = &database;
        move || {
            database.connect().transaction::<_, Error, _>(|c| {
                sem::require(c, first)?;
                held.send(()).unwrap();
                go.recv().unwrap();
                sem::require(c, Request::new(second).wait(LONG)).map(drop)
            })
        }
    };
    let (held, is_held) = mpsc::channel();
    let ((go_a, a), (go_b, b)) = (mpsc::channel(), mpsc::channel());
    thread::scope(|scope| {
        let a = scope.spawn(take("x", "y", held.clone(), a));
        let b = scope.spawn(take("y", "x", held.clone(), b));
        is_held.recv().unwrap();
        is_held.recv().unwrap();
        let head = scope.spawn(|| {
            SemaphoreTicket::require(database.connect(), Request::new("x").wait(LONG)).map(drop)
        });
        database.until_queued(1);
        go_b.send(()).unwrap();
        database.until_queued(2);
        go_a.send(()).unwrap();
        let failed = [a, b].map(|thread| thread.join().unwrap().is_err());
        assert_ne!(failed[0], failed[1]);
        head.join().unwrap().unwrap();
    });
    database.assert_no_queue();
}
