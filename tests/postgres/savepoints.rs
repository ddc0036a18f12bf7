//! A rollback to a savepoint releases the tickets acquired after it, and the library knows.

use crate::kit::TestDatabase;
use diesel::{Connection, PgConnection, result::Error as DieselError};
use diesel_dbsemaphore::{self as sem, Request, Ticket};
use stand::Database;

fn rolled_back_savepoint<T>(
    conn: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> sem::Result<T>,
) -> T {
    let mut result = None;
    let ended = conn.transaction::<(), DieselError, _>(|c| {
        result = Some(work(c).unwrap());
        Err(DieselError::RollbackTransaction)
    });
    assert_eq!(ended, Err(DieselError::RollbackTransaction));
    result.unwrap()
}

#[test]
fn a_rollback_to_a_savepoint_releases_at_once() {
    let database = Database::with_size(1);
    let mut conn = database.connect();
    conn.transaction::<_, sem::Error, _>(|c| {
        rolled_back_savepoint(c, |c| sem::require(c, "x"));
        assert_eq!(database.available(), 1);

        // Somebody else has it now, so the old note must not be believed.
        let mut other = database.connect();
        other.transaction::<_, sem::Error, _>(|other| {
            let _ticket = sem::require(other, "x")?;
            assert!(sem::acquire(c, "x")?.is_none());
            Ok(())
        })?;
        let again = sem::require(c, "x")?;
        assert_eq!(sem::require(c, "x")?, again);
        assert_eq!(database.available(), 0);
        Ok(())
    })
    .unwrap();
}

#[test]
fn only_tickets_acquired_after_the_savepoint_are_released() {
    let database = Database::with_size(3);
    let mut conn = database.connect();
    conn.transaction::<_, sem::Error, _>(|c| {
        let one = sem::require(c, "x")?;
        let three: Ticket =
            rolled_back_savepoint(c, |c| sem::require(c, Request::new("x").tickets(3)));
        assert_eq!(three.count(), 3);
        assert_eq!(sem::require(c, "x")?, one);
        assert_eq!(database.available(), 2);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_released_savepoint_keeps_its_tickets() {
    let database = Database::with_size(2);
    let mut conn = database.connect();
    conn.transaction::<_, sem::Error, _>(|c| {
        let inner = c.transaction(|c| c.transaction(|c| sem::require(c, "x")))?;
        assert_eq!(sem::require(c, "x")?, inner);
        assert_eq!(database.available(), 1);
        Ok(())
    })
    .unwrap();
    assert_eq!(database.available(), 2);
}
