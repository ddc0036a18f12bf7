//! However a holder ends, its ticket is released.

use crate::kit::TestDatabase;
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem};
use stand::Database;

#[test]
fn after_a_commit_by_raw_sql() {
    let database = Database::with_size(1);
    let mut conn = database.connect();
    let ended = conn.transaction::<_, sem::Error, _>(|c| {
        let _ticket = sem::require(c, "x")?;
        c.batch_execute("COMMIT")?;
        assert_eq!(database.available(), 1);
        assert!(matches!(
            sem::acquire(c, "x"),
            Err(sem::Error::NotInTransaction)
        ));
        Ok(())
    });
    assert!(ended.is_err());
}
