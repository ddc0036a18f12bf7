//! Users' own tests: connections in `begin_test_transaction`, alone and in a pool.

use crate::tools::{database_with, free};
use diesel::{
    Connection, PgConnection,
    r2d2::{ConnectionManager, Pool, TestCustomizer},
};
use diesel_dbsemaphore::{self as sem, Error, SemaphoreTicket};

#[test]
fn the_guard_uses_a_savepoint() {
    let database = database_with(1);
    let mut conn = database.connect();
    conn.begin_test_transaction().unwrap();
    for _ in 0..2 {
        let mut guard = SemaphoreTicket::require(&mut conn, "x").unwrap();
        assert_eq!(free(&database), 0);
        guard.check().unwrap();
        guard.release().unwrap();
        assert_eq!(free(&database), 1);
    }
    sem::make(&mut conn, "y", 1).unwrap();
    drop(SemaphoreTicket::require(&mut conn, "y").unwrap());
    sem::require(&mut conn, "x").unwrap();
    assert_eq!(free(&database), 0);
}

#[test]
fn a_transaction_inside_a_test_transaction_is_one() {
    let database = database_with(1);
    let mut conn = database.connect();
    conn.begin_test_transaction().unwrap();
    conn.transaction::<_, Error, _>(|c| sem::require(c, "x").map(drop))
        .unwrap();
}

#[test]
fn a_pool_whose_connections_are_all_in_test_transactions() {
    let database = database_with(1);
    let pool: Pool<ConnectionManager<PgConnection>> = Pool::builder()
        .max_size(1)
        .connection_customizer(Box::new(TestCustomizer))
        .build(ConnectionManager::new(database.url()))
        .unwrap();
    sem::make(&mut pool.get().unwrap(), "mine", 1).unwrap();
    for _ in 0..3 {
        sem::with_ticket(&pool, "mine", |guard| guard.check()).unwrap();
    }
    let refused = sem::with_ticket(&pool, "none of mine", |_| sem::Result::Ok(()));
    assert!(matches!(refused, Err(Error::UnknownSemaphore { .. })));
    assert_eq!(sem::list(&mut pool.get().unwrap()).unwrap().len(), 2);
    drop(pool);
    assert_eq!(sem::list(&mut database.connect()).unwrap().len(), 1);
}
