//! Adds hints to errors that the server raised.
//!
//! Diesel does not report the error's number, and the server translates its messages. So hints depend on the kinds that Diesel
//! knows, on names in a message, which are not translated, and on further queries to the server.

use super::migrations::has_table;
use crate::{
    Error,
    backend::{Operation, hint::with_hint},
    error::CONNECTION_LOST,
};
use diesel::{
    MysqlConnection,
    connection::SimpleConnection,
    result::{DatabaseErrorKind, Error as DieselError},
};

const NEEDS_PRIMARY: &str =
    "tickets are row locks, which need the primary server, with read_only off";

const DEADLOCK: &str = "the server has rolled back the whole transaction, and released each ticket in it: run the transaction again";

const MISSING_TABLES_OR_RIGHTS: &str = "if the tables are missing, call run_migrations when the application starts; if rights \
    are missing, the account needs SELECT on dbsemaphore_semaphore, SELECT and UPDATE (acquire_privilege) on \
    dbsemaphore_ticket, and SELECT, INSERT and DELETE on dbsemaphore_request";

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
    add_hint(error, conn)
}

/// Adds a hint to an error.
pub(super) fn add_hint(error: Error, conn: &mut MysqlConnection) -> Error {
    let Error::Database(DieselError::DatabaseError(kind, raised)) = error else {
        return error;
    };
    let hint = match &kind {
        DatabaseErrorKind::ReadOnlyTransaction => Some(NEEDS_PRIMARY),
        DatabaseErrorKind::SerializationFailure => Some(DEADLOCK),
        // Diesel does not tell a lost connection from other errors.
        DatabaseErrorKind::Unknown if conn.batch_execute("DO 0").is_err() => Some(CONNECTION_LOST),
        DatabaseErrorKind::Unknown if raised.message().contains("dbsemaphore_") => {
            Some(MISSING_TABLES_OR_RIGHTS)
        }
        _ => None,
    };
    let raised = match hint {
        Some(text) => with_hint(raised, text.to_owned()),
        None => raised,
    };
    Error::Database(DieselError::DatabaseError(kind, raised))
}
