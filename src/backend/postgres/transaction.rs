//! The transaction of a guard, and those of changes.

use crate::{
    Error, Result,
    backend::transaction::{
        begin_savepoint, force_rollback, is_open, mark_broken, retry_until_ok, roll_back,
        would_be_closed_by_pool,
    },
};
use diesel::{
    Connection, PgConnection,
    connection::{AnsiTransactionManager, SimpleConnection},
    result::{DatabaseErrorKind, Error as DieselError, QueryResult},
};

/// The BEGIN of a guard. PostgreSQL refuses DEFERRABLE in a transaction that has run a query. So this fails in a
/// transaction that raw SQL has opened, and that Diesel does not know. DEFERRABLE comes first, because other modes fail
/// there, too, with other words. The next statement calls `dbsemaphore._apply_guard_settings`.
const BEGIN_GUARD: &str = "BEGIN NOT DEFERRABLE ISOLATION LEVEL READ COMMITTED READ WRITE";

/// Begins the transaction of a guard, or a savepoint in the transaction of `begin_test_transaction`.
pub(super) fn begin_guard(conn: &mut PgConnection) -> Result<()> {
    if is_open(conn)? {
        // The guard uses a savepoint only in the transaction of `begin_test_transaction`.
        if would_be_closed_by_pool(conn) {
            return Err(Error::AlreadyInTransaction);
        }
        return begin_savepoint(conn);
    }
    AnsiTransactionManager::begin_transaction_sql(conn, BEGIN_GUARD).map_err(|error| {
        // If BEGIN failed in a transaction that raw SQL has opened, that is aborted now, and Diesel does not know it.
        if let Err(error) = conn.batch_execute("ROLLBACK") {
            log::debug!("rollback after a failed BEGIN: {error}");
        }
        match &error {
            // PostgreSQL translates its messages, but not SQL keywords.
            DieselError::DatabaseError(_, raised) if raised.message().contains("DEFERRABLE") => {
                Error::AlreadyInTransaction
            }
            _ => error.into(),
        }
    })
}

/// Rolls back the transaction of a guard. Repeats a rollback that was cancelled: PostgreSQL has released the ticket,
/// but Diesel would mark the connection as broken.
pub(super) fn finish_guard(conn: &mut PgConnection) -> QueryResult<()> {
    let owned = owns_transaction(conn);
    let ended = roll_back(conn);
    match &ended {
        Err(DieselError::DatabaseError(DatabaseErrorKind::Unknown, _))
            if owned && force_rollback(conn, "ROLLBACK") =>
        {
            Ok(())
        }
        _ => ended,
    }
}

/// Rolls back the transaction of a guard whose wait has failed, and leaves the queue. `AND CHAIN` begins a transaction at the
/// instant at which it ends this one: between two, a pooler could send the next attempt to another session.
pub(super) fn abort_guard(conn: &mut PgConnection) {
    let left = if owns_transaction(conn) {
        force_rollback(
            conn,
            "ROLLBACK AND CHAIN; SELECT dbsemaphore._release_queue_locks(); ROLLBACK",
        )
    } else {
        roll_back(conn).is_ok() && retry_until_ok(conn, "SELECT dbsemaphore._release_queue_locks()")
    };
    if !left {
        mark_broken(conn);
    }
}

/// Returns whether a guard's transaction is its own, and not a savepoint in the transaction of a test.
fn owns_transaction(conn: &mut PgConnection) -> bool {
    would_be_closed_by_pool(conn)
}

/// Runs `work` in a READ COMMITTED transaction that can write, or in a savepoint of the caller's transaction.
pub(super) fn in_write_transaction<T>(
    conn: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    if is_open(conn)? {
        conn.transaction(work)
    } else {
        conn.build_transaction()
            .read_committed()
            .read_write()
            .run(work)
    }
}
