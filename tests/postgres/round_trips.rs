//! Exactly which statements go over the wire, and which of them are prepared.

use crate::kit::{TestDatabase, eventually};
use diesel::{
    Connection, PgConnection,
    connection::{Instrumentation, InstrumentationEvent},
};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use stand::Database;
use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Vec<String>>>);

impl Instrumentation for Wire {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        let mut log = self.0.lock().unwrap();
        match event {
            InstrumentationEvent::StartQuery { query, .. } => log.push(query.to_string()),
            InstrumentationEvent::CacheQuery { sql, .. } => log.push(format!("prepare {sql}")),
            _ => {}
        }
    }
}

impl Wire {
    fn tap(conn: &mut PgConnection) -> Self {
        let wire = Self::default();
        conn.set_instrumentation(wire.clone());
        wire
    }

    /// What was sent since this was last asked: first words, without the binds that Diesel shows.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
            .into_iter()
            .map(|query| query.split(" -- ").next().unwrap().to_owned())
            .collect()
    }
}

const TRY_ACQUIRE: &str = "SELECT dbsemaphore._try_acquire($1, $2, $3, $4)";

#[test]
fn a_guard_takes_three_and_prepares_once() {
    let database = Database::with_size(1);
    let mut conn = database.connect();
    let wire = Wire::tap(&mut conn);
    SemaphoreTicket::require(&mut conn, "x")
        .unwrap()
        .release()
        .unwrap();
    assert!(wire.take().contains(&format!("prepare {TRY_ACQUIRE}")));

    for request in [Request::new("x"), Request::new("x").tickets(1)] {
        let guard = SemaphoreTicket::require(&mut conn, request).unwrap();
        let sent = wire.take();
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert!(
            sent[0].starts_with("BEGIN NOT DEFERRABLE ISOLATION LEVEL READ COMMITTED READ WRITE")
        );
        assert_eq!(sent[1], TRY_ACQUIRE);
        drop(guard);
        assert_eq!(wire.take(), ["ROLLBACK"]);
    }
}

#[test]
fn acquire_in_a_transaction_takes_one() {
    let database = Database::with_size(3);
    let mut conn = database.connect();
    let wire = Wire::tap(&mut conn);
    for request in [Request::new("x"), Request::new("x").tickets(2)] {
        conn.transaction(|c| sem::require(c, request)).unwrap();
    }
    wire.take();
    conn.transaction::<_, sem::Error, _>(|c| {
        assert_eq!(wire.take(), ["BEGIN"]);
        sem::require(c, "x")?;
        assert_eq!(wire.take(), [TRY_ACQUIRE]);
        sem::require(c, "x")?;
        assert_eq!(wire.take(), [TRY_ACQUIRE]);
        sem::require(c, Request::new("x").tickets(3))?;
        assert_eq!(wire.take(), [TRY_ACQUIRE]);
        assert!(sem::acquire(c, Request::new("x").tickets(4)).is_err());
        assert_eq!(wire.take(), [TRY_ACQUIRE]);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_refused_guard_takes_three() {
    let database = Database::with_size(0);
    let mut conn = database.connect();
    assert!(SemaphoreTicket::acquire(&mut conn, "x").unwrap().is_none());
    let wire = Wire::tap(&mut conn);
    assert!(SemaphoreTicket::acquire(&mut conn, "x").unwrap().is_none());
    assert_eq!(wire.take().len(), 3);
}

#[test]
fn a_wait_that_need_not_wait_takes_no_more() {
    let database = Database::with_size(1);
    let mut conn = database.connect();
    let request = Request::new("x").wait_forever();
    drop(SemaphoreTicket::require(&mut conn, request).unwrap());
    conn.transaction(|c| sem::require(c, request)).unwrap();
    let wire = Wire::tap(&mut conn);
    drop(SemaphoreTicket::require(&mut conn, request).unwrap());
    assert_eq!(wire.take().len(), 3);
    conn.transaction(|c| sem::require(c, request)).unwrap();
    assert_eq!(wire.take(), ["BEGIN", TRY_ACQUIRE, "COMMIT"]);
}

#[test]
fn a_guard_that_has_to_wait_takes_one_more() {
    let database = Database::with_size(0);
    let mut conn = database.connect();
    let wire = Wire::tap(&mut conn);
    let request = Request::new("x").wait(Duration::from_millis(10));
    assert!(
        SemaphoreTicket::acquire(&mut conn, request)
            .unwrap()
            .is_none()
    );
    let sent = wire.take();
    let sent: Vec<&String> = sent
        .iter()
        .filter(|sent| !sent.starts_with("prepare"))
        .collect();
    assert_eq!(sent.len(), 4, "{sent:?}");
}

/// In a savepoint, with a query before and after the wait.
#[test]
fn a_wait_in_a_transaction_takes_six() {
    let database = Database::with_size(1);
    let (mut first, mut second) = (database.connect(), database.connect());
    let wire = Wire::tap(&mut second);
    let request = Request::new("x").wait_forever();
    let guard = SemaphoreTicket::require(&mut first, request).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| second.transaction(|c| sem::require(c, request)));
        let mut observer = database.connect();
        eventually("the other waits", || {
            !sem::waiters(&mut observer, "x").unwrap().is_empty()
        });
        drop(guard);
        waiter.join().unwrap().unwrap();
    });
    let sent = wire.take();
    let sent = sent.iter().filter(|sent| !sent.starts_with("prepare"));
    let sent: Vec<&String> = sent.collect();
    assert_eq!(sent.len(), 2 + 6, "{sent:?}");
}

#[test]
fn a_check_takes_one() {
    let database = Database::with_size(1);
    let mut conn = database.connect();
    let wire = Wire::tap(&mut conn);
    let mut guard = SemaphoreTicket::require(&mut conn, "x").unwrap();
    guard.check().unwrap();
    wire.take();
    guard.check().unwrap();
    let sent = wire.take();
    assert_eq!(sent.len(), 1, "{sent:?}");
}

#[test]
fn an_invalid_request_sends_nothing() {
    let database = Database::with_size(1);
    let mut conn = database.connect();
    let wire = Wire::tap(&mut conn);
    assert!(SemaphoreTicket::acquire(&mut conn, "").is_err());
    assert!(sem::acquire(&mut conn, "x").is_err());
    assert!(sem::make(&mut conn, "x", 1_000_001).is_err());
    assert!(sem::ensure(&mut conn, "\0", 1).is_err());
    assert_eq!(wire.take(), [""; 0]);
}

#[test]
fn migrations_with_nothing_to_do_only_read() {
    let database = Database::with_size(1);
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    let wire = Wire::tap(&mut conn);
    sem::run_migrations(&mut conn).unwrap();
    let sent = wire.take();
    assert!(
        sent.iter().all(|sent| sent.starts_with("SELECT")),
        "{sent:?}"
    );
}
