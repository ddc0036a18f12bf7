//! The session and the transaction of a guard.

use super::{is_mariadb, number, run, with_semaphore};
use crate::kit::ServerDatabase;
use diesel::{
    Connection, MysqlConnection,
    connection::SimpleConnection,
    r2d2::{ConnectionManager, Pool},
};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::eventually;
use std::time::Duration;

/// The session's settings that a guard changes.
fn settings(conn: &mut MysqlConnection) -> Vec<i64> {
    let mut names = vec!["autocommit", "wait_timeout"];
    if is_mariadb(conn) {
        names.extend([
            "idle_transaction_timeout",
            "idle_readonly_transaction_timeout",
            "idle_write_transaction_timeout",
            "max_statement_time",
        ]);
    } else {
        names.push("max_execution_time");
    }
    names
        .into_iter()
        .map(|name| number(conn, &format!("@@SESSION.{name}")))
        .collect()
}

#[test]
fn settings_of_the_session_are_restored() {
    let (database, mut conn) = with_semaphore("reports", 2);
    if is_mariadb(&mut conn) {
        run(&mut conn, "SET SESSION wait_timeout = 71, SESSION idle_transaction_timeout = 72, SESSION idle_write_transaction_timeout = 73, SESSION idle_readonly_transaction_timeout = 74, SESSION max_statement_time = 75").unwrap();
    } else {
        run(
            &mut conn,
            "SET SESSION wait_timeout = 71, SESSION max_execution_time = 75000",
        )
        .unwrap();
    }
    let before = settings(&mut conn);
    SemaphoreTicket::require(&mut conn, "reports")
        .unwrap()
        .release()
        .unwrap();
    assert_eq!(settings(&mut conn), before);
    drop(SemaphoreTicket::require(&mut conn, Request::new("reports").label("x")).unwrap());
    assert_eq!(settings(&mut conn), before);
    let all =
        SemaphoreTicket::require(database.connect(), Request::new("reports").tickets(2)).unwrap();
    assert!(
        SemaphoreTicket::acquire(&mut conn, "reports")
            .unwrap()
            .is_none()
    );
    assert_eq!(settings(&mut conn), before);
    let request = Request::new("reports").wait(Duration::from_millis(20));
    assert!(
        SemaphoreTicket::acquire(&mut conn, request)
            .unwrap()
            .is_none()
    );
    assert_eq!(settings(&mut conn), before);
    assert!(SemaphoreTicket::acquire(&mut conn, "unknown").is_err());
    assert_eq!(settings(&mut conn), before);
    drop(all);
    run(&mut conn, "SET SESSION autocommit = 0").unwrap();
    SemaphoreTicket::require(&mut conn, "reports")
        .unwrap()
        .release()
        .unwrap();
    assert_eq!(settings(&mut conn)[0], 0);
    // The ticket is released, too.
    let request = Request::new("reports").tickets(2);
    drop(SemaphoreTicket::require(database.connect(), request).unwrap());
}

#[test]
fn idle_timeouts_do_not_release_a_ticket() {
    let (database, _) = with_semaphore("reports", 2);
    let mut conn = database.connect();
    run(&mut conn, "SET SESSION wait_timeout = 1").unwrap();
    if is_mariadb(&mut conn) {
        run(
            &mut conn,
            "SET SESSION idle_transaction_timeout = 1, SESSION idle_write_transaction_timeout = 1",
        )
        .unwrap();
    }
    // Several tickets that may wait are searched for by the head of the queue alone. Its limit ends with the wait.
    let request = Request::new("reports")
        .tickets(2)
        .wait(Duration::from_secs(60))
        .host_timeout(Duration::from_secs(1));
    let mut guard = SemaphoreTicket::require(&mut conn, request).unwrap();
    // Such a session, which is idle for less time than that of the guard, is ended.
    let mut idle = database.connect();
    let session = number(&mut idle, "CONNECTION_ID()");
    run(&mut idle, "SET SESSION wait_timeout = 1").unwrap();
    eventually("an idle session is ended", || {
        !database.has_session(session)
    });
    guard.check().unwrap();
    assert!(
        SemaphoreTicket::acquire(database.connect(), "reports")
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_transaction_of_raw_sql_is_refused_and_left_alone() {
    let (_database, mut conn) = with_semaphore("reports", 1);
    conn.batch_execute("CREATE TABLE work (id int); BEGIN; INSERT INTO work VALUES (1)")
        .unwrap();
    assert!(matches!(
        SemaphoreTicket::acquire(&mut conn, "reports"),
        Err(Error::AlreadyInTransaction)
    ));
    conn.batch_execute("ROLLBACK").unwrap();
    assert_eq!(number(&mut conn, "(SELECT COUNT(*) FROM work)"), 0);
}

#[test]
fn check_detects_the_end_of_the_session() {
    let (database, mut conn) = with_semaphore("reports", 1);
    let mut holder = database.connect();
    let session = number(&mut holder, "CONNECTION_ID()");
    let mut guard = SemaphoreTicket::require(holder, "reports").unwrap();
    guard.check().unwrap();
    run(&mut conn, &format!("KILL {session}")).unwrap();
    eventually("the ticket is lost", || guard.check().is_err());
    assert!(matches!(guard.release(), Err(Error::TicketLost { .. })));
    eventually("the ticket is available", || {
        SemaphoreTicket::acquire(database.connect(), "reports")
            .unwrap()
            .is_some()
    });
}

#[test]
fn a_watched_guard_has_a_heartbeat_that_ends_with_it() {
    let (database, _) = with_semaphore("reports", 1);
    let pool = Pool::builder()
        .max_size(1)
        .build(ConnectionManager::<MysqlConnection>::new(database.url()))
        .unwrap();
    let before = number(&mut pool.get().unwrap(), "@@SESSION.wait_timeout");
    let watched = SemaphoreTicket::require(pool.get().unwrap(), "reports")
        .unwrap()
        .watch(Duration::from_millis(10));
    assert!(!watched.wait_lost(Duration::from_millis(100)));
    let mut after = watched.release().unwrap();
    assert_eq!(number(&mut after, "@@SESSION.wait_timeout"), before);
}

#[test]
fn a_test_transaction_is_used_by_a_savepoint() {
    let (database, _) = with_semaphore("reports", 1);
    let mut conn = database.connect();
    conn.begin_test_transaction().unwrap();
    // InnoDB keeps row locks at a rollback to a savepoint, unless the transaction had not used it before.
    run(&mut conn, "SELECT id FROM dbsemaphore_semaphore").unwrap();
    {
        let mut guard = SemaphoreTicket::require(&mut conn, "reports").unwrap();
        guard.check().unwrap();
        guard.release().unwrap();
    }
    // The row lock belongs to the same transaction.
    SemaphoreTicket::require(&mut conn, "reports")
        .unwrap()
        .release()
        .unwrap();
    assert!(
        SemaphoreTicket::acquire(database.connect(), "reports")
            .unwrap()
            .is_none()
    );
    drop(conn);
    eventually("the ticket is available", || {
        SemaphoreTicket::acquire(database.connect(), "reports")
            .unwrap()
            .is_some()
    });
}

#[test]
fn a_read_only_server_refuses() {
    let server = stand::mysql::Server::start();
    let database = server.create_database();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, "reports", 1).unwrap();
    run(&mut conn, "SET GLOBAL read_only = 1").unwrap();
    let error = SemaphoreTicket::acquire(&mut conn, "reports").unwrap_err();
    assert!(error.to_string().contains("primary server"), "{error}");
    let error = conn
        .transaction(|conn| sem::acquire(conn, "reports"))
        .unwrap_err();
    assert!(error.to_string().contains("primary server"), "{error}");
    run(&mut conn, "SET GLOBAL read_only = 0").unwrap();
    drop(SemaphoreTicket::require(&mut conn, "reports").unwrap());
}
