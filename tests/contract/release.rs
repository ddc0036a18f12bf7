//! However a holder ends, its ticket is released.

use crate::kit::{
    ServerDatabase, TestDatabase, eventually, on_each_backend, on_each_server, process::Process,
};
use diesel::Connection;
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use stand::{Stop, server::Server};
use std::thread;

on_each_backend!(
    after_drop_and_release,
    after_a_panic_on_a_connection_without_a_pool,
);

on_each_server!(
    after_commit_and_rollback,
    after_a_panic_in_a_transaction_without_a_pool,
    after_kill_9,
    after_a_killed_session,
    after_a_restart_of_the_server,
);

fn after_drop_and_release<D: TestDatabase>() {
    let database = D::with_size(1);
    let mut conn = database.connect();
    let guard = SemaphoreTicket::require(&mut conn, "x").unwrap();
    assert_eq!(database.available(), 0);
    drop(guard);
    assert_eq!(database.available(), 1);
    let guard = SemaphoreTicket::require(&mut conn, "x").unwrap();
    assert_eq!(database.available(), 0);
    guard.release().unwrap();
    assert_eq!(database.available(), 1);
}

fn after_commit_and_rollback<D: ServerDatabase>() {
    let database = D::with_size(1);
    let mut conn = database.connect();
    for end in [Ok(()), Err(sem::Error::NotMigrated)] {
        let committed = end.is_ok();
        let ended = conn.transaction::<(), sem::Error, _>(|c| {
            let _ticket = sem::require(c, "x")?;
            assert_eq!(database.available(), 0);
            end
        });
        assert_eq!(ended.is_ok(), committed);
        assert_eq!(database.available(), 1);
    }
}

fn after_a_panic_on_a_connection_without_a_pool<D: TestDatabase>() {
    assert_released_by_panic::<D>(|mut conn| {
        let _guard = SemaphoreTicket::require(&mut conn, "x")?;
        panic!("on purpose")
    });
}

fn after_a_panic_in_a_transaction_without_a_pool<D: ServerDatabase>() {
    assert_released_by_panic::<D>(|mut conn| {
        conn.transaction(|c| {
            let _ticket = sem::require(c, "x")?;
            panic!("on purpose")
        })
    });
}

fn assert_released_by_panic<D: TestDatabase>(holder: fn(D::Connection) -> sem::Result<()>) {
    let database = D::with_size(1);
    let conn = database.connect();
    let panicked = thread::scope(|scope| scope.spawn(move || holder(conn)).join());
    assert!(panicked.is_err());
    eventually("the ticket is released", || database.available() == 1);
}

fn after_kill_9<D: ServerDatabase>() {
    let database = D::with_size(1);
    for role in ["hold", "hold in a transaction"] {
        let mut process = Process::start(role, &database);
        process.says();
        assert_eq!(database.available(), 0);
        process.kill();
        eventually("the ticket is released", || database.available() == 1);
    }
}

fn after_a_killed_session<D: ServerDatabase>() {
    let database = D::with_size(1);
    let mut conn = database.connect();
    let pid = D::session_id(&mut conn);
    let _guard = SemaphoreTicket::require(&mut conn, "x").unwrap();
    assert_eq!(database.available(), 0);
    database.kill_session(pid);
    assert_eq!(database.available(), 1);
}

fn after_a_restart_of_the_server<D: ServerDatabase>() {
    // It loses nothing that was committed.
    let mut server = Server::<D::Backend>::start_with(&[]);
    let database = D::on(&server);
    database.migrate(1);
    for how in [Stop::Immediate, Stop::Fast, Stop::Kill] {
        let mut holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
        let mut transaction = database.connect();
        let lost = transaction.transaction::<_, sem::Error, _>(|c| {
            assert!(sem::acquire(c, "x")?.is_none());
            server.restart(how);
            assert_eq!(database.available(), 1);
            let again = SemaphoreTicket::require(database.connect(), "x")?;
            assert!(matches!(holder.check(), Err(sem::Error::TicketLost { .. })));
            drop(again);
            sem::acquire(c, "x")
        });
        assert!(lost.is_err());
    }
}
