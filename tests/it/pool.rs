//! Guards and pools.

use crate::tools::{database_with, free, number, pool};
use diesel::{Connection, RunQueryDsl};
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use std::thread;

/// The Python package opens a thread and a connection for each guard. None of these may be refused: never more than
/// four others hold a ticket, though which ones are held changes while a fifth looks.
#[test]
fn thousands_of_guards_through_a_pool_of_five() {
    let database = database_with(5);
    let pool = pool(&database, 5);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for _ in 0..250 {
                    let guard = SemaphoreTicket::require(pool.get().unwrap(), "x").unwrap();
                    drop(guard);
                }
            });
        }
    });
    let mut conn = database.connect();
    let opened = number(
        &mut conn,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    assert!(opened <= 5, "{opened} connections");
    assert_eq!(pool.state().connections, 5);
    assert_eq!(free(&database), 5);
}

#[test]
fn a_forgotten_guard_ends_with_its_connection() {
    let database = database_with(1);
    let pool = pool(&database, 1);
    {
        let mut conn = pool.get().unwrap();
        std::mem::forget(SemaphoreTicket::require(&mut conn, "x").unwrap());
        assert_eq!(free(&database), 0);
    }
    crate::tools::eventually("the ticket is back", || free(&database) == 1);
    drop(sem::SemaphoreTicket::require(pool.get().unwrap(), "x").unwrap());

    let mut conn = database.connect();
    std::mem::forget(SemaphoreTicket::require(&mut conn, "x").unwrap());
    drop(conn);
    crate::tools::eventually("the ticket is back", || free(&database) == 1);
}

#[test]
fn a_panic_gives_back_the_ticket_and_the_pool_survives() {
    let database = database_with(1);
    let pool = pool(&database, 1);
    for _ in 0..3 {
        let panicked = thread::scope(|scope| {
            scope
                .spawn(|| {
                    sem::with_ticket(&pool, "x", |_| -> sem::Result<()> { panic!("on purpose") })
                })
                .join()
        });
        assert!(panicked.is_err());
        let panicked = thread::scope(|scope| {
            scope
                .spawn(|| {
                    pool.get().unwrap().transaction(|c| -> sem::Result<()> {
                        let _ticket = sem::require(c, "x")?;
                        panic!("on purpose")
                    })
                })
                .join()
        });
        assert!(panicked.is_err());
        crate::tools::eventually("the ticket is back", || free(&database) == 1);
        diesel::sql_query("SELECT 1")
            .execute(&mut pool.get().unwrap())
            .unwrap();
    }
}

#[test]
fn an_exhausted_pool_is_an_error_of_the_pool() {
    let database = database_with(2);
    let pool = diesel::r2d2::Pool::builder()
        .max_size(1)
        // In which the first connection has to be made, too.
        .connection_timeout(std::time::Duration::from_secs(2))
        .build(diesel::r2d2::ConnectionManager::new(database.url()))
        .unwrap();
    let nested = sem::with_ticket(&pool, "x", |_| {
        sem::with_ticket(&pool, "x", |_| sem::Result::Ok(()))
    });
    assert!(matches!(nested, Err(sem::Error::Pool(_))));
}
