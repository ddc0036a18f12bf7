//! Lists holders and waiters.

use crate::{
    Error, Result, limits,
    pg_errors::Operation,
    query::{self, SessionRow},
    transaction,
};
use diesel::PgConnection;
use std::time::Duration;

/// A PostgreSQL session that holds a ticket or waits for one.
///
/// Values that the role may not see are `None`: without membership in `pg_read_all_stats`, the client addresses of
/// other roles.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// The process ID of the server process, for `pg_terminate_backend`. Behind a pooler, that of the pooler's
    /// session. `None` if the ticket was locked by other means than this crate, or if a prepared transaction holds it.
    pub pid: Option<i32>,
    /// The role that logged in.
    pub role: Option<String>,
    /// The `application_name`, without the label.
    pub application: Option<String>,
    /// The label of the request: see [`Request::label`](crate::Request::label).
    pub label: Option<String>,
    /// The address of the client. `None` on a Unix socket, too.
    pub client_address: Option<String>,
}

/// A held ticket and its holder: see [`holders`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The id of the ticket, as in [`Ticket::ids`](crate::Ticket::ids).
    pub ticket: i64,
    /// The session that holds the ticket.
    pub session: Session,
    /// For how long the ticket has been held, by the server's clock, in steps of 1/32 s. `None` if the ticket was
    /// locked by other means than this crate, or if the server's clock was set back since.
    pub held_for: Option<Duration>,
    /// The age of the holder's transaction, by the server's clock: for this time, it has held back `VACUUM`. `None`
    /// if the role may not see it, if the holder's `track_activities` is off, or if the server's clock was set back
    /// since.
    pub transaction_for: Option<Duration>,
    /// The name of the prepared transaction that holds the ticket. Such a transaction has no process, and ends by
    /// `COMMIT PREPARED` or `ROLLBACK PREPARED`.
    pub prepared_transaction: Option<String>,
}

/// A waiter in the queue of a semaphore: see [`waiters`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiter {
    /// The position in the queue. The head of the queue has 1.
    pub place: u32,
    /// The number of tickets that it waits for, without those that it holds already.
    pub tickets: Option<u32>,
    /// The session that waits. Calls of [`make`](crate::make) and [`destroy`](crate::destroy) that wait for held
    /// tickets are in the queue, too.
    pub session: Session,
    /// For how long the waiter has waited, by the server's clock. `None` for the head of the queue if the role may not
    /// see it, or if the head's `track_activities` is off.
    pub waited: Option<Duration>,
}

/// The size of a semaphore and how much of it is in use: see [`usage`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// The name of the semaphore.
    pub name: String,
    /// The number of its tickets: its size.
    pub tickets: u32,
    /// The number of held tickets.
    pub in_use: u32,
    /// The number of sessions that wait in its queue.
    pub waiting: u32,
}

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
/// * [`Database`](Error::Database): PostgreSQL or Diesel reported an error, or the server is a standby.
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
