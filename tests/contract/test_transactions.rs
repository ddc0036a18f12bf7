//! Users' own tests: connections in `begin_test_transaction`, alone and in a pool.

use crate::kit::{ServerDatabase, TestDatabase, on_each_backend, on_each_server};
use diesel::{
    Connection,
    r2d2::{ConnectionManager, Pool, TestCustomizer},
};
use diesel_dbsemaphore::{self as sem, Error};

on_each_backend!(a_pool_whose_connections_are_all_in_test_transactions,);

on_each_server!(a_transaction_inside_a_test_transaction_is_one,);

fn a_transaction_inside_a_test_transaction_is_one<D: ServerDatabase>() {
    let database = D::with_size(1);
    let mut conn = database.connect();
    conn.begin_test_transaction().unwrap();
    conn.transaction::<_, Error, _>(|c| sem::require(c, "x").map(drop))
        .unwrap();
}

fn a_pool_whose_connections_are_all_in_test_transactions<D: TestDatabase>() {
    let database = D::with_size(1);
    let pool: Pool<ConnectionManager<D::Connection>> = Pool::builder()
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
