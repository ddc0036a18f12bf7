//! Each mistake is a typed error that says the cause and the fix. A failed call changes nothing.

use crate::tools::{database_with, free};
use diesel::result::Error as DieselError;
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::Database;

/// The errors of a request in the caller's transaction, which has to survive, and of a guard.
fn both(conn: &mut PgConnection, request: Request<'_>) -> [Error; 2] {
    let low_level = conn
        .transaction::<_, Error, _>(|c| {
            let error = sem::require(c, request).unwrap_err();
            c.batch_execute("SELECT 1")?;
            Ok(error)
        })
        .unwrap();
    let guard = SemaphoreTicket::require(&mut *conn, request).unwrap_err();
    conn.batch_execute("SELECT 1").unwrap();
    [low_level, guard]
}

#[test]
fn names() {
    let database = database_with(1);
    let conn = &mut database.connect();
    let (long, longest) = ("ß".repeat(256), "ß".repeat(255));
    for (bad, why) in [
        ("", "empty"),
        (long.as_str(), "longer than 255"),
        ("a\0b", "NUL"),
    ] {
        let [first, second] = both(conn, Request::new(bad));
        for error in [
            first,
            second,
            sem::make(conn, bad, 1).unwrap_err(),
            sem::ensure(conn, bad, 1).unwrap_err(),
            sem::destroy(conn, bad).unwrap_err(),
        ] {
            assert!(matches!(&error, Error::InvalidName { name, .. } if name == bad));
            assert!(error.to_string().contains(why), "{error}");
        }
    }
    sem::make(conn, &longest, 1).unwrap();
    SemaphoreTicket::require(&mut *conn, &longest)
        .unwrap()
        .release()
        .unwrap();
    for odd in ["'; DROP TABLE x; --", " ", "\u{1F600}", "a\nb", "%s $1 {}"] {
        sem::make(conn, odd, 1).unwrap();
        let guard = SemaphoreTicket::require(&mut *conn, odd).unwrap();
        assert_eq!(guard.ticket().semaphore(), odd);
    }
}

#[test]
fn unknown_semaphore() {
    let database = database_with(1);
    let conn = &mut database.connect();
    for error in both(conn, Request::new("reprots")) {
        assert!(matches!(&error, Error::UnknownSemaphore { name, .. } if name == "reprots"));
        assert!(error.to_string().contains("\"reprots\""), "{error}");
    }
}

#[test]
fn numbers_of_tickets() {
    let database = database_with(3);
    let conn = &mut database.connect();
    for (wrong, bound, message) in [
        (0, 0, "at least 1"),
        (4, 3, "its size is 3"),
        (1_000_001, 1_000_000, "more than a semaphore can have"),
        (u32::MAX, 1_000_000, "more than a semaphore can have"),
    ] {
        for error in both(conn, Request::new("x").tickets(wrong)) {
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
    assert_eq!(free(&database), 3);
}

#[test]
fn more_than_it_has_is_an_error_also_while_all_are_held() {
    let database = database_with(2);
    let _holder = SemaphoreTicket::require(database.connect(), Request::new("x").tickets(2));
    let conn = &mut database.connect();
    for error in both(conn, Request::new("x").tickets(3)) {
        assert!(matches!(error, Error::InvalidTickets { limit: 2, .. }));
    }
}

#[test]
fn no_transaction() {
    let database = database_with(1);
    let conn = &mut database.connect();
    let error = sem::require(conn, "x").unwrap_err();
    assert!(matches!(error, Error::NotInTransaction));
    assert!(error.to_string().contains("conn.transaction"), "{error}");
    assert!(matches!(
        sem::acquire(conn, "x"),
        Err(Error::NotInTransaction)
    ));
}

#[test]
fn guard_inside_a_transaction() {
    let database = database_with(2);
    let conn = &mut database.connect();
    conn.transaction::<_, Error, _>(|c| {
        let held = sem::require(c, "x")?;
        let error = SemaphoreTicket::require(&mut *c, "x").unwrap_err();
        assert!(matches!(error, Error::AlreadyInTransaction));
        assert_eq!(sem::require(c, "x")?, held, "the transaction goes on");
        Ok(())
    })
    .unwrap();
}

#[test]
fn migrations_not_run() {
    let database = Database::create();
    let conn = &mut database.connect();
    let low_level = conn.transaction(|c| sem::require(c, "x")).unwrap_err();
    assert!(
        low_level.to_string().contains("run_migrations"),
        "{low_level}"
    );
    for error in [
        SemaphoreTicket::require(&mut *conn, "x").unwrap_err(),
        sem::make(conn, "x", 1).unwrap_err(),
        sem::ensure(conn, "x", 1).unwrap_err(),
        sem::destroy(conn, "x").unwrap_err(),
        sem::list(conn).unwrap_err(),
        // In the caller's transaction, which goes on.
        conn.transaction::<_, Error, _>(|c| {
            let error = sem::make(c, "x", 1).unwrap_err();
            assert!(matches!(sem::list(c), Err(Error::NotMigrated)));
            c.batch_execute("SELECT 1")?;
            Ok(error)
        })
        .unwrap(),
    ] {
        assert!(matches!(error, Error::NotMigrated), "{error:?}");
        assert!(error.to_string().contains("run_migrations"), "{error}");
    }
    conn.batch_execute("SELECT 1").unwrap();
}

#[test]
fn read_only_transaction() {
    let database = database_with(1);
    let conn = &mut database.connect();
    let acquire = conn
        .build_transaction()
        .read_only()
        .run(|c| sem::require(c, "x"))
        .unwrap_err();
    let make = conn
        .build_transaction()
        .read_only()
        .run(|c| sem::make(c, "x", 2))
        .unwrap_err();
    for error in [acquire, make] {
        assert!(matches!(error, Error::Database(_)), "{error:?}");
        let message = error.to_string();
        assert!(message.contains("read-only transaction"), "{message}");
        assert!(message.contains("READ WRITE"), "{message}");
    }
    conn.transaction(|c| sem::require(c, "x")).unwrap();
}

#[test]
fn aborted_transaction() {
    let database = database_with(1);
    let conn = &mut database.connect();
    let error = conn
        .transaction::<(), Error, _>(|c| {
            c.batch_execute("SELECT 1/0").unwrap_err();
            for error in [
                sem::make(c, "x", 5).unwrap_err(),
                sem::list(c).map(drop).unwrap_err(),
            ] {
                assert!(error.to_string().contains("aborted"), "{error}");
            }
            sem::require(c, "x").map(drop)
        })
        .unwrap_err();
    assert!(matches!(error, Error::Database(_)), "{error:?}");
    assert!(error.to_string().contains("roll it back first"), "{error}");
    conn.transaction(|c| sem::require(c, "x")).unwrap();
}

#[test]
fn dead_connection() {
    let database = database_with(1);
    for attempt in [
        (|conn| SemaphoreTicket::require(conn, "x").map(drop)) as fn(&mut PgConnection) -> _,
        |conn| sem::make(conn, "x", 1),
        |conn| sem::list(conn).map(drop),
        |conn| sem::run_migrations(conn),
    ] {
        let mut conn = database.connect();
        let pid = crate::tools::backend_pid(&mut conn);
        crate::tools::terminate(&database, pid);
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

/// As `anyhow` prints an error: each text of the chain of sources once.
#[test]
fn no_error_prints_its_source_twice() {
    use std::error::Error as _;
    let database = database_with(1);
    let conn = &mut database.connect();
    let read_only = conn
        .build_transaction()
        .read_only()
        .run(|c| sem::require(c, "x"))
        .unwrap_err();
    let no_server = diesel::r2d2::Pool::builder()
        .connection_timeout(std::time::Duration::from_millis(50))
        .build_unchecked(diesel::r2d2::ConnectionManager::<PgConnection>::new(
            "postgres://127.0.0.1:1/x",
        ));
    let no_connection = sem::with_ticket(&no_server, "x", |_| sem::Result::Ok(())).unwrap_err();
    conn.batch_execute(
        "ALTER SCHEMA dbsemaphore RENAME TO elsewhere; CREATE SCHEMA dbsemaphore; \
        CREATE TABLE dbsemaphore.ticket (id int)",
    )
    .unwrap();
    let no_migration = sem::run_migrations(conn).unwrap_err();
    for (error, part) in [
        (read_only, "read-only transaction"),
        (no_connection, "timed out"),
        (no_migration, "\"ticket\" already exists"),
    ] {
        let mut chain = vec![error.to_string()];
        let mut next = error.source();
        while let Some(source) = next {
            chain.push(source.to_string());
            next = source.source();
        }
        assert_eq!(chain.concat().matches(part).count(), 1, "{chain:?}");
    }
}

/// A hint that does not fit is worse than none.
#[test]
fn hints_fit_the_cause() {
    let database = database_with(1);
    let hint = |error: Error| match error {
        Error::Database(DieselError::DatabaseError(_, raised)) => raised.hint().map(str::to_owned),
        other => panic!("{other:?}"),
    };
    // Statements that a pooler, or DISCARD ALL, has dropped.
    let mut conn = database.connect();
    drop(SemaphoreTicket::require(&mut conn, "x").unwrap());
    conn.batch_execute("DISCARD ALL").unwrap();
    let lost = SemaphoreTicket::require(&mut conn, "x").unwrap_err();
    assert!(hint(lost).unwrap().contains("CacheSize::Disabled"));
    let lost = conn.transaction(|c| sem::require(c, "x")).unwrap_err();
    assert!(hint(lost).unwrap().contains("CacheSize::Disabled"));

    // A name that the session's encoding can't hold is no matter of rights.
    let mut conn = database.connect();
    sem::make(&mut conn, "\u{2603}", 1).unwrap();
    conn.batch_execute("SET client_encoding = LATIN1").unwrap();
    assert_eq!(hint(sem::list(&mut conn).unwrap_err()), None);

    // Nor is a holder that does not release.
    let mut conn = database.connect();
    let _holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    conn.batch_execute("SET lock_timeout = '20ms'").unwrap();
    let waited = sem::make(&mut conn, "x", 0).unwrap_err();
    assert!(!hint(waited).unwrap_or_default().contains("role"));
}
