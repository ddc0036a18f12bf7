//! What a migration locks.

use crate::postgres::{
    number,
    upgrades::{database_at, folders},
};
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use std::fs;

/// The locks that this SQL takes, of those that an acquire or a holder would stand in the way of, and the next acquire behind
/// it: all holders have ROW SHARE on `ticket`, and have read the rest.
fn obstacles(conn: &mut PgConnection, sql: &str) -> i64 {
    conn.batch_execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS before (relation oid); TRUNCATE before; \
         INSERT INTO before SELECT oid FROM pg_class WHERE relnamespace = 'dbsemaphore'::regnamespace",
    )
    .unwrap();
    conn.test_transaction::<_, diesel::result::Error, _>(|c| {
        c.batch_execute(sql)?;
        Ok(number(
            c,
            "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() \
                 AND relation IN (SELECT relation FROM before) \
                 AND (mode = 'AccessExclusiveLock' \
                     OR mode = 'ExclusiveLock' AND relation = 'dbsemaphore.ticket'::regclass)",
        ))
    })
}

#[test]
fn no_migration_after_the_first_locks_tickets_against_acquires() {
    for (version, folder) in folders().iter().enumerate().skip(1) {
        let database = database_at(version);
        let conn = &mut database.connect();
        let up = fs::read_to_string(folder.join("up.sql")).unwrap();
        assert_eq!(obstacles(conn, &up), 0, "{}", folder.display());
        for obstacle in [
            "ALTER TABLE dbsemaphore.ticket ADD COLUMN x int",
            "LOCK TABLE dbsemaphore.ticket IN EXCLUSIVE MODE",
            "ALTER TABLE dbsemaphore.semaphore ADD COLUMN x int",
            "DROP INDEX dbsemaphore.x",
        ] {
            conn.batch_execute("CREATE INDEX IF NOT EXISTS x ON dbsemaphore.ticket (id, slot)")
                .unwrap();
            assert!(obstacles(conn, obstacle) > 0, "{obstacle}");
        }
    }
}
