//! Transactions, as Diesel counts them. Never opened by raw SQL, which Diesel wouldn't see: a pool would then hand the
//! open transaction to its next user.

use crate::{Error, Result};
use diesel::{
    Connection, PgConnection,
    connection::{AnsiTransactionManager, SimpleConnection, TransactionManager},
    result::QueryResult,
};

/// One round trip. The settings last as long as the transaction.
const BEGIN_GUARD: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
     SET LOCAL idle_in_transaction_session_timeout = 0; \
     SET LOCAL lock_timeout = 0; \
     SET LOCAL statement_timeout = 0";

pub(crate) fn is_open(conn: &mut PgConnection) -> Result<bool> {
    let status = AnsiTransactionManager::transaction_manager_status_mut(conn);
    Ok(status.transaction_depth()?.is_some())
}

/// Opens the transaction of a guard: its own, or a savepoint in the transaction of a test.
pub(crate) fn begin_guard(conn: &mut PgConnection) -> Result<()> {
    if is_open(conn)? {
        // Not broken although inside a transaction: Diesel says that only of `begin_test_transaction`.
        if AnsiTransactionManager::is_broken_transaction_manager(conn) {
            return Err(Error::AlreadyInTransaction);
        }
        return Ok(AnsiTransactionManager::begin_transaction(conn)?);
    }
    AnsiTransactionManager::begin_transaction_sql(conn, BEGIN_GUARD).map_err(|error| {
        // BEGIN may have worked and a SET failed, by a cancel say. Diesel knows nothing of that transaction.
        if let Err(error) = conn.batch_execute("ROLLBACK") {
            log::debug!("rollback after a failed BEGIN: {error}");
        }
        error.into()
    })
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
