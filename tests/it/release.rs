//! However a holder ends, its ticket is released.

use crate::{
    children::Process,
    tools::{backend_pid, database_with, eventually, free, terminate},
};
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use stand::{Server, Stop};

#[test]
fn after_drop_and_release() {
    let database = database_with(1);
    let mut conn = database.connect();
    let guard = SemaphoreTicket::require(&mut conn, "x").unwrap();
    assert_eq!(free(&database), 0);
    drop(guard);
    assert_eq!(free(&database), 1);
    let guard = SemaphoreTicket::require(&mut conn, "x").unwrap();
    assert_eq!(free(&database), 0);
    guard.release().unwrap();
    assert_eq!(free(&database), 1);
}

#[test]
fn after_commit_and_rollback() {
    let database = database_with(1);
    let mut conn = database.connect();
    for end in [Ok(()), Err(sem::Error::NotMigrated)] {
        let committed = end.is_ok();
        let ended = conn.transaction::<(), sem::Error, _>(|c| {
            let _ticket = sem::require(c, "x")?;
            assert_eq!(free(&database), 0);
            end
        });
        assert_eq!(ended.is_ok(), committed);
        assert_eq!(free(&database), 1);
    }
}

#[test]
fn after_a_panic_on_a_connection_without_a_pool() {
    let database = database_with(1);
    for in_transaction in [false, true] {
        let panicked = std::thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let mut conn = database.connect();
                if in_transaction {
                    conn.transaction(|c| -> sem::Result<()> {
                        let _ticket = sem::require(c, "x")?;
                        panic!("on purpose")
                    })
                } else {
                    let _guard = SemaphoreTicket::require(&mut conn, "x")?;
                    panic!("on purpose")
                }
            });
            holder.join()
        });
        assert!(panicked.is_err());
        eventually("the ticket is released", || free(&database) == 1);
    }
}

#[test]
fn after_a_commit_by_raw_sql() {
    let database = database_with(1);
    let mut conn = database.connect();
    let ended = conn.transaction::<_, sem::Error, _>(|c| {
        let _ticket = sem::require(c, "x")?;
        c.batch_execute("COMMIT")?;
        assert_eq!(free(&database), 1);
        assert!(matches!(
            sem::acquire(c, "x"),
            Err(sem::Error::NotInTransaction)
        ));
        Ok(())
    });
    assert!(ended.is_err());
}

#[test]
fn after_kill_9() {
    let database = database_with(1);
    for role in ["hold", "hold in a transaction"] {
        let mut process = Process::start(role, &database);
        process.says();
        assert_eq!(free(&database), 0);
        process.kill();
        eventually("the ticket is released", || free(&database) == 1);
    }
}

#[test]
fn after_pg_terminate_backend() {
    let database = database_with(1);
    let mut conn = database.connect();
    let pid = backend_pid(&mut conn);
    let _guard = SemaphoreTicket::require(&mut conn, "x").unwrap();
    assert_eq!(free(&database), 0);
    terminate(&database, pid);
    assert_eq!(free(&database), 1);
}

#[test]
fn after_a_restart_of_the_server() {
    let mut server = Server::start();
    let database = server.create_database();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, "x", 1).unwrap();
    conn.batch_execute("CHECKPOINT").unwrap();
    for how in [Stop::Immediate, Stop::Fast, Stop::Kill] {
        let mut holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
        let mut transaction = database.connect();
        let lost = transaction.transaction::<_, sem::Error, _>(|c| {
            assert!(sem::acquire(c, "x")?.is_none());
            server.restart(how);
            assert_eq!(free(&database), 1);
            let again = SemaphoreTicket::require(database.connect(), "x")?;
            assert!(matches!(holder.check(), Err(sem::Error::TicketLost { .. })));
            drop(again);
            sem::acquire(c, "x")
        });
        assert!(lost.is_err());
    }
}
