//! The transaction of a guard, and those of changes and reports.

use super::locks::Lock;
use crate::{
    Error, Result,
    backend::transaction::{
        MAX_ATTEMPTS, begin_savepoint, force_rollback, is_open, mark_broken,
        reset_transaction_depth, retry_until_ok, roll_back, would_be_closed_by_pool,
    },
};
use diesel::{
    Connection, MysqlConnection,
    connection::{AnsiTransactionManager, SimpleConnection},
    prelude::*,
    result::{DatabaseErrorKind, Error as DieselError},
    sql_types::Bool,
};
use std::time::Duration;

/// Fails inside a transaction, also inside one that raw SQL has opened, and leaves that as it was.
const READ_COMMITTED: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED";

const START: &str = "START TRANSACTION READ WRITE";

/// Saves the session's time limits, switches them off, and begins. The longest time that each server accepts is 24 days. No server
/// has a setting that ends with the transaction.
///
/// The savepoint tells whether the transaction is still open.
const BEGIN_GUARD: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; \
    SET @dbsemaphore_wait_timeout = @@SESSION.wait_timeout \
        /*M!, @dbsemaphore_idle = @@SESSION.idle_transaction_timeout, \
        @dbsemaphore_idle_readonly = @@SESSION.idle_readonly_transaction_timeout, \
        @dbsemaphore_idle_write = @@SESSION.idle_write_transaction_timeout, \
        @dbsemaphore_statement = @@SESSION.max_statement_time */ \
        /*!80000 , @dbsemaphore_statement = @@SESSION.max_execution_time */; \
    SET SESSION wait_timeout = 2147483 \
        /*M!, SESSION idle_transaction_timeout = 0, SESSION idle_readonly_transaction_timeout = 0, \
        SESSION idle_write_transaction_timeout = 0, SESSION max_statement_time = 0 */ \
        /*!80000 , SESSION max_execution_time = 0 */; \
    START TRANSACTION READ WRITE; \
    SAVEPOINT dbsemaphore_guard";

const RESTORE_SESSION: &str = "SET SESSION wait_timeout = @dbsemaphore_wait_timeout \
        /*M!, SESSION idle_transaction_timeout = @dbsemaphore_idle, \
        SESSION idle_readonly_transaction_timeout = @dbsemaphore_idle_readonly, \
        SESSION idle_write_transaction_timeout = @dbsemaphore_idle_write, \
        SESSION max_statement_time = @dbsemaphore_statement */ \
        /*!80000 , SESSION max_execution_time = @dbsemaphore_statement */; \
    SET @dbsemaphore_wait_timeout = NULL";

/// Fails if the transaction has ended, and keeps the savepoint, so that it can be repeated.
const CHECK_GUARD: &str = "ROLLBACK TO SAVEPOINT dbsemaphore_guard";

/// Begins the transaction of a guard, or a savepoint in the transaction of `begin_test_transaction`.
pub(super) fn begin_guard(conn: &mut MysqlConnection) -> Result<()> {
    if is_open(conn)? {
        if would_be_closed_by_pool(conn) {
            return Err(Error::AlreadyInTransaction);
        }
        begin_savepoint(conn)?;
        return Ok(conn.batch_execute("SAVEPOINT dbsemaphore_guard")?);
    }
    AnsiTransactionManager::begin_transaction_sql(conn, BEGIN_GUARD).map_err(|error| {
        let has_begun = diesel::select(diesel::dsl::sql::<Bool>(
            "@dbsemaphore_wait_timeout IS NOT NULL",
        ))
        .get_result(conn);
        match has_begun {
            Ok(true) => {
                roll_back_and_restore(conn);
                error.into()
            }
            // Only inside a transaction, the first statement fails each time.
            Ok(false) if conn.batch_execute(READ_COMMITTED).is_err() => Error::AlreadyInTransaction,
            _ => error.into(),
        }
    })
}

/// Rolls back the transaction of a guard. Fails if it had ended before.
pub(super) fn finish_guard(conn: &mut MysqlConnection, ticket_ids: &[i64]) -> QueryResult<()> {
    let withdraw = withdraw_signs(ticket_ids);
    if !owns_transaction(conn) {
        let held = conn.batch_execute(&format!("{withdraw}RELEASE SAVEPOINT dbsemaphore_guard"));
        return roll_back(conn).and(held);
    }
    // The signs first: the next holder makes one as soon as the rows are unlocked.
    let ended = conn.batch_execute(&format!(
        "{withdraw}{CHECK_GUARD}; ROLLBACK; {RESTORE_SESSION}"
    ));
    if ended.is_ok() {
        reset_transaction_depth(conn);
        return ended;
    }
    // The batch may have been cancelled.
    let held = (0..3).any(|_| conn.batch_execute(CHECK_GUARD).is_ok());
    retry_until_ok(conn, &format!("{withdraw}DO 0"));
    if roll_back_and_restore(conn) && held {
        return Ok(());
    }
    ended
}

fn roll_back_and_restore(conn: &mut MysqlConnection) -> bool {
    let ended = force_rollback(conn, &format!("ROLLBACK; {RESTORE_SESSION}"));
    if !ended {
        mark_broken(conn);
    }
    ended
}

/// Statements, each with its semicolon, that withdraw what a guard shows to `holders`.
fn withdraw_signs(ticket_ids: &[i64]) -> String {
    if ticket_ids.is_empty() {
        return String::new();
    }
    let released: Vec<_> = ticket_ids
        .iter()
        .map(|id| format!("RELEASE_LOCK({})", Lock::Holder.name(id)))
        .collect();
    format!("DO {}; ", released.join(", "))
}

/// Whether the transaction of a guard is still open. If the next check comes within a time, the server ends the session after that
/// time: so it releases the tickets of a host that has vanished.
pub(super) fn is_held(
    conn: &mut MysqlConnection,
    next_within: Option<Duration>,
) -> QueryResult<bool> {
    let mut check =
        String::from("RELEASE SAVEPOINT dbsemaphore_guard; SAVEPOINT dbsemaphore_guard");
    if let (Some(time), true) = (next_within, owns_transaction(conn)) {
        let seconds = time.as_millis().div_ceil(1000).clamp(1, 2_147_483);
        check.push_str(&format!("; SET SESSION wait_timeout = {seconds}"));
    }
    conn.batch_execute(&check).map(|()| true)
}

/// Returns whether a guard's transaction is its own, and not a savepoint in the transaction of a test.
fn owns_transaction(conn: &mut MysqlConnection) -> bool {
    would_be_closed_by_pool(conn)
}

/// The victim of a deadlock has lost its whole transaction, while Diesel counts it as open. What the caller does before Diesel ends
/// that would commit at once. So it runs in another transaction, which can't write.
pub(super) fn replace_if_deadlocked(conn: &mut MysqlConnection, error: &Error) {
    let deadlocked = matches!(
        error,
        Error::Database(DieselError::DatabaseError(
            DatabaseErrorKind::SerializationFailure,
            _
        ))
    );
    if deadlocked
        && matches!(is_open(conn), Ok(true))
        && !retry_until_ok(conn, "START TRANSACTION READ ONLY")
    {
        mark_broken(conn);
    }
}

/// Runs `work` in a READ COMMITTED transaction that can write, or in a savepoint of the caller's transaction.
pub(super) fn in_write_transaction<T>(
    conn: &mut MysqlConnection,
    work: impl FnOnce(&mut MysqlConnection) -> Result<T>,
) -> Result<T> {
    if is_open(conn)? {
        return conn
            .transaction(work)
            .inspect_err(|error| replace_if_deadlocked(conn, error));
    }
    run(conn, &format!("{READ_COMMITTED}; {START}"), work)
}

/// Runs `work` where it sees the rows that others have not committed. Fails inside a transaction, which decides itself what it sees.
pub(super) fn reading_uncommitted<T>(
    conn: &mut MysqlConnection,
    work: impl FnOnce(&mut MysqlConnection) -> Result<T>,
) -> Result<T> {
    run(
        conn,
        "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED; START TRANSACTION READ ONLY",
        work,
    )
}

fn run<T>(
    conn: &mut MysqlConnection,
    begin: &str,
    work: impl FnOnce(&mut MysqlConnection) -> Result<T>,
) -> Result<T> {
    AnsiTransactionManager::begin_transaction_sql(conn, begin)?;
    match work(conn) {
        Ok(done) => {
            crate::backend::transaction::release_savepoint(conn)?;
            Ok(done)
        }
        Err(error) => {
            if let Err(error) = roll_back(conn) {
                log::debug!("rollback after an error: {error}");
            }
            Err(error)
        }
    }
}

/// Repeats what has to succeed although it may be cancelled.
pub(super) fn retry<T>(mut attempt: impl FnMut() -> QueryResult<T>) -> QueryResult<T> {
    for _ in 1..MAX_ATTEMPTS {
        if let Ok(done) = attempt() {
            return Ok(done);
        }
    }
    attempt()
}
