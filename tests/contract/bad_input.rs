//! Each mistake is a typed error that says the cause and the fix. A failed call changes nothing.

use crate::kit::{ServerDatabase, TestDatabase, on_each_backend, on_each_server};
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use std::time::Duration;

on_each_backend!(
    names,
    unknown_semaphore,
    numbers_of_tickets,
    more_than_it_has_is_an_error_also_while_all_are_held,
    migrations_not_run,
);

on_each_server!(
    no_transaction,
    guard_inside_a_transaction,
    migrations_not_run_in_your_transaction,
    dead_connection,
);

/// The error of a request in each way to acquire a ticket. The connection has to survive.
fn errors<D: TestDatabase>(conn: &mut D::Connection, request: Request<'_>) -> Vec<Error> {
    let errors = D::WAYS.iter().map(|way| {
        let error = way(conn, request).unwrap_err();
        conn.batch_execute("SELECT 1").unwrap();
        error
    });
    errors.collect()
}

fn names<D: TestDatabase>() {
    let database = D::with_size(1);
    let conn = &mut database.connect();
    let (long, longest) = ("ß".repeat(256), "ß".repeat(255));
    for (bad, why) in [
        ("", "empty"),
        (long.as_str(), "longer than 255"),
        ("a\0b", "NUL"),
    ] {
        let managing = [
            sem::make(conn, bad, 1).unwrap_err(),
            sem::ensure(conn, bad, 1).unwrap_err(),
            sem::destroy(conn, bad).unwrap_err(),
        ];
        for error in errors::<D>(conn, Request::new(bad))
            .into_iter()
            .chain(managing)
        {
            assert!(matches!(&error, Error::InvalidName { name, .. } if name == bad));
            assert!(error.to_string().contains(why), "{error}");
        }
    }
    let odd = ["'; DROP TABLE x; --", " ", "\u{1F600}", "a\nb", "%s $1 {}"];
    for good in odd.into_iter().chain([longest.as_str()]) {
        sem::make(conn, good, 1).unwrap();
        let guard = SemaphoreTicket::require(&mut *conn, good).unwrap();
        assert_eq!(guard.ticket().semaphore(), good);
        guard.release().unwrap();
    }
}

fn unknown_semaphore<D: TestDatabase>() {
    let database = D::with_size(1);
    let conn = &mut database.connect();
    for error in errors::<D>(conn, Request::new("reprots")) {
        assert!(matches!(&error, Error::UnknownSemaphore { name, .. } if name == "reprots"));
        assert!(error.to_string().contains("\"reprots\""), "{error}");
    }
}

fn numbers_of_tickets<D: TestDatabase>() {
    let database = D::with_size(3);
    let conn = &mut database.connect();
    for (wrong, bound, message) in [
        (0, 0, "at least 1"),
        (4, 3, "its size is 3"),
        (1_000_001, 1_000_000, "more than a semaphore can have"),
        (u32::MAX, 1_000_000, "more than a semaphore can have"),
    ] {
        for error in errors::<D>(conn, Request::new("x").tickets(wrong)) {
            assert!(
                matches!(&error, Error::InvalidTickets { name, tickets, limit, .. }
                    if name == "x" && *tickets == wrong && *limit == bound),
                "{error:?}"
            );
            assert!(error.to_string().contains(message), "{error}");
        }
    }
    for wrong in [1_000_001, u32::MAX] {
        for error in [
            sem::make(conn, "x", wrong).unwrap_err(),
            sem::ensure(conn, "new", wrong).unwrap_err(),
        ] {
            assert!(matches!(error, Error::InvalidTickets { tickets, .. } if tickets == wrong));
        }
    }
    assert_eq!(database.available(), 3);
}

fn more_than_it_has_is_an_error_also_while_all_are_held<D: TestDatabase>() {
    let database = D::with_size(2);
    let _holder = SemaphoreTicket::require(database.connect(), Request::new("x").tickets(2));
    let conn = &mut database.connect();
    for error in errors::<D>(conn, Request::new("x").tickets(3)) {
        assert!(matches!(error, Error::InvalidTickets { limit: 2, .. }));
    }
}

fn no_transaction<D: ServerDatabase>() {
    let database = D::with_size(1);
    let conn = &mut database.connect();
    let error = sem::require(conn, "x").unwrap_err();
    assert!(matches!(error, Error::NotInTransaction));
    assert!(error.to_string().contains("conn.transaction"), "{error}");
    assert!(matches!(
        sem::acquire(conn, "x"),
        Err(Error::NotInTransaction)
    ));
}

fn guard_inside_a_transaction<D: ServerDatabase>() {
    let database = D::with_size(2);
    let conn = &mut database.connect();
    conn.transaction::<_, Error, _>(|c| {
        sem::require(c, "x")?;
        let error = SemaphoreTicket::require(&mut *c, "x").unwrap_err();
        assert!(matches!(error, Error::AlreadyInTransaction));
        assert!(database.available() < 2, "the transaction goes on");
        sem::require(c, "x").map(drop)
    })
    .unwrap();
}

fn migrations_not_run<D: TestDatabase>() {
    let database = D::create();
    let conn = &mut database.connect();
    let waiting = Request::new("x").wait(Duration::from_secs(1));
    for error in [
        SemaphoreTicket::require(&mut *conn, "x").unwrap_err(),
        SemaphoreTicket::require(&mut *conn, waiting).unwrap_err(),
        sem::make(conn, "x", 1).unwrap_err(),
        sem::ensure(conn, "x", 1).unwrap_err(),
        sem::destroy(conn, "x").unwrap_err(),
        sem::list(conn).unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotMigrated), "{error:?}");
        assert!(error.to_string().contains("run_migrations"), "{error}");
    }
    conn.batch_execute("SELECT 1").unwrap();
}

fn migrations_not_run_in_your_transaction<D: ServerDatabase>() {
    let database = D::create();
    let conn = &mut database.connect();
    let error = conn.transaction(|c| sem::require(c, "x")).unwrap_err();
    assert!(error.to_string().contains("run_migrations"), "{error}");
    conn.transaction::<_, Error, _>(|c| {
        assert!(matches!(sem::make(c, "x", 1), Err(Error::NotMigrated)));
        assert!(matches!(sem::list(c), Err(Error::NotMigrated)));
        // The transaction continues.
        Ok(c.batch_execute("SELECT 1")?)
    })
    .unwrap();
    conn.batch_execute("SELECT 1").unwrap();
}

fn dead_connection<D: ServerDatabase>() {
    let database = D::with_size(1);
    for attempt in [
        (|conn| SemaphoreTicket::require(conn, "x").map(drop)) as fn(&mut D::Connection) -> _,
        |conn| sem::make(conn, "x", 1),
        |conn| sem::list(conn).map(drop),
        |conn| sem::run_migrations(conn),
    ] {
        let mut conn = database.connect();
        let pid = D::session_id(&mut conn);
        database.kill_session(pid);
        // The first sees the connection die, the second finds it dead.
        for _ in 0..2 {
            let error: Error = attempt(&mut conn).unwrap_err();
            assert!(matches!(error, Error::Database(_)), "{error:?}");
            assert!(
                error.to_string().contains("the connection is lost"),
                "{error}"
            );
        }
    }
}
