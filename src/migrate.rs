//! Creates, updates and drops what the crate needs in a database.

use crate::{Result, TicketConnection, backend::Operation};

/// Creates the schema `dbsemaphore` with the tables and functions of this crate, or updates it.
///
/// Call it when the application starts. Any number of processes may do so at once: one migrates, and the others wait
/// for it. All migrations are applied or none. If there is nothing to do, the call takes no lock and needs the [rights
/// of a holder](crate::guide::security#roles). The application's own migrations and `search_path` remain as they are.
///
/// On PostgreSQL, the first call needs `CREATE` on the database. Later ones need no rights but those of an
/// [observer](crate::guide::security#roles), unless this version of the crate has something to install.
///
/// # Errors
///
/// * [`Migration`](crate::Error::Migration): a migration failed. If an [event
///   trigger](crate::guide::migrating#event-triggers) may be the cause, the error names it.
/// * [`Migration`](crate::Error::Migration): the schema belongs to a role that could use the caller's rights: see
///   [`security`](crate::guide::security#the-owner-of-the-schema).
/// * [`Database`](crate::Error::Database): the database or Diesel reported an error. The error says which rights are missing.
///
/// ```
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// diesel_dbsemaphore::run_migrations(&mut conn)?;
/// diesel_dbsemaphore::run_migrations(&mut conn)?;     // nothing to do
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn run_migrations<C: TicketConnection + ?Sized>(conn: &mut C) -> Result<()> {
    let backend = conn.backend().into_backend();
    backend
        .run_migrations()
        .map_err(|error| backend.classify(error, Operation::Migrate))
}

/// Drops all that [`run_migrations`] created, and deletes all semaphores.
///
/// Waits for transactions that hold tickets. While the call waits, all other requests for tickets wait for it. If the
/// schema does not exist, the call does nothing.
///
/// # Errors
///
/// [`Migration`](crate::Error::Migration), [`Database`](crate::Error::Database). The call also fails if the schema
/// `dbsemaphore` has other objects, or if other objects depend on its tables. In each case, nothing is dropped.
///
/// ```
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// diesel_dbsemaphore::run_migrations(&mut conn)?;
/// diesel_dbsemaphore::revert_migrations(&mut conn)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn revert_migrations<C: TicketConnection + ?Sized>(conn: &mut C) -> Result<()> {
    let backend = conn.backend().into_backend();
    backend
        .revert_migrations()
        .map_err(|error| backend.classify(error, Operation::Migrate))
}

/// Returns the SQL that [`run_migrations`](crate::run_migrations) would execute in this database now, or an empty
/// string if there is nothing to do.
///
/// Use this if all SQL has to be in your own migrations. The SQL records what it has done in the same tables as
/// `run_migrations`, so that both can be used after one another: see
/// [`migrating`](crate::guide::migrating#in-your-own-migrations).
///
/// # Errors
///
/// The errors of [`run_migrations`](crate::run_migrations).
///
/// ```
/// # use diesel::connection::SimpleConnection;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// use diesel_dbsemaphore as sem;
///
/// let sql = sem::pending_sql(&mut conn)?;     // print it, or write it into migrations/.../up.sql
/// conn.batch_execute(&sql)?;                  // as your migration does
/// assert_eq!(sem::pending_sql(&mut conn)?, "");
/// sem::run_migrations(&mut conn)?;            // nothing to do
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn pending_sql<C: TicketConnection + ?Sized>(conn: &mut C) -> Result<String> {
    let backend = conn.backend().into_backend();
    backend
        .pending_sql()
        .map_err(|error| backend.classify(error, Operation::Migrate))
}
