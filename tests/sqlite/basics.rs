//! What public functions do on SQLite alone.

use super::Database;
use crate::kit::TestDatabase;
use diesel::{SqliteConnection, prelude::*};
use diesel_dbsemaphore::{
    self as sem, BackendConnection, Error, Request, Semaphore, SemaphoreTicket, TicketConnection,
    TransactionConnection, schema::sqlite as schema,
};
use std::time::Duration;

#[test]
fn transaction_holds_a_ticket_until_its_end() {
    let database = Database::with("x", 1);
    let conn = &mut database.connect();
    let done: sem::Result<u32> = sem::transaction(conn, "x", |conn, ticket| {
        diesel::sql_query("CREATE TABLE t (a)").execute(conn)?;
        assert_eq!(ticket.semaphore(), "x");
        assert!(SemaphoreTicket::acquire(database.connect(), "x")?.is_none());
        let inside = SemaphoreTicket::acquire(conn, "x");
        assert!(matches!(inside, Err(Error::AlreadyInTransaction)));
        Ok(7)
    });
    assert_eq!(done.unwrap(), 7);
    let failed: sem::Result<u32> = sem::transaction(conn, "x", |conn, _| {
        diesel::sql_query("DROP TABLE t").execute(conn)?;
        Err(Error::NotMigrated)
    });
    assert!(matches!(failed, Err(Error::NotMigrated)));
    diesel::sql_query("INSERT INTO t VALUES (1)")
        .execute(conn)
        .unwrap();
    drop(SemaphoreTicket::require(conn, "x").unwrap());
}

#[test]
fn applications_read_the_tables() {
    let database = Database::with("x", 3);
    let conn = &mut database.connect();
    let found: (Semaphore, i64, i64) = schema::dbsemaphore_semaphore::table
        .inner_join(schema::dbsemaphore_ticket_range::table)
        .select((
            Semaphore::as_select(),
            schema::dbsemaphore_ticket_range::first_slot,
            schema::dbsemaphore_ticket_range::last_slot,
        ))
        .first(conn)
        .unwrap();
    assert_eq!((found.0.name.as_str(), found.1, found.2), ("x", 0, 2));
}

#[test]
fn labels_keep_their_blanks() {
    let database = Database::with("x", 1);
    let request = Request::new("x").label("  Ada  ");
    let _guard = SemaphoreTicket::require(database.connect(), request).unwrap();
    let holders = sem::holders(&mut database.connect(), "x").unwrap();
    assert_eq!(holders[0].session.label.as_deref(), Some("  Ada  "));
}

#[test]
fn holders_are_listed() {
    let database = Database::with("x", 3);
    let request = Request::new("x").tickets(2).label("for Ada");
    let guard = SemaphoreTicket::require(database.connect(), request).unwrap();
    let conn = &mut database.connect();
    let holders = sem::holders(conn, "x").unwrap();
    let tickets: Vec<i64> = holders.iter().map(|holder| holder.ticket).collect();
    assert_eq!(tickets, guard.ticket().ids());
    let session = &holders[0].session;
    assert_eq!(session.pid, i32::try_from(std::process::id()).ok());
    assert_eq!(session.label.as_deref(), Some("for Ada"));
    assert!(holders[0].held_for.unwrap() < Duration::from_secs(60));
    assert_eq!(sem::usage_of(conn, "x").unwrap().in_use, 2);
    drop(guard);
    assert_eq!(sem::holders(conn, "x").unwrap(), []);
    assert!(matches!(
        sem::holders(conn, "y"),
        Err(Error::UnknownSemaphore { .. })
    ));
}

/// By chance, this would happen once in 10^10 runs.
#[test]
fn threads_try_the_ticket_first_that_they_released_last() {
    let database = Database::with("x", 100);
    let acquire = || SemaphoreTicket::require(database.connect(), "x").unwrap();
    let released = acquire().ticket().ids().to_vec();
    for _ in 0..5 {
        assert_eq!(acquire().ticket().ids(), released);
    }
    let held = [acquire(), acquire()];
    assert_eq!(held[0].ticket().ids(), released);
    assert_ne!(held[1].ticket().ids(), released);
}

#[test]
fn guard_in_a_transaction_is_an_error() {
    let database = Database::with("x", 1);
    let conn = &mut database.connect();
    conn.transaction::<_, Error, _>(|conn| {
        let refused = SemaphoreTicket::acquire(&mut *conn, "x").map(drop);
        assert!(matches!(refused, Err(Error::AlreadyInTransaction)));
        assert!(matches!(
            sem::make(conn, "x", 2),
            Err(Error::Unsupported { .. })
        ));
        assert!(matches!(
            sem::destroy(conn, "x"),
            Err(Error::Unsupported { .. })
        ));
        assert!(sem::ensure(conn, "y", 2)?);
        Ok(())
    })
    .unwrap();
    assert_eq!(sem::list(conn).unwrap()["x"], 1);
}

#[test]
fn test_transactions_hold_tickets_of_their_semaphores() {
    let database = Database::migrated();
    let conn = &mut database.connect();
    conn.begin_test_transaction().unwrap();
    sem::make(conn, "x", 1).unwrap();
    let guard = SemaphoreTicket::require(&mut *conn, "x").unwrap();
    guard.release().unwrap();
    assert!(sem::destroy(conn, "x").unwrap());
}

#[test]
fn migrations_are_reverted_and_applied_again() {
    let database = Database::create();
    let conn = &mut database.connect();
    assert!(matches!(sem::list(conn), Err(Error::NotMigrated)));
    assert!(matches!(
        SemaphoreTicket::require(&mut *conn, "x"),
        Err(Error::NotMigrated)
    ));
    sem::revert_migrations(conn).unwrap();
    let sql = sem::pending_sql(conn).unwrap();
    diesel::connection::SimpleConnection::batch_execute(conn, &sql).unwrap();
    assert_eq!(sem::pending_sql(conn).unwrap(), "");
    sem::run_migrations(conn).unwrap();
    sem::make(conn, "x", 1).unwrap();
    drop(SemaphoreTicket::require(&mut *conn, "x").unwrap());
    sem::revert_migrations(conn).unwrap();
    assert!(!database.lock_folder().exists());
    assert!(matches!(sem::list(conn), Err(Error::NotMigrated)));
    sem::run_migrations(conn).unwrap();
}

#[test]
fn names_are_compared_exactly() {
    let database = Database::migrated();
    let conn = &mut database.connect();
    let longest = "ä".repeat(255);
    for name in ["a", "a ", "A", "ä", "a\u{308}", &longest] {
        assert!(sem::ensure(conn, name, 1).unwrap(), "{name:?}");
    }
    assert_eq!(sem::list(conn).unwrap().len(), 6);
}

/// The compiler can't know what is in it.
struct Wrapped(SqliteConnection);

impl TicketConnection for Wrapped {
    fn backend(&mut self) -> BackendConnection<'_> {
        self.0.backend()
    }
}

impl TransactionConnection for Wrapped {}

#[test]
fn your_transaction_never_holds_a_ticket() {
    let database = Database::with("x", 1);
    let mut conn = Wrapped(database.connect());
    assert!(matches!(
        sem::acquire(&mut conn, "x"),
        Err(Error::NotInTransaction)
    ));
    conn.0.begin_test_transaction().unwrap();
    assert!(matches!(
        sem::acquire(&mut conn, "x"),
        Err(Error::Unsupported { .. })
    ));
}
