//! Adds hints to errors that the server raised.
//!
//! Diesel does not report the error's number, and the server translates its messages. So hints depend on the kinds that Diesel
//! knows, on names in a message, which are not translated, and on further queries to the server.

use crate::{
    Error,
    backend::{Operation, hint::with_hint},
    error::CONNECTION_LOST,
};
use diesel::{
    MysqlConnection,
    connection::{CacheSize, SimpleConnection},
    dsl::sql,
    prelude::*,
    result::{DatabaseErrorKind, Error as DieselError},
    sql_types::{Bool, Text},
};

const NEEDS_PRIMARY: &str = "tickets are row locks, which need the primary server, with read_only off; in a transaction of yours that is READ ONLY, \
     make it READ WRITE";

const NEEDS_ROW_LOG: &str = "set binlog_format to ROW or MIXED: InnoDB does not log the statements of this transaction, which is \
     READ COMMITTED";

const DEADLOCK: &str = "the server has rolled back the whole transaction, and released each ticket in it: run the transaction again";

/// Returns the rights that the operation needs.
fn rights(operation: Operation) -> &'static str {
    match operation {
        Operation::Acquire => {
            "SELECT on dbsemaphore_semaphore, SELECT and UPDATE (acquire_privilege) on dbsemaphore_ticket, and SELECT, INSERT \
             and DELETE on dbsemaphore_request"
        }
        Operation::Inspect => {
            "SELECT on dbsemaphore_semaphore, dbsemaphore_ticket and dbsemaphore_request"
        }
        Operation::Manage => {
            "SELECT, INSERT, UPDATE and DELETE on dbsemaphore_semaphore, SELECT, INSERT, UPDATE (acquire_privilege) and DELETE \
             on dbsemaphore_ticket, and SELECT, INSERT and DELETE on dbsemaphore_request"
        }
        Operation::Migrate => {
            "SELECT on dbsemaphore_migration, and CREATE, REFERENCES and INSERT on the database if tables are missing"
        }
    }
}

/// Adds a hint, or finds a more specific error.
pub(super) fn classify(error: Error, conn: &mut MysqlConnection, operation: Operation) -> Error {
    let is_unspecific = matches!(
        error,
        Error::Database(DieselError::DatabaseError(DatabaseErrorKind::Unknown, _))
    );
    let is_missing =
        |conn: &mut MysqlConnection| matches!(has_table(conn, "dbsemaphore_semaphore"), Ok(false));
    if is_unspecific && operation != Operation::Migrate && is_missing(conn) {
        return Error::NotMigrated;
    }
    add_hint(error, conn, operation)
}

/// Whether this account sees a table of ours: one that exists, and on which it has any privilege.
pub(super) fn has_table(conn: &mut MysqlConnection, name: &str) -> QueryResult<bool> {
    diesel::select(
        sql::<Bool>(
            "EXISTS (SELECT 1 FROM information_schema.tables AS t WHERE t.table_schema = DATABASE() AND t.table_name = ",
        )
        .bind::<Text, _>(name)
        .sql(")"),
    )
    .get_result(conn)
}

/// Adds a hint to an error.
pub(super) fn add_hint(error: Error, conn: &mut MysqlConnection, operation: Operation) -> Error {
    let Error::Database(DieselError::DatabaseError(kind, raised)) = error else {
        return error;
    };
    forget_statements(conn);
    let hint = match &kind {
        DatabaseErrorKind::ReadOnlyTransaction => Some(NEEDS_PRIMARY.to_owned()),
        DatabaseErrorKind::SerializationFailure if raised.hint().is_none() => {
            Some(DEADLOCK.to_owned())
        }
        // Diesel does not tell a lost connection from other errors.
        DatabaseErrorKind::Unknown if conn.batch_execute("DO 0").is_err() => {
            Some(CONNECTION_LOST.to_owned())
        }
        DatabaseErrorKind::Unknown if raised.message().contains("BINLOG_FORMAT") => {
            Some(NEEDS_ROW_LOG.to_owned())
        }
        DatabaseErrorKind::Unknown if raised.message().contains("dbsemaphore_") => Some(format!(
            "if the tables are missing, call run_migrations when the application starts; if rights are missing, the account \
             needs {}",
            rights(operation)
        )),
        _ => None,
    };
    let raised = match hint {
        Some(text) => with_hint(raised, text),
        None => raised,
    };
    Error::Database(DieselError::DatabaseError(kind, raised))
}

/// Closes the prepared statements of the connection. MariaDB's client library waits without end if one runs again whose result an
/// error has ended after its columns.
pub(super) fn forget_statements(conn: &mut MysqlConnection) {
    for size in [CacheSize::Disabled, CacheSize::Unbounded] {
        conn.set_prepared_statement_cache_size(size);
    }
}

/// What MySQL raises as an error, MariaDB's functions return as null. A DELETE that KILL QUERY has interrupted there may succeed
/// without having deleted the row.
pub(super) fn interrupted() -> DieselError {
    DieselError::DatabaseError(
        DatabaseErrorKind::Unknown,
        Box::new(
            "the wait was interrupted by KILL QUERY or a time limit of the session".to_owned(),
        ),
    )
}
