//! The client's side of the queue. The queue itself is on the server: see `sql/postgres/queue.sql`.

use super::acquire::{enable_client_check, restore_client_check};
use crate::{
    Result,
    backend::transaction::{mark_broken, retry_until_ok},
};
use diesel::{
    PgConnection, RunQueryDsl,
    connection::SimpleConnection,
    sql_types::{BigInt, Integer},
};

#[diesel::declare_sql_function]
extern "SQL" {
    /// Returns void. Do not read the result.
    #[sql_name = "dbsemaphore._remove_tickets"]
    fn remove_tickets_function(semaphore_id: BigInt, remove_count: Integer) -> Bool;
}

const SAVEPOINT: &str = "SAVEPOINT dbsemaphore_wait";
const RELEASE: &str = "RELEASE SAVEPOINT dbsemaphore_wait";
const ROLLBACK: &str = "ROLLBACK TO SAVEPOINT dbsemaphore_wait";
const LEAVE_QUEUE: &str =
    "ROLLBACK TO SAVEPOINT dbsemaphore_wait; SELECT dbsemaphore._release_queue_locks()";

/// Runs `wait`, which waits in the queue, in a savepoint of the caller's transaction. So that transaction can continue after an
/// error or `None`.
///
/// Diesel does not know the savepoint. Its savepoints don't allow to repeat a rollback that was cancelled: each attempt
/// rolls back one more level.
pub(super) fn in_savepoint<T>(
    conn: &mut PgConnection,
    wait: impl FnOnce(&mut PgConnection) -> Result<Option<T>>,
) -> Result<Option<T>> {
    conn.batch_execute(SAVEPOINT)?;
    let waited = with_client_check(conn, wait).and_then(|waited| {
        // The rollback also restores settings.
        conn.batch_execute(if waited.is_some() { RELEASE } else { ROLLBACK })?;
        Ok(waited)
    });
    // The server has left the queue itself, unless a cancellation came as the wait ended, or a second one interrupted it.
    // This transaction does not end before: a pooler could then send the statement to another session.
    if waited.is_err() && !retry_until_ok(conn, LEAVE_QUEUE) {
        mark_broken(conn);
    }
    waited
}

/// Waits in the queue until that many tickets are available, and deletes them.
pub(super) fn remove_tickets(conn: &mut PgConnection, semaphore_id: i64, count: i32) -> Result<()> {
    in_savepoint(conn, |conn| {
        diesel::select(remove_tickets_function(semaphore_id, count)).execute(conn)?;
        Ok(Some(()))
    })
    .map(drop)
}

/// Runs `work` while the server checks whether its client is connected, so that a dead client leaves the queue. The
/// setting has no effect on the statement that makes it, so a separate statement makes it first. After `None`, the
/// caller rolls back, which restores the setting.
fn with_client_check<T>(
    conn: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> Result<Option<T>>,
) -> Result<Option<T>> {
    let before = enable_client_check(conn)?;
    let done = work(conn)?;
    if done.is_some() {
        restore_client_check(conn, &before)?;
    }
    Ok(done)
}
