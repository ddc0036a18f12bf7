//! Adds hints to errors that PostgreSQL raised.
//!
//! Diesel does not report the SQLSTATE, and PostgreSQL translates its messages. So hints depend on the kinds that
//! Diesel knows, on names in a message, which are not translated, and on further queries to the server.

use super::server;
use crate::{
    Error,
    backend::{Operation, hint::with_hint},
};
use diesel::{
    PgConnection,
    connection::SimpleConnection,
    result::{DatabaseErrorKind, Error as DieselError},
};

const NEEDS_PRIMARY: &str =
    "tickets are row locks, which need a READ WRITE transaction on the primary server";

const SNAPSHOT_TOO_OLD: &str = "the semaphore, or something else, has changed since the snapshot of this transaction: roll back and run \
    it again, or use READ COMMITTED";

const TRANSACTION_ABORTED: &str = "an earlier error aborted this transaction: roll it back first";

const STATEMENT_LOST: &str = "the session has lost its prepared statements, because of a pooler in transaction mode or DISCARD ALL: \
    switch them off with set_prepared_statement_cache_size(CacheSize::Disabled)";

const MISSING_TABLES_OR_RIGHTS: &str = "if the tables are missing, call run_migrations when the application starts; if rights \
    are missing, the role needs USAGE on schema dbsemaphore, SELECT on its tables and UPDATE (acquire_privilege) on \
    dbsemaphore.ticket";

/// Returns tables of our schema, and the privileges that the operation needs on them.
fn privileges(operation: Operation) -> &'static [(&'static str, &'static str)] {
    const MIGRATE: &[(&str, &str)] = &[
        ("__diesel_schema_migrations", "SELECT"),
        ("function_version", "SELECT"),
        ("semaphore", "SELECT"),
    ];
    const INSPECT: &[(&str, &str)] = &[("semaphore", "SELECT"), ("ticket", "SELECT")];
    const ACQUIRE: &[(&str, &str)] = &[
        ("semaphore", "SELECT"),
        ("ticket", "SELECT"),
        ("ticket", "UPDATE"),
    ];
    const MANAGE: &[(&str, &str)] = &[
        ("semaphore", "SELECT"),
        ("semaphore", "INSERT"),
        ("semaphore", "UPDATE"),
        ("semaphore", "DELETE"),
        ("ticket", "SELECT"),
        ("ticket", "INSERT"),
        ("ticket", "UPDATE"),
        ("ticket", "DELETE"),
    ];
    match operation {
        Operation::Acquire => ACQUIRE,
        Operation::Inspect => INSPECT,
        Operation::Manage => MANAGE,
        Operation::Migrate => MIGRATE,
    }
}

/// Adds a hint to an error in the caller's transaction, which the error may have aborted.
pub(super) fn add_hint(error: Error, conn: &mut PgConnection) -> Error {
    hinted(error, |message| {
        // In an aborted transaction, each statement raises the same error.
        let next = conn.batch_execute("SELECT 1");
        if matches!(&next, Err(DieselError::DatabaseError(_, next)) if next.message() == message) {
            return Some(TRANSACTION_ABORTED.to_owned());
        }
        names_ours(message).then(|| MISSING_TABLES_OR_RIGHTS.to_owned())
    })
}

/// Adds a hint, or finds a more specific error, outside of an aborted transaction: there, the server can be
/// queried.
pub(super) fn classify(error: Error, conn: &mut PgConnection, operation: Operation) -> Error {
    if !is_unspecific(&error) {
        return hinted(error, |_| None);
    }
    if operation != Operation::Inspect && matches!(server::is_standby(conn), Ok(true)) {
        return hinted(error, |_| Some(NEEDS_PRIMARY.to_owned()));
    }
    if operation != Operation::Migrate && matches!(server::is_migrated(conn), Ok(false)) {
        return Error::NotMigrated;
    }
    hinted(error, |_| {
        let missing = server::missing_privileges(conn, privileges(operation)).ok()?;
        (!missing.is_empty()).then(|| format!("the role lacks {}", missing.join(", ")))
    })
}

fn is_unspecific(error: &Error) -> bool {
    matches!(
        error,
        Error::Database(DieselError::DatabaseError(DatabaseErrorKind::Unknown, raised))
            if raised.hint().is_none()
    )
}

/// Sets the error's hint unless it has one. `other` supplies the hint where no general one fits.
fn hinted(error: Error, other: impl FnOnce(&str) -> Option<String>) -> Error {
    let Error::Database(DieselError::DatabaseError(kind, raised)) = error else {
        return error;
    };
    let hint = match &kind {
        _ if raised.hint().is_some() => None,
        DatabaseErrorKind::ReadOnlyTransaction => Some(NEEDS_PRIMARY.to_owned()),
        DatabaseErrorKind::SerializationFailure => Some(SNAPSHOT_TOO_OLD.to_owned()),
        DatabaseErrorKind::Unknown if raised.message().contains("__diesel_stmt_") => {
            Some(STATEMENT_LOST.to_owned())
        }
        DatabaseErrorKind::Unknown => other(raised.message()),
        _ => None,
    };
    let raised = match hint {
        Some(hint) => with_hint(raised, hint),
        None => raised,
    };
    Error::Database(DieselError::DatabaseError(kind, raised))
}

/// Returns whether a message contains a name of this crate's objects. PostgreSQL does not translate names.
fn names_ours(message: &str) -> bool {
    let mut words = message.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words.any(|word| ["dbsemaphore", "semaphore", "ticket"].contains(&word))
}
