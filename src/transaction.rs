//! Transactions, as Diesel counts them. Never opened by raw SQL, which Diesel wouldn't see: a pool would then hand the
//! open transaction to its next user.

use crate::{Error, Result, diesel_internals};
use diesel::{
    Connection, PgConnection,
    connection::{AnsiTransactionManager, SimpleConnection, TransactionManager},
    result::{DatabaseErrorKind, Error as DieselError, QueryResult},
};

/// One round trip. DEFERRABLE can't be said once a transaction has run a query, and so this fails inside one that was
/// opened by raw SQL, which Diesel doesn't know of. The settings of a guard are made by what comes next, the server's
/// function `dbsemaphore.keep`.
macro_rules! begin_guard {
    () => {
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE NOT DEFERRABLE"
    };
}

const BEGIN_GUARD: &str = begin_guard!();

/// For a guard that is going to wait. What limits or attends the wait has to be said before the statement that waits.
const BEGIN_WAITING_GUARD: &str = concat!(
    begin_guard!(),
    "; SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0; SELECT dbsemaphore.attend_client()"
);

/// How often something that has to be done is tried again when it is cancelled.
pub(crate) const TRIES: usize = 20;

pub(crate) fn is_open(conn: &mut PgConnection) -> Result<bool> {
    Ok(diesel_internals::transaction_depth(conn)?.is_some())
}

/// Opens the transaction of a guard: its own, or a savepoint in the transaction of a test.
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
        // BEGIN may have worked and a SET failed, by a cancel say. Diesel knows nothing of that transaction.
        if let Err(error) = conn.batch_execute("ROLLBACK") {
            log::debug!("rollback after a failed BEGIN: {error}");
        }
        match &error {
            // Messages are translated, but not what one would write in SQL.
            DieselError::DatabaseError(_, raised) if raised.message().contains("DEFERRABLE") => {
                Error::AlreadyInTransaction
            }
            _ => error.into(),
        }
    })
}

/// Ends the transaction of a guard. A rollback that was itself cancelled is tried again: it gives back the ticket all the
/// same, but Diesel would give up the connection.
pub(crate) fn end_guard(conn: &mut PgConnection) -> QueryResult<()> {
    let is_own = is_own(conn);
    let ended = rollback(conn);
    match &ended {
        Err(DieselError::DatabaseError(DatabaseErrorKind::Unknown, _))
            if is_own && try_to_end(conn, "ROLLBACK") =>
        {
            Ok(())
        }
        _ => ended,
    }
}

/// Ends the transaction of a guard that failed while it waited, and gives back its place in line, in one message: behind
/// a pooler, the next one could go to another session.
pub(crate) fn abandon_guard(conn: &mut PgConnection) {
    let left = if is_own(conn) {
        try_to_end(conn, "ROLLBACK; SELECT dbsemaphore.leave()")
    } else {
        rollback(conn).is_ok() && repeat(conn, "SELECT dbsemaphore.leave()")
    };
    if !left {
        diesel_internals::mark_broken(conn);
    }
}

/// Whether a guard's transaction is its own, and not a savepoint in the transaction of a test.
fn is_own(conn: &mut PgConnection) -> bool {
    diesel_internals::would_be_closed_by_pool(conn)
}

/// Ends the transaction behind Diesel's back, and lets Diesel know.
fn try_to_end(conn: &mut PgConnection, statements: &str) -> bool {
    let ended = repeat(conn, statements);
    if ended {
        diesel_internals::reset_transaction_depth(conn);
    }
    ended
}

/// Until it is not cancelled.
fn repeat(conn: &mut PgConnection, statements: &str) -> bool {
    (0..TRIES).any(|_| conn.batch_execute(statements).is_ok())
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
pub(crate) fn writing<T>(
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

/// Runs `work` as it is, or in a savepoint of the caller's transaction.
pub(crate) fn reading<T>(
    conn: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    if is_open(conn)? {
        conn.transaction(work)
    } else {
        work(conn)
    }
}
