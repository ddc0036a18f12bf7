use crate::{
    Result, events, limits, pg_errors::Operation, query, queue, schema::dbsemaphore::semaphore,
    transaction,
};
use diesel::{PgConnection, prelude::*};
use std::collections::BTreeMap;

/// A row of the table of semaphores, for applications that join on it. The rows of its tickets are in
/// [`schema::dbsemaphore::ticket`](crate::schema::dbsemaphore::ticket), and their number is the size of the semaphore.
///
/// The columns `semaphore.id`, `semaphore.name`, `ticket.id` and `ticket.semaphore_id` are stable. The others are
/// internal, and may change with any release.
///
/// ```
/// use diesel::prelude::*;
/// use diesel_dbsemaphore::{self as sem, Semaphore, schema::dbsemaphore::semaphore};
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
///
/// sem::ensure(&mut conn, "reports", 3)?;
/// let row = semaphore::table.select(Semaphore::as_select()).first(&mut conn)?;
/// assert_eq!(row.name, "reports");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Identifiable, Queryable, Selectable)]
#[diesel(table_name = semaphore, check_for_backend(diesel::pg::Pg))]
#[non_exhaustive]
pub struct Semaphore {
    /// The id, to which `ticket.semaphore_id` refers.
    pub id: i64,
    /// The name.
    pub name: String,
}

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
/// * [`Database`](crate::Error::Database): PostgreSQL or Diesel reported an error.
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
pub fn ensure(conn: &mut PgConnection, name: &str, tickets: u32) -> Result<bool> {
    limits::check_name(name)?;
    let size = limits::check_tickets(name, tickets)?;
    let ensured = transaction::in_read_scope(conn, |conn| Ok(query::semaphore_id(conn, name)?))
        .and_then(|existing| match existing {
            Some(_) => Ok(false),
            None => transaction::in_write_transaction(conn, |conn| {
                query::check_row_security(conn, true)?;
                create(conn, name, size)
            }),
        });
    let created = ensured.map_err(|error| error.classify(conn, Operation::Manage))?;
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
pub fn make(conn: &mut PgConnection, name: &str, tickets: u32) -> Result<()> {
    limits::check_name(name)?;
    let size = limits::check_tickets(name, tickets)?;
    let made = transaction::in_write_transaction(conn, |conn| {
        query::check_row_security(conn, true)?;
        loop {
            if let Some(id) = query::lock_semaphore(conn, name)? {
                query::record_move(conn, &[id])?;
                return Ok(resize(conn, id, size)?.then_some(SizeChange::Resized));
            }
            if create(conn, name, size)? {
                return Ok(Some(SizeChange::Created));
            }
            // Somebody else has created it between the two; under a snapshot that can't see it, PostgreSQL raises.
        }
    });
    match made.map_err(|error| error.classify(conn, Operation::Manage))? {
        Some(SizeChange::Created) => events::log_created(name, tickets),
        Some(SizeChange::Resized) => events::log_resized(name, tickets),
        None => {}
    }
    Ok(())
}

/// What `make` has done.
enum SizeChange {
    Created,
    Resized,
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
/// * [`Database`](crate::Error::Database): PostgreSQL or Diesel reported an error.
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
pub fn destroy(conn: &mut PgConnection, name: &str) -> Result<bool> {
    limits::check_name(name)?;
    let destroyed = transaction::in_write_transaction(conn, |conn| {
        query::check_row_security(conn, true)?;
        let Some(id) = query::lock_semaphore(conn, name)? else {
            return Ok(false);
        };
        resize(conn, id, 0)?;
        query::delete_semaphore(conn, id)?;
        Ok(true)
    });
    let destroyed = destroyed.map_err(|error| error.classify(conn, Operation::Manage))?;
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
pub fn list(conn: &mut PgConnection) -> Result<BTreeMap<String, u32>> {
    let sizes = transaction::in_read_scope(conn, |conn| {
        query::check_row_security(conn, false)?;
        Ok(query::load_sizes(conn)?)
    })
    .map_err(|error| error.classify(conn, Operation::Inspect))?;
    Ok(sizes
        .into_iter()
        .map(|(name, size)| (name, u32::try_from(size).unwrap_or(u32::MAX)))
        .collect())
}

fn create(conn: &mut PgConnection, name: &str, size: i32) -> Result<bool> {
    let Some(id) = query::create_semaphore(conn, name, size)? else {
        return Ok(false);
    };
    query::add_tickets(conn, id, size, size.into())?;
    Ok(true)
}

/// Returns whether the size was another one. The semaphore is locked, so its size does not change meanwhile.
fn resize(conn: &mut PgConnection, id: i64, size: i32) -> Result<bool> {
    let missing = i64::from(size) - query::count_tickets(conn, id)?;
    if missing > 0 {
        query::add_tickets(conn, id, size, missing)?;
    } else if missing < 0 {
        let surplus = i32::try_from(-missing).unwrap_or(i32::MAX);
        queue::remove_tickets(conn, id, surplus)?;
    }
    query::update_slot_bound(conn, id)?;
    Ok(missing != 0)
}
