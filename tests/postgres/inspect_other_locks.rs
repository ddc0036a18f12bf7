//! Holders as others see them, when the rows of tickets are locked by other means, or by prepared transactions.

use crate::contract::inspect::{holders, owned, pids, usage};
use crate::kit::TestDatabase;
use crate::postgres::inspect::pid;
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use stand::{Database, Server};

/// On a server where nothing else runs, the numbers of running transactions are newer than each that has ended.
#[test]
fn a_ticket_that_is_locked_by_other_means_is_seen_on_a_quiet_server() {
    let server = Server::start();
    let database = server.create_database();
    let conn = &mut database.connect();
    sem::run_migrations(conn).unwrap();
    sem::make(conn, "x", 2).unwrap();
    let mut other = database.connect();
    let lock = "SELECT FROM dbsemaphore.ticket WHERE slot = 0 FOR UPDATE";
    other
        .batch_execute(&format!("BEGIN; SAVEPOINT s; {lock}; RELEASE s"))
        .unwrap();
    let seen = sem::holders(conn, "x").unwrap();
    assert_eq!((seen.len(), seen[0].session.pid), (1, None));
    other.batch_execute("ROLLBACK").unwrap();
    assert_eq!(sem::holders(conn, "x").unwrap(), []);
}

/// A row that refers to a ticket locks the ticket's row, too, but weakly: it holds no ticket.
#[test]
fn foreign_keys_to_tickets_hide_no_holder() {
    let database = Database::with_size(2);
    let mut work = database.connect();
    work.batch_execute("CREATE TABLE work (ticket bigint REFERENCES dbsemaphore.ticket)")
        .unwrap();
    let mut conn = database.connect();
    let pid = pid(&mut conn);
    let guard = SemaphoreTicket::require(conn, "x").unwrap();
    work.begin_test_transaction().unwrap();
    work.batch_execute("INSERT INTO work SELECT id FROM dbsemaphore.ticket")
        .unwrap();
    assert_eq!(pids(&holders(&database)), owned(guard.ticket(), pid));
    assert_eq!(usage(&database).in_use, 1);

    // The last locker of the row is gone, and the ticket is still held.
    drop(work);
    assert_eq!(pids(&holders(&database)), owned(guard.ticket(), pid));
    drop(guard);
    assert_eq!(holders(&database), []);
}

#[test]
fn a_prepared_transaction_is_named() {
    let server = Server::start_with(&["max_prepared_transactions=2"]);
    let database = server.create_database();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, "x", 1).unwrap();
    conn.batch_execute("BEGIN").unwrap();
    conn.batch_execute(
        "SELECT dbsemaphore._try_acquire('x', 1, NULL, NULL); PREPARE TRANSACTION 'moving house'",
    )
    .unwrap();
    let seen = sem::holders(&mut conn, "x").unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        seen[0].prepared_transaction.as_deref(),
        Some("moving house")
    );
    assert_eq!(seen[0].session.pid, None);
    assert_eq!(seen[0].session.role.as_deref(), Some("postgres"));
    conn.batch_execute("ROLLBACK PREPARED 'moving house'")
        .unwrap();
    assert_eq!(sem::holders(&mut conn, "x").unwrap(), []);
}

/// As after a server's clock was set back by an hour.
#[test]
fn a_time_in_the_future_is_unknown() {
    let database = Database::with_size(1);
    let mut conn = database.connect();
    conn.begin_test_transaction().unwrap();
    conn.batch_execute(
        "SELECT pg_advisory_xact_lock_shared(dbsemaphore._holder_key(id) + 3600 * 32) FROM dbsemaphore.ticket \
         FOR NO KEY UPDATE",
    )
    .unwrap();
    let seen = holders(&database);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].held_for, None);
}

/// An application's trigger is no foreign key.
#[test]
fn triggers_on_tickets_hide_no_ticket() {
    let database = Database::with_size(100);
    let mut conn = database.connect();
    conn.batch_execute(
        "CREATE TRIGGER x BEFORE UPDATE ON dbsemaphore.ticket \
         FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    )
    .unwrap();
    let _guard = SemaphoreTicket::require(conn, Request::new("x").tickets(100)).unwrap();
    assert_eq!(usage(&database).in_use, 100);
}
