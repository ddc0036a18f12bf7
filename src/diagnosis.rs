//! What PostgreSQL raised, with the remedy.

use crate::{Error, query};
use diesel::{
    PgConnection,
    result::{DatabaseErrorInformation, DatabaseErrorKind, Error as DieselError},
};
use std::fmt;

pub(crate) const CONNECTION_GONE: &str =
    "the connection is gone, and with it every ticket it held: take a new one";

const NEEDS_PRIMARY: &str =
    "tickets are row locks, which need a READ WRITE transaction on the primary server";

/// What may be missing when PostgreSQL refuses a statement. It says which only in a localised message: Diesel doesn't
/// hand on the SQLSTATE, and an aborted transaction can't be asked.
#[derive(Clone, Copy)]
pub(crate) enum Remedy {
    Acquire,
    Observe,
    Manage,
    Migrate,
}

impl Remedy {
    fn text(self) -> &'static str {
        match self {
            Remedy::Acquire => {
                "if the tables are missing, call run_migrations when the application starts; if rights are missing, the \
                 role needs USAGE on schema dbsemaphore, SELECT on its tables and UPDATE (lockable) on \
                 dbsemaphore.ticket; if an earlier error aborted this transaction, roll it back first"
            }
            Remedy::Observe => {
                "if the tables are missing, call run_migrations when the application starts; if rights are missing, the \
                 role needs USAGE on schema dbsemaphore and SELECT on its tables; if an earlier error aborted this \
                 transaction, roll it back first"
            }
            Remedy::Manage => {
                "if rights are missing, the role needs USAGE on schema dbsemaphore, SELECT, INSERT and DELETE on its tables, \
                 UPDATE on dbsemaphore.semaphore and UPDATE (lockable) on dbsemaphore.ticket; if an earlier error aborted \
                 this transaction, roll it back first"
            }
            Remedy::Migrate => {
                "if rights are missing, the role needs CREATE on the database for the first migration, has to own schema \
                 dbsemaphore for later ones, and needs USAGE on it and SELECT on its tables when there is nothing to do; \
                 if an earlier error aborted this transaction, roll it back first"
            }
        }
    }
}

impl Error {
    /// Puts the remedy into the place that PostgreSQL has for it, the error's hint.
    pub(crate) fn advise(self, remedy: Remedy) -> Self {
        let Error::Database(DieselError::DatabaseError(kind, raised)) = self else {
            return self;
        };
        if raised.hint().is_some() {
            return Error::Database(DieselError::DatabaseError(kind, raised));
        }
        let advice = match kind {
            DatabaseErrorKind::ReadOnlyTransaction => NEEDS_PRIMARY,
            DatabaseErrorKind::SerializationFailure => {
                "something, such as the size of the semaphore, was changed after this transaction took its snapshot: \
                 roll back and run it again, or use READ COMMITTED"
            }
            DatabaseErrorKind::Unknown => remedy.text(),
            _ => return Error::Database(DieselError::DatabaseError(kind, raised)),
        };
        Error::Database(DieselError::DatabaseError(kind, raised)).with_advice(advice)
    }

    fn with_advice(self, advice: &'static str) -> Self {
        let Error::Database(DieselError::DatabaseError(kind, raised)) = self else {
            return self;
        };
        let advised = Advised { raised, advice };
        Error::Database(DieselError::DatabaseError(kind, Box::new(advised)))
    }

    /// [`advise`](Self::advise), after the transaction that raised the error has been rolled back: by then the database
    /// can be asked whether the tables are there.
    pub(crate) fn diagnose(self, conn: &mut PgConnection, remedy: Remedy) -> Self {
        let unspecific = matches!(
            &self,
            Error::Database(DieselError::DatabaseError(DatabaseErrorKind::Unknown, _))
        );
        if unspecific && matches!(query::is_standby(conn), Ok(true)) {
            return self.with_advice(NEEDS_PRIMARY);
        }
        if unspecific && matches!(query::is_migrated(conn), Ok(false)) {
            return Error::NotMigrated;
        }
        self.advise(remedy)
    }
}

/// An error of the database with a hint of ours.
struct Advised {
    raised: Box<dyn DatabaseErrorInformation + Send + Sync>,
    advice: &'static str,
}

impl DatabaseErrorInformation for Advised {
    fn message(&self) -> &str {
        self.raised.message()
    }
    fn details(&self) -> Option<&str> {
        self.raised.details()
    }
    fn hint(&self) -> Option<&str> {
        Some(self.advice)
    }
    fn table_name(&self) -> Option<&str> {
        self.raised.table_name()
    }
    fn column_name(&self) -> Option<&str> {
        self.raised.column_name()
    }
    fn constraint_name(&self) -> Option<&str> {
        self.raised.constraint_name()
    }
    fn statement_position(&self) -> Option<i32> {
        self.raised.statement_position()
    }
}

impl fmt::Debug for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.message(), f)
    }
}
