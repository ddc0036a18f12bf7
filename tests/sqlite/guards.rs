//! What tests of the contract say of guards, where they speak of your transaction, too. That does not compile on SQLite.

use super::Database;
use crate::contract::bad_input::{assert_bad_names_are_errors, assert_bad_numbers_are_errors};
use crate::kit::{TestDatabase, eventually};
use diesel::{SqliteConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use std::{
    thread,
    time::{Duration, Instant},
};

fn errors(conn: &mut SqliteConnection, request: Request<'_>) -> [Error; 1] {
    [SemaphoreTicket::require(conn, request).unwrap_err()]
}

#[test]
fn bad_names_are_errors() {
    let database = Database::with("x", 1);
    let conn = &mut database.connect();
    assert_bad_names_are_errors(conn, errors);
    let [unknown] = errors(conn, Request::new("reprots"));
    assert!(matches!(&unknown, Error::UnknownSemaphore { name, .. } if name == "reprots"));
}

#[test]
fn bad_numbers_of_tickets_are_errors() {
    let database = Database::with("x", 3);
    let _holder = SemaphoreTicket::require(database.connect(), Request::new("x").tickets(3));
    assert_bad_numbers_are_errors(&mut database.connect(), errors);
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
        eventually("the ticket is released", || database.available() == 1);
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
