//! What tests of the contract say of guards, where they speak of your transaction, too. That does not compile on SQLite.

use super::Database;
use crate::kit::{TestDatabase, eventually as until};
use diesel::connection::SimpleConnection;
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use std::{
    thread,
    time::{Duration, Instant},
};

#[test]
fn bad_names_are_errors() {
    let database = Database::with("x", 1);
    let conn = &mut database.connect();
    let (long, longest) = ("ß".repeat(256), "ß".repeat(255));
    for (bad, why) in [
        ("", "empty"),
        (long.as_str(), "longer than 255"),
        ("a\0b", "NUL"),
    ] {
        for error in [
            SemaphoreTicket::require(&mut *conn, bad).unwrap_err(),
            sem::make(conn, bad, 1).unwrap_err(),
            sem::ensure(conn, bad, 1).unwrap_err(),
            sem::destroy(conn, bad).unwrap_err(),
        ] {
            assert!(matches!(&error, Error::InvalidName { name, .. } if name == bad));
            assert!(error.to_string().contains(why), "{error}");
        }
    }
    let odd = ["'; DROP TABLE x; --", " ", "\u{1F600}", "a\nb", "%s $1 {}"];
    for good in odd.into_iter().chain([longest.as_str()]) {
        sem::make(conn, good, 1).unwrap();
        let guard = SemaphoreTicket::require(&mut *conn, good).unwrap();
        assert_eq!(guard.ticket().semaphore(), good);
    }
    let unknown = SemaphoreTicket::require(&mut *conn, "reprots").unwrap_err();
    assert!(matches!(&unknown, Error::UnknownSemaphore { name, .. } if name == "reprots"));
}

#[test]
fn bad_numbers_of_tickets_are_errors() {
    let database = Database::with("x", 3);
    let _holder = SemaphoreTicket::require(database.connect(), Request::new("x").tickets(3));
    let conn = &mut database.connect();
    for (wrong, bound, message) in [
        (0, 0, "at least 1"),
        (4, 3, "its size is 3"),
        (1_000_001, 1_000_000, "more than a semaphore can have"),
        (u32::MAX, 1_000_000, "more than a semaphore can have"),
    ] {
        let request = Request::new("x").tickets(wrong);
        let error = SemaphoreTicket::require(&mut *conn, request).unwrap_err();
        assert!(
            matches!(&error, Error::InvalidTickets { name, tickets, limit, .. }
                if name == "x" && *tickets == wrong && *limit == bound),
            "{error:?}"
        );
        assert!(error.to_string().contains(message), "{error}");
    }
    for wrong in [1_000_001, u32::MAX] {
        for error in [
            sem::make(conn, "x", wrong).unwrap_err(),
            sem::ensure(conn, "new", wrong).unwrap_err(),
        ] {
            assert!(matches!(error, Error::InvalidTickets { tickets, .. } if tickets == wrong));
        }
    }
}

#[test]
fn missing_tables_are_an_error() {
    let database = Database::create();
    let conn = &mut database.connect();
    for error in [
        SemaphoreTicket::require(&mut *conn, "x").unwrap_err(),
        sem::make(conn, "x", 1).unwrap_err(),
        sem::ensure(conn, "x", 1).unwrap_err(),
        sem::destroy(conn, "x").unwrap_err(),
        sem::list(conn).unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotMigrated), "{error:?}");
        assert!(error.to_string().contains("run_migrations"), "{error}");
    }
}

#[test]
fn waits_never_end_before_their_limit() {
    let database = Database::with("x", 1);
    let _holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut conn = database.connect();
    for limit in [0, 1, 30, 250] {
        let limit = Duration::from_millis(limit) + Duration::from_nanos(u64::from(limit > 0));
        let began = Instant::now();
        let request = Request::new("x").wait(limit);
        let refused = SemaphoreTicket::acquire(&mut conn, request).unwrap();
        assert!(refused.is_none());
        assert!((limit..limit + Duration::from_secs(5)).contains(&began.elapsed()));
    }
    let request = Request::new("x").wait(Duration::from_nanos(1));
    let refused = SemaphoreTicket::require(&mut conn, request);
    assert!(matches!(refused, Err(Error::Unavailable { .. })));
    database.assert_no_queue();
}

#[test]
fn panics_release_tickets() {
    let database = Database::with("x", 1);
    let pool = database.pool(1);
    for with_pool in [true, false] {
        let panicked = thread::scope(|scope| {
            let holder = scope.spawn(|| -> sem::Result<()> {
                if with_pool {
                    sem::with_ticket(&pool, "x", |_| panic!("on purpose"))
                } else {
                    let _guard = SemaphoreTicket::require(database.connect(), "x")?;
                    panic!("on purpose")
                }
            });
            holder.join()
        });
        assert!(panicked.is_err());
        until("the ticket is released", || database.available() == 1);
        pool.get().unwrap().batch_execute("SELECT 1").unwrap();
    }
}

#[test]
fn tokens_increase() {
    let database = Database::with("x", 1);
    let conn = &mut database.connect();
    let mut tokens = Vec::new();
    for _ in 0..50 {
        for request in [Request::new("x"), Request::new("x").wait_forever()] {
            let guard = SemaphoreTicket::require(&mut *conn, request).unwrap();
            tokens.push(guard.ticket().fencing_token());
        }
        let in_transaction: sem::Result<()> = sem::transaction(conn, "x", |_, ticket| {
            tokens.push(ticket.fencing_token());
            Ok(())
        });
        in_transaction.unwrap();
    }
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
}
