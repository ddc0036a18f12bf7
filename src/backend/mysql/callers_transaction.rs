//! Whether the server has ended the caller's transaction, while Diesel counts it as open. DDL, a raw COMMIT and a deadlock end it.
//! Afterwards, each statement commits by itself, and no statement holds a ticket.

use super::fragment::statement;
use crate::{
    Error, Result,
    backend::{
        AcquireParams,
        transaction::{begin_savepoint, roll_back, transaction_depth},
    },
};
use diesel::{
    MysqlConnection,
    connection::SimpleConnection,
    dsl::sql,
    prelude::*,
    result::{DatabaseErrorKind, Error as DieselError},
    sql_types::Bool,
};

/// Tells on MariaDB whether a transaction is open. MySQL has no such expression.
pub(super) const IS_OPEN: &str = "/*M! @@in_transaction */ /*!80000 NULL */";

statement! {
    /// Fails inside a transaction, and leaves that as it was. Outside of one, this changes nothing.
    SetSameLevel {} -> (),
    "SET /*M! @@tx_isolation = @@SESSION.tx_isolation */ /*!80000 @@transaction_isolation = @@SESSION.transaction_isolation */"
}

/// Whether the server has an open transaction for this session.
pub(super) fn is_open(conn: &mut MysqlConnection) -> bool {
    SetSameLevel::new().execute(conn).is_err()
}

/// Fails if the transaction that should hold a ticket has ended. `is_open` is what [`IS_OPEN`] has told. MySQL is asked, except in
/// the transaction of a guard.
pub(super) fn require_open(
    conn: &mut MysqlConnection,
    params: AcquireParams<'_>,
    open: Option<bool>,
) -> QueryResult<()> {
    if open.unwrap_or_else(|| params.is_guard() || is_open(conn)) {
        Ok(())
    } else {
        Err(DieselError::NotInTransaction)
    }
}

/// Begins a savepoint in the caller's transaction.
pub(super) fn begin(conn: &mut MysqlConnection) -> Result<()> {
    if is_open(conn) {
        begin_savepoint(conn)
    } else {
        Err(Error::NotInTransaction)
    }
}

/// Runs `work` outside of a transaction, or in a savepoint of the caller's transaction. Without autocommit, the queries of `work`
/// begin a transaction: this ends it.
pub(super) fn in_read_scope<T>(
    conn: &mut MysqlConnection,
    work: impl FnOnce(&mut MysqlConnection) -> Result<T>,
) -> Result<T> {
    if transaction_depth(conn)?.is_some() {
        return conn.transaction(work);
    }
    let autocommits: bool = diesel::select(sql::<Bool>("@@autocommit")).get_result(conn)?;
    let begins = !autocommits && !is_open(conn);
    let done = work(conn);
    if begins {
        conn.batch_execute("COMMIT")?;
    }
    done
}

/// Returns a serialization failure if an error has ended the whole transaction, as a deadlock does. Diesel does not tell which error
/// it was: MariaDB's 1020, by `innodb_snapshot_isolation`, and an expired lock wait with `innodb_rollback_on_timeout` do so, too.
pub(super) fn name_rollback(conn: &mut MysqlConnection, error: DieselError) -> DieselError {
    let DieselError::DatabaseError(DatabaseErrorKind::Unknown, raised) = error else {
        return error;
    };
    if is_open(conn) {
        return DieselError::DatabaseError(DatabaseErrorKind::Unknown, raised);
    }
    // Without a transaction, there is no savepoint, and the rollback to it fails. So Diesel learns that each savepoint is gone.
    let rolled_back = begin_savepoint(conn).and_then(|()| Ok(roll_back(conn)?));
    log::debug!("{raised:?} has ended the transaction: {rolled_back:?}");
    DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, raised)
}

/// Converts an error of an acquisition.
pub(super) fn after_error(
    conn: &mut MysqlConnection,
    params: AcquireParams<'_>,
    error: DieselError,
) -> Error {
    match error {
        DieselError::NotInTransaction => Error::NotInTransaction,
        error if params.is_guard() => error.into(),
        error => replace_if_ended(conn, error.into()),
    }
}

/// What the caller does after an error that has ended the transaction would commit at once, until Diesel ends it. So it runs in
/// another transaction, which can't write. Does nothing if a transaction is open after all.
pub(super) fn replace_if_ended(conn: &mut MysqlConnection, error: Error) -> Error {
    let error = match error {
        Error::Database(error) => Error::Database(name_rollback(conn, error)),
        error => error,
    };
    let has_ended = matches!(
        error,
        Error::Database(DieselError::DatabaseError(
            DatabaseErrorKind::SerializationFailure,
            _
        ))
    );
    if has_ended && matches!(transaction_depth(conn), Ok(Some(_))) {
        let replaced = conn.batch_execute("SET TRANSACTION READ ONLY; START TRANSACTION");
        if let Err(error) = replaced {
            log::debug!("after a deadlock: {error}");
        }
    }
    error
}
