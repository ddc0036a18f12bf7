//! `SemaphoreTicket`: a transaction of its own.

use crate::kit::{ServerDatabase, TestDatabase, eventually};
use crate::postgres::number;
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::Database;

/// A cancel that hits a check aborts the transaction, and so gives the ticket back.
#[test]
fn release_remembers_a_check_that_failed() {
    let database = Database::with_size(1);
    let mut guard = SemaphoreTicket::require(Meddled::new(&database), "x").unwrap();
    Meddled::meddle(&mut guard, "SELECT 1/0");
    assert!(matches!(guard.check(), Err(Error::TicketLost { .. })));
    assert_eq!(database.available(), 1);
    assert!(matches!(guard.release(), Err(Error::TicketLost { .. })));
}

#[test]
fn check_detects_an_exchanged_transaction() {
    let database = Database::with_size(1);
    let mut guard = SemaphoreTicket::require(Meddled::new(&database), "x").unwrap();
    Meddled::meddle(&mut guard, "ROLLBACK; BEGIN");
    assert!(matches!(
        guard.check(),
        Err(Error::TicketLost { source: None, .. })
    ));
}

/// A connection into which a test can get while a guard has it.
struct Meddled(
    std::rc::Rc<std::cell::RefCell<Option<String>>>,
    PgConnection,
);

thread_local! {
    static MEDDLING: std::rc::Rc<std::cell::RefCell<Option<String>>> = std::rc::Rc::default();
}

impl Meddled {
    fn new(database: &Database) -> Self {
        Self(MEDDLING.with(std::rc::Rc::clone), database.connect())
    }

    /// Runs at the guard's next use of the connection.
    fn meddle(_: &mut SemaphoreTicket<Self>, statement: &str) {
        MEDDLING.with(|meddling| *meddling.borrow_mut() = Some(statement.to_owned()));
    }
}

impl sem::TicketConnection for Meddled {
    fn backend(&mut self) -> sem::BackendConnection<'_> {
        if let Some(statement) = self.0.borrow_mut().take() {
            let _ = self.1.batch_execute(&statement);
        }
        self.1.backend()
    }
}

#[test]
fn overrides_settings_that_would_release_the_ticket() {
    let database = Database::with_size(1);
    let mut conn = database.connect();
    let settings = "SET idle_in_transaction_session_timeout = '1s'; SET statement_timeout = '15s'; \
        SET lock_timeout = '14s'; SET default_transaction_isolation = 'serializable'; \
        SET default_transaction_read_only = on; \
        SELECT set_config(name, '1s', false) FROM pg_settings WHERE name = 'transaction_timeout'";
    conn.batch_execute(settings).unwrap();
    let all = "SELECT hashtext(string_agg(name || '=' || setting, ' ' ORDER BY name)) FROM pg_settings \
        WHERE name ~ '_timeout|^tcp_|check_interval|^transaction_|^default_'";
    let before = number(&mut conn, all);
    for request in [Request::new("x"), Request::new("x").wait_forever()] {
        let mut guard = SemaphoreTicket::require(&mut conn, request).unwrap();
        // This time is what the test is about.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        guard.check().unwrap();
        guard.release().unwrap();
        assert_eq!(number(&mut conn, all), before);
    }
}

/// Diesel knows nothing of it, nor can the guard, before the server says so: by then it is aborted.
#[test]
fn does_not_join_a_transaction_that_raw_sql_has_opened() {
    let database = Database::with_size(1);
    let mut conn = database.connect();
    let waits = [Request::new("x"), Request::new("x").wait_forever()];
    for opened in [
        "BEGIN; CREATE TABLE mine (id int)",
        "BEGIN; SELECT 1",
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1",
        "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE; SELECT 1",
    ] {
        for request in waits {
            conn.batch_execute(opened).unwrap();
            let refused = SemaphoreTicket::acquire(&mut conn, request).map(drop);
            assert!(
                matches!(refused, Err(Error::AlreadyInTransaction)),
                "{opened}: {refused:?}"
            );
            drop(SemaphoreTicket::require(&mut conn, "x").unwrap());
        }
    }
}

/// The server's administrator switches timeouts on while a guard holds its ticket. A session obeys from its next statement
/// on.
#[test]
fn a_changed_configuration_ends_no_guard() {
    let server = stand::Server::start();
    let database = server.create_database();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, "x", 2).unwrap();
    let by_tcp = format!(
        "postgres://postgres@127.0.0.1:{}/{}",
        server.port(),
        database.name()
    );
    let mut guards = [database.url(), by_tcp].map(|url| {
        let conn = PgConnection::establish(&url).unwrap();
        SemaphoreTicket::require(conn, "x").unwrap()
    });
    let mut other = database.connect();
    let pid = Database::session_id(&mut other);
    other.begin_test_transaction().unwrap();
    conn.batch_execute("ALTER SYSTEM SET idle_in_transaction_session_timeout = 100")
        .unwrap();
    conn.batch_execute("SELECT pg_reload_conf()").unwrap();
    let learned = "SELECT (current_setting('idle_in_transaction_session_timeout') = '100ms')::int";
    eventually("the sessions have learned of it", || {
        let has_learned = number(&mut other, learned) == 1;
        for guard in &mut guards {
            guard.check().unwrap();
        }
        has_learned
    });
    let alive = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    eventually("another transaction is ended", || {
        number(&mut conn, &alive) == 0
    });
    for mut guard in guards {
        guard.check().unwrap();
        guard.release().unwrap();
    }
}
