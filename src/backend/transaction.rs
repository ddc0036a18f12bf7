//! Transactions as Diesel counts them, the same on each backend. Raw SQL never opens one: Diesel would not know it, and a
//! pool would pass the open transaction to the next user of the connection. All uses of Diesel's hidden items are here.

use crate::Result;
use diesel::{
    Connection,
    connection::{AnsiTransactionManager, TransactionManager},
    result::QueryResult,
};
use std::num::NonZeroU32;

/// Implemented for the connections of Diesel.
pub(crate) trait AnsiConnection:
    Connection<TransactionManager = AnsiTransactionManager>
{
}

impl<C: Connection<TransactionManager = AnsiTransactionManager>> AnsiConnection for C {}

/// Returns how many transactions are open, savepoints included, or `None` outside a transaction. Fails if the
/// connection is marked as broken.
pub(crate) fn transaction_depth(conn: &mut impl AnsiConnection) -> QueryResult<Option<NonZeroU32>> {
    AnsiTransactionManager::transaction_manager_status_mut(conn).transaction_depth()
}

/// Whether a pool would close the connection, because it is marked as broken, or inside a transaction that
/// `begin_test_transaction` has not opened.
pub(crate) fn would_be_closed_by_pool(conn: &mut impl AnsiConnection) -> bool {
    AnsiTransactionManager::is_broken_transaction_manager(conn)
}

/// Tells Diesel that no transaction is open, after raw SQL has ended it.
pub(crate) fn reset_transaction_depth(conn: &mut impl AnsiConnection) {
    *AnsiTransactionManager::transaction_manager_status_mut(conn) = Default::default();
}

/// Tells Diesel that a transaction is open, after a statement that it does not know has begun it.
#[cfg(feature = "mysql")]
pub(crate) fn count_begun_transaction(conn: &mut impl AnsiConnection) -> QueryResult<()> {
    use diesel::{
        connection::{TransactionDepthChange, TransactionManagerStatus},
        result::Error,
    };
    match AnsiTransactionManager::transaction_manager_status_mut(conn) {
        TransactionManagerStatus::Valid(status) => {
            status.change_transaction_depth(TransactionDepthChange::IncreaseDepth)
        }
        TransactionManagerStatus::InError => Err(Error::BrokenTransactionManager),
    }
}

/// Marks the connection as broken, so that a pool closes it instead of passing its present state to the next user.
pub(crate) fn mark_broken(conn: &mut impl AnsiConnection) {
    AnsiTransactionManager::transaction_manager_status_mut(conn).set_in_error();
}

/// How often a statement that has to succeed is sent at most, because each attempt may be cancelled.
const MAX_ATTEMPTS: usize = 20;

pub(crate) fn is_open(conn: &mut impl AnsiConnection) -> Result<bool> {
    Ok(transaction_depth(conn)?.is_some())
}

/// Rolls back by raw SQL, and resets Diesel's state.
pub(crate) fn force_rollback(conn: &mut impl AnsiConnection, statements: &str) -> bool {
    let ended = retry_until_ok(conn, statements);
    if ended {
        reset_transaction_depth(conn);
    }
    ended
}

/// Sends these statements until they succeed, [`MAX_ATTEMPTS`] times at most. Returns whether they did.
pub(crate) fn retry_until_ok(conn: &mut impl AnsiConnection, statements: &str) -> bool {
    (0..MAX_ATTEMPTS).any(|_| conn.batch_execute(statements).is_ok())
}

/// Repeats what has to succeed although it may be cancelled.
#[cfg(feature = "mysql")]
pub(crate) fn retry<T>(mut attempt: impl FnMut() -> QueryResult<T>) -> QueryResult<T> {
    for _ in 1..MAX_ATTEMPTS {
        if let Ok(done) = attempt() {
            return Ok(done);
        }
    }
    attempt()
}

pub(crate) fn begin_savepoint(conn: &mut impl AnsiConnection) -> Result<()> {
    Ok(AnsiTransactionManager::begin_transaction(conn)?)
}

#[cfg(feature = "mysql")]
pub(crate) fn release_savepoint(conn: &mut impl AnsiConnection) -> Result<()> {
    Ok(AnsiTransactionManager::commit_transaction(conn)?)
}

pub(crate) fn roll_back(conn: &mut impl AnsiConnection) -> QueryResult<()> {
    AnsiTransactionManager::rollback_transaction(conn)
}

/// Runs `work` without a transaction, or in a savepoint of the caller's transaction.
pub(crate) fn in_read_scope<C: AnsiConnection, T>(
    conn: &mut C,
    work: impl FnOnce(&mut C) -> Result<T>,
) -> Result<T> {
    if is_open(conn)? {
        conn.transaction(work)
    } else {
        work(conn)
    }
}

/// Begins a transaction of SQLite that can write.
#[cfg(feature = "sqlite")]
pub(crate) fn begin_immediate(conn: &mut impl AnsiConnection) -> QueryResult<()> {
    AnsiTransactionManager::begin_transaction_sql(conn, "BEGIN IMMEDIATE")
}
