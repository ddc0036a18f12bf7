use crate::{MAX_TICKETS, Ticket};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use std::path::PathBuf;

/// A `Result` with this crate's [`Error`].
///
/// ```
/// fn work() -> diesel_dbsemaphore::Result<()> {
///     Ok(())
/// }
/// # work().unwrap();
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate. Each message says what failed, the cause, and the fix if there is one.
///
/// Errors that the crate detects leave your transaction as it was. An error that the database raises
/// ([`Database`](Self::Database)) aborts it, as any failing statement does. The connection is usable again after the
/// rollback.
///
/// ```
/// use diesel_dbsemaphore::{self as sem, Error};
/// # use diesel::Connection;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
///
/// let refused = conn.transaction(|c| sem::require(c, "reprots"));
/// assert!(matches!(&refused, Err(Error::UnknownSemaphore { name, .. }) if name == "reprots"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A ticket was requested outside of a transaction. Its row lock would end with the statement. On MySQL and MariaDB, also
    /// [`make`](crate::make) and [`destroy`](crate::destroy) report a transaction that the server has ended already.
    #[error(
        "this connection is not inside a transaction, or the server has ended it (on MySQL, DDL commits): call this inside \
         conn.transaction(|conn| ..), or use with_ticket or SemaphoreTicket"
    )]
    NotInTransaction,

    /// A [`SemaphoreTicket`](crate::SemaphoreTicket) was requested on a connection that is inside a transaction. PostgreSQL
    /// has rolled back the transaction if raw SQL had opened it.
    #[error(
        "this connection is already inside a transaction: use another connection, or make this call before the \
         transaction begins; on PostgreSQL and MySQL, acquire holds a ticket in the open transaction"
    )]
    AlreadyInTransaction,

    /// There is no semaphore of that name.
    #[error("there is no semaphore {name:?}: create it with ensure or make, or check its name")]
    #[allow(missing_docs)]
    #[non_exhaustive]
    UnknownSemaphore { name: String },

    /// The name is not valid. Names have 1 to 255 characters and no NUL.
    #[error("{name:?} can't be the name of a semaphore: {reason}")]
    #[allow(missing_docs)]
    #[non_exhaustive]
    InvalidName { name: String, reason: &'static str },

    /// The label is not valid. Labels have 1 to 40 printable ASCII characters.
    #[error("{label:?} can't be the label of a request: {reason}")]
    #[allow(missing_docs)]
    #[non_exhaustive]
    InvalidLabel { label: String, reason: &'static str },

    /// 0 tickets were requested, or more than `limit`, which is the number that the semaphore has, or can have.
    #[error("semaphore {name:?}: {}", invalid_tickets(*.tickets, *.limit))]
    #[allow(missing_docs)]
    #[non_exhaustive]
    InvalidTickets {
        name: String,
        tickets: u32,
        limit: u32,
    },

    /// Too few tickets are available.
    #[error(
        "semaphore {name:?} has too few tickets available: try again later, or let the request wait longer"
    )]
    #[allow(missing_docs)]
    #[non_exhaustive]
    Unavailable { name: String },

    /// The wait was cancelled by its [`CancellationToken`](crate::CancellationToken).
    #[error("the wait for semaphore {name:?} was cancelled")]
    #[allow(missing_docs)]
    #[non_exhaustive]
    Cancelled { name: String },

    /// The ticket was released while the guard existed. Another request may hold it now.
    #[error("ticket {ticket} was lost, and another request may hold it now: stop the guarded work")]
    #[allow(missing_docs)]
    #[non_exhaustive]
    TicketLost {
        ticket: Ticket,
        source: Option<DieselError>,
    },

    /// The tables are missing in this database.
    #[error(
        "the tables of diesel-dbsemaphore are missing in this database: call run_migrations when the application starts"
    )]
    NotMigrated,

    /// The pool had no connection available, or could not connect.
    #[cfg(feature = "r2d2")]
    #[error("{}", pool_error(.0))]
    Pool(diesel::r2d2::PoolError),

    /// A lock file beside the database of SQLite can't be used: see [`sqlite`](crate::guide::sqlite). The ticket is not held.
    #[error("lock file {path:?} can't be used: {source}")]
    #[allow(missing_docs)]
    #[non_exhaustive]
    LockFile {
        path: PathBuf,
        source: std::io::Error,
    },

    /// The database of this connection does not support this.
    #[error("not supported by the database of this connection: {reason}")]
    #[allow(missing_docs)]
    #[non_exhaustive]
    Unsupported { reason: String },

    /// A migration failed. None was applied.
    #[error("the migrations of diesel-dbsemaphore failed: {0}")]
    Migration(Box<dyn std::error::Error + Send + Sync>),

    /// The database or Diesel reported an error. The error's hint has the fix, if one is known.
    #[error("{}", with_hint(.0))]
    Database(DieselError),
}

impl Error {
    /// Returns `true` if a ticket, or a connection of the pool, was not available in time. A later request may
    /// succeed.
    ///
    /// This is the case for [`Unavailable`](Self::Unavailable), and for [`Pool`](Self::Pool) if all connections were
    /// in use, but not if the pool could not connect.
    ///
    /// ```
    /// # use diesel_dbsemaphore::{self as sem, Error, SemaphoreTicket};
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// sem::ensure(&mut conn, "closed", 0)?;
    /// let refused = SemaphoreTicket::require(&mut conn, "closed").unwrap_err();
    /// assert!(refused.is_busy());
    /// assert!(!Error::NotMigrated.is_busy());
    /// # Ok::<_, Error>(())
    /// ```
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            #[cfg(feature = "r2d2")]
            Self::Pool(error) => connect_error(error).is_none(),
            _ => false,
        }
    }
}

// What these hold is part of their message, so it is not their source: it would be printed twice.

#[cfg(feature = "r2d2")]
impl From<diesel::r2d2::PoolError> for Error {
    fn from(error: diesel::r2d2::PoolError) -> Self {
        Self::Pool(error)
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        Self::Database(error)
    }
}

/// What the pool's last attempt to connect met with. The pool adds that to its own words.
#[cfg(feature = "r2d2")]
fn connect_error(error: &diesel::r2d2::PoolError) -> Option<String> {
    let text = error.to_string();
    let (_, cause) = text.split_once(": ")?;
    Some(cause.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(feature = "r2d2")]
fn pool_error(error: &diesel::r2d2::PoolError) -> String {
    match connect_error(error) {
        Some(cause) => format!("the pool for tickets could not connect: {cause}"),
        None => "all connections of the pool for tickets are in use, by holders and waiters: increase its max_size, or admit \
            fewer requests at a time"
            .to_owned(),
    }
}

fn invalid_tickets(tickets: u32, limit: u32) -> String {
    match (tickets, limit) {
        (0, _) => "0 tickets were requested: request at least 1".to_owned(),
        (_, MAX_TICKETS) => {
            format!("{tickets} tickets are more than a semaphore can have ({MAX_TICKETS})")
        }
        _ => format!(
            "{tickets} tickets were requested, and its size is {limit}: request fewer, or resize it with make"
        ),
    }
}

pub(crate) const CONNECTION_LOST: &str =
    "the connection is lost, and with it each ticket that it held: use a new one";

fn with_hint(error: &DieselError) -> String {
    use DatabaseErrorKind::{ClosedConnection, UnableToSendCommand, Unknown};
    let hint = match error {
        DieselError::DatabaseError(ClosedConnection | UnableToSendCommand, _) => {
            Some(CONNECTION_LOST)
        }
        DieselError::DatabaseError(Unknown, raised) if is_lost_on_mysql(raised.message()) => {
            Some(CONNECTION_LOST)
        }
        DieselError::DatabaseError(_, raised) => raised.hint(),
        DieselError::BrokenTransactionManager => Some(CONNECTION_LOST),
        _ => None,
    };
    hint.map_or_else(|| error.to_string(), |hint| format!("{error} ({hint})"))
}

/// Diesel has no kind for these errors of MySQL's client library, which does not translate its messages.
fn is_lost_on_mysql(message: &str) -> bool {
    message.starts_with("Lost connection to ") || message.ends_with("erver has gone away")
}
