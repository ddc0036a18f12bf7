use crate::{
    Result, events, limits, pg_errors::Operation, query, queue, schema::dbsemaphore::semaphore,
    transaction,
};
use diesel::{PgConnection, prelude::*};
use std::collections::BTreeMap;

/// A row of the table of semaphores, for applications that join on it. Its tickets are in
/// [`schema::dbsemaphore::ticket`](crate::schema::dbsemaphore::ticket), and their number is the semaphore's size.
///
/// Of the columns, `semaphore.id`, `semaphore.name`, `ticket.id` and `ticket.semaphore_id` stay what they are. The others
/// are for finding a free ticket, and may change with any release.
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
    /// What `ticket.semaphore_id` refers to.
    pub id: i64,
    /// The name.
    pub name: String,
}

/// Creates a semaphore of that many tickets if there is none of that name; never resizes one. Returns whether it did.
///
/// For the start of an application: any number of processes may call it at once. It never waits for a ticket or for a
/// resize; when several create the same semaphore at once, the others wait for the first one's commit.
///
/// # Errors
///
/// [`InvalidName`](crate::Error::InvalidName), [`InvalidTickets`](crate::Error::InvalidTickets) for more than
/// [`MAX_TICKETS`](crate::MAX_TICKETS), [`NotMigrated`](crate::Error::NotMigrated),
/// [`Database`](crate::Error::Database).
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

/// Creates a semaphore of that many tickets, or resizes the one of that name to them.
///
/// Growing is seen by the next request. Shrinking deletes available tickets first and waits for held ones only as far as
/// those are not enough, in the queue with others who [wait](crate::guide::waiting); while it waits, what it has so far can't be
/// acquired; if it fails or is cancelled (by `lock_timeout`, which bounds its wait for other resizes, and then that for
/// tickets; by `statement_timeout`; by a lost connection), the old size stands.
///
/// Resizing to 0 keeps the semaphore, closed: nobody gets a ticket. Only other calls of `make` and [`destroy`] for the
/// same semaphore wait for this one, until its transaction ends: inside a transaction of yours, that is when you end it.
///
/// # Errors
///
/// As for [`ensure`].
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

/// How `make` has changed a size.
enum SizeChange {
    Created,
    Resized,
}

/// Removes a semaphore, as soon as all its tickets have come back. Returns whether there was one.
///
/// It waits as [`make`] to 0 does; meanwhile nobody gets a ticket, and if it fails, everything is as before.
///
/// # Errors
///
/// [`InvalidName`](crate::Error::InvalidName), [`NotMigrated`](crate::Error::NotMigrated),
/// [`Database`](crate::Error::Database).
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

/// All semaphores, with the number of their tickets, free or not.
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

/// Returns whether it had another size. The semaphore is locked, so its number of tickets stands still.
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
