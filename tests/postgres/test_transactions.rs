//! Users' own tests: connections in `begin_test_transaction`, alone and in a pool.

use crate::kit::TestDatabase;
use diesel::Connection;
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use stand::Database;

#[test]
fn the_guard_uses_a_savepoint() {
    let database = Database::with_size(1);
    let mut conn = database.connect();
    conn.begin_test_transaction().unwrap();
    for _ in 0..2 {
        let mut guard = SemaphoreTicket::require(&mut conn, "x").unwrap();
        assert_eq!(database.available(), 0);
        guard.check().unwrap();
        guard.release().unwrap();
        assert_eq!(database.available(), 1);
    }
    sem::make(&mut conn, "y", 1).unwrap();
    drop(SemaphoreTicket::require(&mut conn, "y").unwrap());
    sem::require(&mut conn, "x").unwrap();
    assert_eq!(database.available(), 0);
}
