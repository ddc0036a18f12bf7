//! The client's side of the queue. The queue itself is on the server: see `sql/postgres/queue.sql`.

use super::acquire::{enable_client_check, release_queue_locks, restore_client_check};
use crate::{
    Result, Ticket,
    backend::{Backend, transaction},
};
use diesel::{
    PgConnection, RunQueryDsl,
    sql_types::{BigInt, Integer},
};

#[diesel::declare_sql_function]
extern "SQL" {
    /// Returns void. Do not read the result.
    #[sql_name = "dbsemaphore._remove_tickets"]
    fn remove_tickets_function(semaphore_id: BigInt, remove_count: Integer) -> Bool;
}

/// Waits in the caller's transaction.
pub(super) fn wait_in_savepoint(
    conn: &mut PgConnection,
    wait: &mut dyn FnMut(&mut dyn Backend) -> Result<Option<Ticket>>,
) -> Result<Option<Ticket>> {
    in_savepoint(conn, |conn| wait(conn))
}

/// Waits in the queue until that many tickets are available, and deletes them.
pub(super) fn remove_tickets(conn: &mut PgConnection, semaphore_id: i64, count: i32) -> Result<()> {
    in_savepoint(conn, |conn| {
        diesel::select(remove_tickets_function(semaphore_id, count)).execute(conn)?;
        Ok(Some(()))
    })
    .map(drop)
}

/// Runs `wait` inside a savepoint: so the transaction can continue after a failure, and this session can leave the queue in
/// the same transaction. After it, the session may be another one behind a pooler.
fn in_savepoint<T>(
    conn: &mut PgConnection,
    wait: impl FnOnce(&mut PgConnection) -> Result<Option<T>>,
) -> Result<Option<T>> {
    transaction::begin_savepoint(conn)?;
    let waited = with_client_check(conn, wait);
    if let Ok(Some(_)) = waited {
        transaction::release_savepoint(conn)?;
        return waited;
    }
    // The rollback also restores settings. If the connection is lost, `waited` is an error already.
    let rolled_back = transaction::roll_back(conn);
    if waited.is_err() {
        leave_queue(conn);
    } else {
        rolled_back?;
    }
    waited
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

/// Makes sure, after an error, that this session has left the queue. The server does so itself, unless a cancellation
/// comes as the wait ends, or a second one interrupts it.
fn leave_queue(conn: &mut PgConnection) {
    for _ in 0..transaction::MAX_ATTEMPTS {
        let left = transaction::begin_savepoint(conn)
            .and_then(|()| Ok(release_queue_locks(conn)?))
            .and_then(|()| transaction::release_savepoint(conn));
        match left {
            Ok(()) => return,
            Err(error) => log::debug!("the queue can't be left: {error}"),
        }
        if transaction::roll_back(conn).is_err() {
            break;
        }
    }
    transaction::mark_broken(conn);
}
