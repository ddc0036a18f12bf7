//! More specific errors for what SQLite raised.

use super::busy::is_busy;
use crate::{Error, Result};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use std::{io, path::Path};

const BUSY: &str = "other connections have locked the database for 5 s: end their transactions sooner, and use PRAGMA journal_mode = WAL, \
    in which readers do not wait for writers";

pub(super) fn classify(error: Error) -> Error {
    match error {
        Error::Database(DieselError::DatabaseError(kind, raised)) => {
            let message = raised.message();
            if message.starts_with("no such table: ") && message.contains("dbsemaphore_") {
                return Error::NotMigrated;
            }
            let error = DieselError::DatabaseError(kind, raised);
            if is_busy(&error) {
                return Error::Database(failure(format!("{error}: {BUSY}")));
            }
            Error::Database(error)
        }
        error => error,
    }
}

/// An error of this crate where only Diesel's are possible.
pub(super) fn failure(message: impl Into<String>) -> DieselError {
    DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.into()))
}

/// Adds the path to the error.
pub(super) fn named<T>(path: &Path, result: io::Result<T>) -> Result<T> {
    result.map_err(|source| Error::LockFile {
        path: path.to_owned(),
        source,
    })
}

pub(super) fn unsupported(reason: impl Into<String>) -> Error {
    Error::Unsupported {
        reason: reason.into(),
    }
}

pub(super) fn renamed(database: &Path) -> Error {
    let path = database.display();
    unsupported(format!(
        "the database {path} was deleted or renamed while this connection is open"
    ))
}
