//! Each public function once.

use super::Database;
use crate::kit::TestDatabase;
use diesel::{Connection, RunQueryDsl, SqliteConnection};
use diesel_dbsemaphore::{
    self as sem, BackendConnection, Error, Request, SemaphoreTicket, TicketConnection,
    TransactionConnection,
};
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

#[test]
fn guard_acquires_and_releases() {
    let database = Database::with("x", 2);
    let first = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let second = SemaphoreTicket::require(database.connect(), "x").unwrap();
    assert_ne!(first.ticket().ids(), second.ticket().ids());
    assert!(
        SemaphoreTicket::acquire(database.connect(), "x")
            .unwrap()
            .is_none()
    );
    let mut conn = first.release().unwrap();
    let third = SemaphoreTicket::require(&mut conn, "x").unwrap();
    assert!(third.ticket().fencing_token() > second.ticket().fencing_token());
    drop((second, third));
    assert!(
        SemaphoreTicket::acquire(conn, Request::new("x").tickets(2))
            .unwrap()
            .is_some()
    );
}

#[test]
fn several_tickets_are_acquired_all_or_none() {
    let database = Database::with("x", 3);
    let mut one = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let three = Request::new("x").tickets(3);
    assert!(
        SemaphoreTicket::acquire(database.connect(), three)
            .unwrap()
            .is_none()
    );
    let two = SemaphoreTicket::require(database.connect(), three.tickets(2)).unwrap();
    assert_eq!(two.ticket().count(), 2);
    one.check().unwrap();
    let too_many = SemaphoreTicket::require(database.connect(), three.tickets(4));
    assert!(matches!(
        too_many,
        Err(Error::InvalidTickets {
            tickets: 4,
            limit: 3,
            ..
        })
    ));
}

#[test]
fn semaphores_are_created_resized_and_destroyed() {
    let database = Database::migrated();
    let conn = &mut database.connect();
    assert!(sem::ensure(conn, "x", 3).unwrap());
    assert!(!sem::ensure(conn, "x", 5).unwrap());
    sem::make(conn, "y", 0).unwrap();
    sem::make(conn, "x", 5).unwrap();
    let sizes = BTreeMap::from([("x".to_owned(), 5), ("y".to_owned(), 0)]);
    assert_eq!(sem::list(conn).unwrap(), sizes);
    sem::make(conn, "x", 1).unwrap();
    assert_eq!(sem::list(conn).unwrap()["x"], 1);
    assert!(sem::destroy(conn, "x").unwrap());
    assert!(!sem::destroy(conn, "x").unwrap());
    let unknown = SemaphoreTicket::require(database.connect(), "x");
    assert!(matches!(unknown, Err(Error::UnknownSemaphore { .. })));
    assert!(
        SemaphoreTicket::acquire(database.connect(), "y")
            .unwrap()
            .is_none()
    );
}

#[test]
fn shrinking_deletes_available_tickets_first() {
    let database = Database::with("x", 3);
    let conn = &mut database.connect();
    for _ in 0..20 {
        let held = SemaphoreTicket::require(database.connect(), "x").unwrap();
        sem::make(conn, "x", 1).unwrap();
        assert!(
            SemaphoreTicket::acquire(database.connect(), "x")
                .unwrap()
                .is_none()
        );
        sem::make(conn, "x", 3).unwrap();
        drop(held);
    }
}

#[test]
fn with_ticket_waits() {
    let database = Database::with("x", 1);
    let pool = &database.pool(2);
    let held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    thread::scope(|scope| {
        let request = Request::new("x")
            .wait(Duration::from_secs(10))
            .label("second");
        let waiter = scope.spawn(move || sem::with_ticket(pool, request, |_| Ok::<_, Error>(7)));
        while sem::usage_of(&mut database.connect(), "x").unwrap().waiting == 0 {
            thread::yield_now();
        }
        let waiters = sem::waiters(&mut database.connect(), "x").unwrap();
        assert_eq!(waiters[0].session.label.as_deref(), Some("second"));
        assert_eq!(waiters[0].tickets, Some(1));
        drop(held);
        assert_eq!(waiter.join().unwrap().unwrap(), 7);
    });
    assert!(database.queue().is_empty());
}

#[test]
fn wait_ends_in_time() {
    let database = Database::with("x", 1);
    let _held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let limit = Duration::from_millis(80);
    let began = Instant::now();
    let request = Request::new("x").wait(limit);
    assert!(
        SemaphoreTicket::acquire(database.connect(), request)
            .unwrap()
            .is_none()
    );
    assert!(began.elapsed() >= limit, "{:?}", began.elapsed());
    assert!(began.elapsed() < limit * 5, "{:?}", began.elapsed());
}

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
