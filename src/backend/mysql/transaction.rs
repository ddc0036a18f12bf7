//! The transaction of a guard, and those of changes and reports.

use super::{
    callers_transaction,
    fragment::{json, statement},
    holder_locks,
    locks::Lock,
};
use crate::{
    Error, Result,
    backend::{
        hold::HeldRows,
        transaction::{
            begin_savepoint, count_begun_transaction, force_rollback, is_open, mark_broken,
            release_savepoint, reset_transaction_depth, roll_back, would_be_closed_by_pool,
        },
    },
};
use diesel::{
    MysqlConnection,
    connection::{AnsiTransactionManager, SimpleConnection},
    prelude::*,
    sql_types::{BigInt, Bool, Text},
};
use std::time::Duration;

/// Fails inside a transaction, also inside one that raw SQL has opened, and leaves that as it was.
const READ_COMMITTED: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED";

const START: &str = "START TRANSACTION READ WRITE";

statement! {
    /// Begins the transaction of a guard, in one round trip: each batch of Diesel takes three, and MySQL prepares no START TRANSACTION.
    /// Without autocommit, the next statement begins a transaction. Fails inside a transaction, and leaves that as it was.
    ///
    /// Saves the session's time limits and switches them off. No server has a setting that ends with the transaction. The longest
    /// time that each server accepts is 24 days.
    BeginGuard {} -> (),
    "SET /*M! @@tx_isolation = 'READ-COMMITTED', @@tx_read_only = 0, */ \
        /*!80000 @@transaction_isolation = 'READ-COMMITTED', @@transaction_read_only = 0, */ \
        @dbsemaphore_guard = CONNECTION_ID(), \
        @dbsemaphore_autocommit = @@SESSION.autocommit, SESSION autocommit = 0, \
        @dbsemaphore_wait_timeout = @@SESSION.wait_timeout, SESSION wait_timeout = 2147483 \
        /*M!, @dbsemaphore_idle = @@SESSION.idle_transaction_timeout, SESSION idle_transaction_timeout = 0, \
        @dbsemaphore_idle_readonly = @@SESSION.idle_readonly_transaction_timeout, SESSION idle_readonly_transaction_timeout = 0, \
        @dbsemaphore_idle_write = @@SESSION.idle_write_transaction_timeout, SESSION idle_write_transaction_timeout = 0, \
        @dbsemaphore_statement = @@SESSION.max_statement_time, SESSION max_statement_time = 0 */ \
        /*!80000 , @dbsemaphore_statement = @@SESSION.max_execution_time, SESSION max_execution_time = 0 */"
}

/// Restores the session. To switch autocommit on commits, and a transaction that has only locked rows has nothing to commit.
const END_GUARD: &str = "SET SESSION autocommit = 1, SESSION autocommit = @dbsemaphore_autocommit, \
        SESSION wait_timeout = @dbsemaphore_wait_timeout \
        /*M!, SESSION idle_transaction_timeout = @dbsemaphore_idle, \
        SESSION idle_readonly_transaction_timeout = @dbsemaphore_idle_readonly, \
        SESSION idle_write_transaction_timeout = @dbsemaphore_idle_write, \
        SESSION max_statement_time = @dbsemaphore_statement */ \
        /*!80000 , SESSION max_execution_time = @dbsemaphore_statement */, \
        @dbsemaphore_guard = NULL";

statement! {
    /// Releases the holder lock of a ticket, and ends the transaction of its guard. The holder lock first: the next holder acquires it as
    /// soon as the row is unlocked.
    EndGuard { ticket: i64 => BigInt } -> (),
    format!("{}, @dbsemaphore_holder_lock = NULL", END_GUARD.replacen("SET ", &format!("SET @dbsemaphore_holder_lock = RELEASE_LOCK({}), ", Lock::Holder.name("?")), 1))
}

statement! {
    /// Whether the session is the one that has begun the guard, and its transaction is open. MySQL does not tell the latter. There,
    /// nothing can end the transaction of a guard but the end of its session, or an error that this statement gets, too.
    ///
    /// The index is fixed: MariaDB 10.11 would scan a table that its statistics show as having few rows, 5 or fewer, from the second
    /// guard of a session on. Each available ticket in the table would be locked until the guard ends.
    Check { tickets: &'a str => Text } -> (BigInt, Bool),
    "SELECT COUNT(*), COALESCE(@dbsemaphore_guard = CONNECTION_ID() /*M! AND @@in_transaction = 1 */, FALSE) FROM ( \
         SELECT t.id FROM JSON_TABLE(?, '$[*]' COLUMNS (id bigint PATH '$')) AS c \
         STRAIGHT_JOIN dbsemaphore_ticket AS t FORCE INDEX (id) ON t.id = c.id \
         FOR UPDATE /*!80000 OF t */ SKIP LOCKED) AS held"
}

/// Begins the transaction of a guard, or a savepoint in the transaction of `begin_test_transaction`.
pub(super) fn begin_guard(conn: &mut MysqlConnection) -> Result<()> {
    if is_open(conn)? {
        if would_be_closed_by_pool(conn) {
            return Err(Error::AlreadyInTransaction);
        }
        return begin_savepoint(conn);
    }
    BeginGuard::new().execute(conn).map_err(|error| {
        let has_begun = diesel::select(diesel::dsl::sql::<Bool>("@dbsemaphore_guard IS NOT NULL"))
            .get_result(conn);
        match has_begun {
            Ok(true) => {
                roll_back_and_restore(conn, "");
                error.into()
            }
            Ok(false) if is_in_raw_transaction(conn) => Error::AlreadyInTransaction,
            _ => Error::from(error),
        }
    })?;
    Ok(count_begun_transaction(conn)?)
}

/// After a transaction could not be begun. A connection that is lost has none.
fn is_in_raw_transaction(conn: &mut MysqlConnection) -> bool {
    conn.batch_execute("DO 0").is_ok() && callers_transaction::is_open(conn)
}

/// Ends the transaction of a guard. Fails if it had ended before.
pub(super) fn finish_guard(conn: &mut MysqlConnection, held: &HeldRows) -> QueryResult<()> {
    let ticket_ids = held.ticket_ids.as_slice();
    let release = holder_locks::release_statements(ticket_ids);
    if !owns_transaction(conn) {
        let released = conn.batch_execute(&format!("{release}DO 0"));
        return roll_back(conn).and(released);
    }
    let ended = match *ticket_ids {
        [ticket] if !held.has_written => EndGuard::new(ticket).execute(conn).map(drop),
        _ => conn.batch_execute(&format!("{release}ROLLBACK; {END_GUARD}")),
    };
    if ended.is_ok() {
        reset_transaction_depth(conn);
        return ended;
    }
    // The statement may have been cancelled.
    let held = matches!(is_held(conn, ticket_ids, None), Ok(true));
    if roll_back_and_restore(conn, &release) && held {
        return Ok(());
    }
    ended
}

fn roll_back_and_restore(conn: &mut MysqlConnection, release: &str) -> bool {
    let ended = force_rollback(conn, &format!("{release}ROLLBACK; {END_GUARD}"));
    if !ended {
        mark_broken(conn);
    }
    ended
}

/// Whether the transaction of a guard is still open. If the next check comes within a time, the server ends the session after that
/// time: so it releases the tickets of a host that has vanished.
pub(super) fn is_held(
    conn: &mut MysqlConnection,
    ticket_ids: &[i64],
    next_within: Option<Duration>,
) -> QueryResult<bool> {
    let owned = owns_transaction(conn);
    if let (Some(time), true) = (next_within, owned) {
        let seconds = time.as_millis().div_ceil(1000).clamp(1, 2_147_483);
        diesel::sql_query(format!("SET SESSION wait_timeout = {seconds}")).execute(conn)?;
    }
    let (count, is_same) = Check::new(&json(ticket_ids)).get_result::<(i64, bool)>(conn)?;
    Ok(usize::try_from(count) == Ok(ticket_ids.len()) && (is_same || !owned))
}

/// Returns whether a guard's transaction is its own, and not a savepoint in the transaction of a test.
fn owns_transaction(conn: &mut MysqlConnection) -> bool {
    would_be_closed_by_pool(conn)
}

/// Runs `work` in a READ COMMITTED transaction that can write, or in a savepoint of the caller's transaction.
pub(super) fn in_write_transaction<T>(
    conn: &mut MysqlConnection,
    work: impl FnOnce(&mut MysqlConnection) -> Result<T>,
) -> Result<T> {
    if is_open(conn)? {
        callers_transaction::begin(conn)?;
        let done = work(conn);
        let done = done.map_err(|error| callers_transaction::replace_if_ended(conn, error));
        return end(conn, done);
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
    AnsiTransactionManager::begin_transaction_sql(conn, begin).map_err(|error| {
        if is_in_raw_transaction(conn) {
            Error::AlreadyInTransaction
        } else {
            error.into()
        }
    })?;
    let done = work(conn);
    end(conn, done)
}

/// Commits what has succeeded, and rolls back what has failed.
fn end<T>(conn: &mut MysqlConnection, done: Result<T>) -> Result<T> {
    match done {
        Ok(done) => {
            release_savepoint(conn)?;
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
