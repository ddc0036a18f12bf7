//! While others have locked the database, SQLite refuses statements, after the connection's `busy_timeout`. Diesel's default for
//! this is 0, so statements of this crate are repeated.

use crate::{Result, backend::transaction::is_open};
use diesel::{
    SqliteConnection,
    result::{DatabaseErrorKind, Error as DieselError, QueryResult},
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a statement is repeated.
const LIMIT: Duration = Duration::from_secs(5);

const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// Repeats `work` while it fails because others have locked the database.
pub(super) fn retry<T>(mut work: impl FnMut() -> QueryResult<T>) -> QueryResult<T> {
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match work() {
            Err(error) if is_busy(&error) && began.elapsed() < LIMIT => {
                thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            done => return done,
        }
    }
}

/// Runs `work` in a transaction that can write, or in a savepoint of the caller's transaction. `work` runs again if the commit
/// failed because others had locked the database.
pub(super) fn in_write_transaction<T>(
    conn: &mut SqliteConnection,
    mut work: impl FnMut(&mut SqliteConnection) -> QueryResult<T>,
) -> Result<T> {
    use diesel::Connection;
    if is_open(conn)? {
        Ok(conn.transaction(work)?)
    } else {
        Ok(retry(|| conn.immediate_transaction(&mut work))?)
    }
}

/// SQLite does not translate its messages, and Diesel does not report the code.
pub(super) fn is_busy(error: &DieselError) -> bool {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, raised) => {
            let message = raised.message();
            message.starts_with("database ") && message.contains(" is locked")
        }
        _ => false,
    }
}
