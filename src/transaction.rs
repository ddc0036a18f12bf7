//! Transactions, as Diesel counts them. Raw SQL never opens one: Diesel would not know it, and a pool would pass the
//! open transaction to the next user of the connection.

use crate::{Error, Result, diesel_internals};
use diesel::{
    Connection, PgConnection,
    connection::{AnsiTransactionManager, SimpleConnection, TransactionManager},
    result::{DatabaseErrorKind, Error as DieselError, QueryResult},
};

/// The BEGIN of a guard. PostgreSQL refuses DEFERRABLE in a transaction that has run a query. So this fails in a
/// transaction that raw SQL has opened, and that Diesel does not know. The next statement calls
/// `dbsemaphore._apply_guard_settings`.
macro_rules! begin_guard {
    () => {
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE NOT DEFERRABLE"
    };
}

const BEGIN_GUARD: &str = begin_guard!();

/// The BEGIN of a guard that may wait. Settings that bound a wait have no effect on the statement that makes them.
const BEGIN_WAITING_GUARD: &str = concat!(
    begin_guard!(),
    "; SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0; SELECT dbsemaphore._enable_client_check()"
);

/// How often a statement that has to succeed is sent at most, because each attempt may be cancelled.
pub(crate) const MAX_ATTEMPTS: usize = 20;

pub(crate) fn is_open(conn: &mut PgConnection) -> Result<bool> {
    Ok(diesel_internals::transaction_depth(conn)?.is_some())
}

/// Begins the transaction of a guard, or a savepoint in the transaction of `begin_test_transaction`.
pub(crate) fn begin_guard(conn: &mut PgConnection, waits: bool) -> Result<()> {
    if is_open(conn)? {
        // The guard uses a savepoint only in the transaction of `begin_test_transaction`.
        if diesel_internals::would_be_closed_by_pool(conn) {
            return Err(Error::AlreadyInTransaction);
        }
        return Ok(AnsiTransactionManager::begin_transaction(conn)?);
    }
    let sql = if waits {
        BEGIN_WAITING_GUARD
    } else {
        BEGIN_GUARD
    };
    AnsiTransactionManager::begin_transaction_sql(conn, sql).map_err(|error| {
        // BEGIN may have succeeded before a SET failed, for example by a cancellation. Diesel does not know that transaction.
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
pub(crate) fn finish_guard(conn: &mut PgConnection) -> QueryResult<()> {
    let owned = owns_transaction(conn);
    let ended = rollback(conn);
    match &ended {
        Err(DieselError::DatabaseError(DatabaseErrorKind::Unknown, _))
            if owned && force_rollback(conn, "ROLLBACK") =>
        {
            Ok(())
        }
        _ => ended,
    }
}

/// Rolls back the transaction of a guard that failed while it waited, and leaves the queue. Both are in one message,
/// because behind a pooler, a second message could reach another session.
pub(crate) fn abort_guard(conn: &mut PgConnection) {
    let left = if owns_transaction(conn) {
        force_rollback(conn, "ROLLBACK; SELECT dbsemaphore._release_queue_locks()")
    } else {
        rollback(conn).is_ok() && retry_until_ok(conn, "SELECT dbsemaphore._release_queue_locks()")
    };
    if !left {
        diesel_internals::mark_broken(conn);
    }
}

/// Returns whether a guard's transaction is its own, and not a savepoint in the transaction of a test.
fn owns_transaction(conn: &mut PgConnection) -> bool {
    diesel_internals::would_be_closed_by_pool(conn)
}

/// Rolls back by raw SQL, and resets Diesel's state.
fn force_rollback(conn: &mut PgConnection, statements: &str) -> bool {
    let ended = retry_until_ok(conn, statements);
    if ended {
        diesel_internals::reset_transaction_depth(conn);
    }
    ended
}

/// Sends these statements until they succeed, [`MAX_ATTEMPTS`] times at most. Returns whether they did.
fn retry_until_ok(conn: &mut PgConnection, statements: &str) -> bool {
    (0..MAX_ATTEMPTS).any(|_| conn.batch_execute(statements).is_ok())
}

pub(crate) fn begin_savepoint(conn: &mut PgConnection) -> Result<()> {
    Ok(AnsiTransactionManager::begin_transaction(conn)?)
}

pub(crate) fn release_savepoint(conn: &mut PgConnection) -> Result<()> {
    Ok(AnsiTransactionManager::commit_transaction(conn)?)
}

pub(crate) fn rollback(conn: &mut PgConnection) -> QueryResult<()> {
    AnsiTransactionManager::rollback_transaction(conn)
}

/// Runs `work` in a READ COMMITTED transaction that can write, or in a savepoint of the caller's transaction.
pub(crate) fn in_write_transaction<T>(
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

/// Runs `work` without a transaction, or in a savepoint of the caller's transaction.
pub(crate) fn in_read_scope<T>(
    conn: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    if is_open(conn)? {
        conn.transaction(work)
    } else {
        work(conn)
    }
}
