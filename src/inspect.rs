//! Who holds what, and who waits.

use crate::{
    Error, Result, limits,
    pg_errors::Operation,
    query::{self, SessionRow},
    transaction,
};
use diesel::PgConnection;
use std::time::Duration;

/// A session of PostgreSQL that holds a ticket or waits for one.
///
/// What a role may not see of others' sessions is `None`: without membership in `pg_read_all_stats`, the address of
/// their clients.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// The process ID of its server process, as `pg_terminate_backend` takes it. Behind a pooler it is that of the
    /// pooler's session. `None` for a ticket that was locked by other means than this crate, or that a prepared transaction
    /// holds.
    pub pid: Option<i32>,
    /// The role that it has logged in as.
    pub role: Option<String>,
    /// Its `application_name`, without the label.
    pub application: Option<String>,
    /// What the request said: see [`Request::label`](crate::Request::label).
    pub label: Option<String>,
    /// The address of its client; `None` on a Unix socket, too.
    pub client_address: Option<String>,
}

/// A ticket that is held, and by whom: see [`holders`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The ticket: a value of [`Ticket::ids`](crate::Ticket::ids).
    pub ticket: i64,
    /// Who holds it.
    pub session: Session,
    /// For how long it has been held, by the server's clock, in 32nds of a second. `None` if that can't be told: the
    /// ticket was locked by other means than this crate, or the server's clock was set back since.
    pub held_for: Option<Duration>,
    /// How old the holder's transaction is, by the server's clock: it holds back `VACUUM` for as long. `None` if the
    /// role may not see it, the holder's `track_activities` is off, or the server's clock was set back since.
    pub transaction_for: Option<Duration>,
    /// The name of the prepared transaction that holds it, which has no process: it ends by `COMMIT PREPARED` or `ROLLBACK
    /// PREPARED`.
    pub prepared_transaction: Option<String>,
}

/// One who waits in the queue of a semaphore: see [`waiters`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiter {
    /// From 1, the head of the queue.
    pub place: u32,
    /// How many tickets it waits for, beside those that it holds already.
    pub tickets: Option<u32>,
    /// Who it is. A call of [`make`](crate::make) or [`destroy`](crate::destroy) that waits for tickets to come back is in
    /// the queue, too.
    pub session: Session,
    /// For how long it has waited, by the server's clock. `None` if it is at the head, and the role may not see it or
    /// the waiter's `track_activities` is off.
    pub waited: Option<Duration>,
}

/// How much of a semaphore is in use: see [`usage`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// The semaphore.
    pub name: String,
    /// How many tickets it has.
    pub tickets: u32,
    /// How many of them are held.
    pub in_use: u32,
    /// How many sessions wait in the queue for them.
    pub waiting: u32,
}

/// The tickets of a semaphore that are held now, and by whom, in the order of their ids.
///
/// Takes no lock that anybody could wait for, and needs no more rights than a holder of tickets has. This is what was
/// true while the query ran, and a ticket that changed hands meanwhile may be missing: don't decide by it whether one is
/// free, acquire one.
///
/// # Errors
///
/// [`UnknownSemaphore`](Error::UnknownSemaphore), [`InvalidName`](Error::InvalidName),
/// [`NotMigrated`](Error::NotMigrated), [`Database`](Error::Database).
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
pub fn holders(conn: &mut PgConnection, name: &str) -> Result<Vec<Holder>> {
    let rows = query_semaphore(conn, name, query::holders)?;
    let holders = rows.into_iter().map(|row| Holder {
        ticket: row.ticket,
        session: row.session.into(),
        held_for: milliseconds(row.held_for),
        transaction_for: milliseconds(row.transaction_for),
        prepared_transaction: row.prepared_transaction,
    });
    Ok(holders.collect())
}

/// Those who wait in the queue of a semaphore, its head first. As [`holders`].
///
/// # Errors
///
/// As for [`holders`].
///
/// ```
/// use diesel_dbsemaphore as sem;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// # sem::ensure(&mut conn, "reports", 3)?;
/// for waiter in sem::waiters(&mut conn, "reports")? {
///     println!("{}. {:?} has waited for {:?}", waiter.place, waiter.session.pid, waiter.waited);
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn waiters(conn: &mut PgConnection, name: &str) -> Result<Vec<Waiter>> {
    let rows = query_semaphore(conn, name, query::waiters)?;
    let waiters = rows.into_iter().map(|row| Waiter {
        place: count(row.place),
        tickets: row.tickets.map(|tickets| count(tickets.into())),
        session: row.session.into(),
        waited: milliseconds(row.waited),
    });
    Ok(waiters.collect())
}

/// All semaphores, by name: how many tickets there are, how many are held, and how many wait. One query, for a dashboard.
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
/// assert_eq!((reports.tickets, reports.in_use, reports.waiting), (3, 0, 0));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn usage(conn: &mut PgConnection) -> Result<Vec<Usage>> {
    let rows = transaction::in_read_scope(conn, |conn| Ok(query::usage(conn)?))
        .map_err(|error| error.classify(conn, Operation::Inspect))?;
    let all = rows.into_iter().map(|row| Usage {
        name: row.name,
        tickets: count(row.tickets),
        in_use: count(row.in_use),
        waiting: count(row.waiting),
    });
    Ok(all.collect())
}

fn query_semaphore<T>(
    conn: &mut PgConnection,
    name: &str,
    load_rows: fn(&mut PgConnection, &str) -> diesel::QueryResult<Vec<T>>,
) -> Result<Vec<T>> {
    limits::check_name(name)?;
    transaction::in_read_scope(conn, |conn| {
        let rows = load_rows(conn, name)?;
        if rows.is_empty() && query::semaphore_id(conn, name)?.is_none() {
            return Err(Error::UnknownSemaphore {
                name: name.to_owned(),
            });
        }
        Ok(rows)
    })
    .map_err(|error| error.classify(conn, Operation::Inspect))
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            pid: row.pid,
            role: row.role,
            application: row.application,
            label: row.label,
            client_address: row.client_address,
        }
    }
}

fn count(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn milliseconds(number: Option<i64>) -> Option<Duration> {
    number.and_then(|number| Some(Duration::from_millis(u64::try_from(number).ok()?)))
}
