//! Lists holders and waiters.

use crate::{
    Error, Holder, Result, TicketConnection, Usage, Waiter,
    backend::{Backend, Operation},
    validate,
};

/// Returns the held tickets of a semaphore and their holders, in the order of ticket ids.
///
/// Takes no lock for which others could wait, and needs the [rights of an observer](crate::guide::security#roles). A
/// ticket that was released or acquired while the query ran may be missing. To find out whether a ticket is available,
/// acquire one.
///
/// # Errors
///
/// * [`UnknownSemaphore`](Error::UnknownSemaphore): there is no semaphore of that name.
/// * [`InvalidName`](Error::InvalidName): the name is not valid.
/// * [`NotMigrated`](Error::NotMigrated): the tables are missing.
/// * [`Database`](Error::Database): the database or Diesel reported an error, or the server is a standby.
///
/// ```
/// use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # let mut ticket_conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// # sem::ensure(&mut conn, "reports", 3)?;
///
/// let request = Request::new("reports").label("monthly, for Ada");
/// let guard = SemaphoreTicket::require(&mut ticket_conn, request)?;
/// let holders = sem::holders(&mut conn, "reports")?;
/// assert_eq!(holders[0].ticket, guard.ticket().ids()[0]);
/// assert_eq!(holders[0].session.label.as_deref(), Some("monthly, for Ada"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn holders<C: TicketConnection + ?Sized>(conn: &mut C, name: &str) -> Result<Vec<Holder>> {
    of_semaphore(conn, name, |backend| backend.holders(name))
}

/// Returns the waiters in the queue of a semaphore, the head first. Rights and locks are those of [`holders`].
///
/// # Errors
///
/// The errors of [`holders`].
///
/// ```
/// use diesel_dbsemaphore as sem;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// # sem::ensure(&mut conn, "reports", 3)?;
/// for waiter in sem::waiters(&mut conn, "reports")? {
///     println!("{}. {:?} has waited for {:?}", waiter.position, waiter.session.pid, waiter.waited);
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn waiters<C: TicketConnection + ?Sized>(conn: &mut C, name: &str) -> Result<Vec<Waiter>> {
    of_semaphore(conn, name, |backend| backend.waiters(name))
}

/// Returns for each semaphore the size, the number of held tickets and the number of waiters, in the order of names.
/// One query, for dashboards.
///
/// # Errors
///
/// [`NotMigrated`](Error::NotMigrated), [`Database`](Error::Database).
///
/// ```
/// use diesel_dbsemaphore as sem;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// sem::ensure(&mut conn, "reports", 3)?;
/// let reports = &sem::usage(&mut conn)?[0];
/// assert_eq!((reports.size, reports.in_use, reports.waiting), (3, 0, 0));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn usage<C: TicketConnection + ?Sized>(conn: &mut C) -> Result<Vec<Usage>> {
    let backend = conn.backend().into_backend();
    backend
        .usage(None)
        .map_err(|error| backend.classify(error, Operation::Inspect))
}

/// Returns how much of a semaphore is in use, as [`usage`] does for all.
///
/// Takes one round trip. Does not block.
///
/// # Errors
///
/// * [`UnknownSemaphore`](Error::UnknownSemaphore): no semaphore has this name.
/// * The errors of [`usage`], and [`InvalidName`](Error::InvalidName).
///
/// ```
/// # use diesel_dbsemaphore as sem;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// sem::ensure(&mut conn, "reports", 3)?;
/// let reports = sem::usage_of(&mut conn, "reports")?;
/// assert_eq!((reports.size, reports.in_use, reports.waiting), (3, 0, 0));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn usage_of<C: TicketConnection + ?Sized>(conn: &mut C, name: &str) -> Result<Usage> {
    validate::check_name(name)?;
    let backend = conn.backend().into_backend();
    let usage = backend
        .usage(Some(name))
        .map_err(|error| backend.classify(error, Operation::Inspect))?;
    usage
        .into_iter()
        .next()
        .ok_or_else(|| Error::UnknownSemaphore {
            name: name.to_owned(),
        })
}

/// Fails if there is no such semaphore.
fn of_semaphore<C: TicketConnection + ?Sized, T>(
    conn: &mut C,
    name: &str,
    load: impl FnOnce(&mut dyn Backend) -> Result<Option<Vec<T>>>,
) -> Result<Vec<T>> {
    validate::check_name(name)?;
    let backend = conn.backend().into_backend();
    let rows = load(backend).map_err(|error| backend.classify(error, Operation::Inspect))?;
    rows.ok_or_else(|| Error::UnknownSemaphore {
        name: name.to_owned(),
    })
}
