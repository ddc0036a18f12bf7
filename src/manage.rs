use crate::{
    Result, TicketConnection,
    backend::{Operation, SizeChange},
    events, validate,
};
use std::collections::BTreeMap;

/// Creates a semaphore of `tickets` tickets unless `name` exists. Never changes its size. Returns `true` if it was
/// created.
///
/// Call it when the application starts. Any number of processes may do so at once. Never waits for a ticket or for a
/// resize. If several create the same semaphore at once, the others wait for the first one's commit.
///
/// # Errors
///
/// * [`InvalidName`](crate::Error::InvalidName): the name is not valid.
/// * [`InvalidTickets`](crate::Error::InvalidTickets): `tickets` is more than [`MAX_TICKETS`](crate::MAX_TICKETS).
/// * [`NotMigrated`](crate::Error::NotMigrated): the tables are missing.
/// * [`Database`](crate::Error::Database): the database or Diesel reported an error.
/// * [`LockFile`](crate::Error::LockFile), [`Unsupported`](crate::Error::Unsupported): on SQLite alone, see
///   [`sqlite`](crate::guide::sqlite).
///
/// ```
/// use diesel_dbsemaphore as sem;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// assert!(sem::ensure(&mut conn, "reports", 3)?);
/// assert!(!sem::ensure(&mut conn, "reports", 5)?);
/// assert_eq!(sem::list(&mut conn)?["reports"], 3);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn ensure<C: TicketConnection + ?Sized>(
    conn: &mut C,
    name: &str,
    tickets: u32,
) -> Result<bool> {
    validate::check_name(name)?;
    let size = validate::check_tickets(name, tickets)?;
    let backend = conn.backend().into_backend();
    let created = backend
        .ensure(name, size)
        .map_err(|error| backend.classify(error, Operation::Manage))?;
    if created {
        events::log_created(name, tickets);
    }
    Ok(created)
}

/// Creates a semaphore of `tickets` tickets, or resizes it to that size if `name` exists.
///
/// * **To grow** takes effect for the next request.
/// * **To shrink** deletes available tickets first. If these are not enough, the call waits for held ones in the
///   [queue](crate::guide::waiting). Meanwhile, nobody can acquire the tickets that the call has so far.
/// * **Size 0** closes the semaphore: all requests are refused, and waiters remain in the queue.
/// * **If the call fails** or is cancelled, the old size remains. `lock_timeout` bounds the wait for other resizes,
///   and then the wait for tickets. `statement_timeout` and a lost connection end the call, too.
///
/// Only other calls of `make` and [`destroy`] for the same semaphore wait for this one, until its transaction ends.
/// In your transaction, that is when you end it.
///
/// # Errors
///
/// The errors of [`ensure`].
///
/// ```
/// use diesel_dbsemaphore as sem;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// sem::make(&mut conn, "reports", 3)?;
/// sem::make(&mut conn, "reports", 5)?;
/// assert_eq!(sem::list(&mut conn)?["reports"], 5);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn make<C: TicketConnection + ?Sized>(conn: &mut C, name: &str, tickets: u32) -> Result<()> {
    validate::check_name(name)?;
    let size = validate::check_tickets(name, tickets)?;
    let backend = conn.backend().into_backend();
    let change = backend
        .make(name, size)
        .map_err(|error| backend.classify(error, Operation::Manage))?;
    match change {
        Some(SizeChange::Created) => events::log_created(name, tickets),
        Some(SizeChange::Resized) => events::log_resized(name, tickets),
        None => {}
    }
    Ok(())
}

/// Deletes a semaphore as soon as all its tickets are released. Returns `true` if it existed.
///
/// Waits for held tickets as [`make`] to size 0 does. Meanwhile all requests are refused. If the call fails, the
/// semaphore remains as it was.
///
/// # Errors
///
/// * [`InvalidName`](crate::Error::InvalidName): the name is not valid.
/// * [`NotMigrated`](crate::Error::NotMigrated): the tables are missing.
/// * [`Database`](crate::Error::Database): the database or Diesel reported an error.
/// * [`LockFile`](crate::Error::LockFile), [`Unsupported`](crate::Error::Unsupported): on SQLite alone, see
///   [`sqlite`](crate::guide::sqlite).
///
/// ```
/// use diesel_dbsemaphore as sem;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// sem::ensure(&mut conn, "reports", 3)?;
/// assert!(sem::destroy(&mut conn, "reports")?);
/// assert!(!sem::destroy(&mut conn, "reports")?);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn destroy<C: TicketConnection + ?Sized>(conn: &mut C, name: &str) -> Result<bool> {
    validate::check_name(name)?;
    let backend = conn.backend().into_backend();
    let destroyed = backend
        .destroy(name)
        .map_err(|error| backend.classify(error, Operation::Manage))?;
    if destroyed {
        events::log_destroyed(name);
    }
    Ok(destroyed)
}

/// Returns all semaphores with their sizes, closed ones included.
///
/// # Errors
///
/// [`NotMigrated`](crate::Error::NotMigrated), [`Database`](crate::Error::Database).
///
/// ```
/// use diesel_dbsemaphore as sem;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// sem::make(&mut conn, "reports", 3)?;
/// sem::make(&mut conn, "imports", 1)?;
/// let all: Vec<_> = sem::list(&mut conn)?.into_iter().collect();
/// assert_eq!(all, [("imports".to_owned(), 1), ("reports".to_owned(), 3)]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn list<C: TicketConnection + ?Sized>(conn: &mut C) -> Result<BTreeMap<String, u32>> {
    let backend = conn.backend().into_backend();
    let sizes = backend
        .list()
        .map_err(|error| backend.classify(error, Operation::Inspect))?;
    Ok(sizes
        .into_iter()
        .map(|(name, size)| (name, u32::try_from(size).unwrap_or(u32::MAX)))
        .collect())
}
