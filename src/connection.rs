#[cfg(feature = "mysql")]
use diesel::MysqlConnection;
#[cfg(feature = "postgres")]
use diesel::PgConnection;
#[cfg(feature = "sqlite")]
use diesel::SqliteConnection;
#[cfg(feature = "r2d2")]
use diesel::r2d2::{ManageConnection, PooledConnection};
use std::{convert::Infallible, fmt};

/// A connection of a database that this crate supports.
///
/// Implemented for [`PgConnection`](diesel::PgConnection) (feature `postgres`), for `MysqlConnection` (feature `mysql`: MySQL
/// and MariaDB), for `SqliteConnection` (feature `sqlite`), for `&mut C`, for `Box<C>` and, with the feature `r2d2`, for
/// pooled connections of each manager whose connections implement it.
///
/// Implement it for a type of your own that has a connection inside, such as an enum with Diesel's `MultiConnection`:
/// then all functions of this crate accept it. For use with a pool that is not r2d2's, the implementation has to
/// guarantee that:
///
/// * `backend` always returns the same connection.
/// * The pool closes a connection that is returned while Diesel reports it as broken or inside a transaction.
///
/// ```
/// use diesel::PgConnection;
/// use diesel_dbsemaphore::{self as sem, BackendConnection, SemaphoreTicket, TicketConnection};
///
/// enum AnyConnection {
///     Postgres(PgConnection),
///     // and those of other databases
/// }
///
/// impl TicketConnection for AnyConnection {
///     fn backend(&mut self) -> BackendConnection<'_> {
///         match self {
///             Self::Postgres(conn) => conn.backend(),
///         }
///     }
/// }
///
/// # let database = stand::Database::create();
/// # let conn = database.connect();
/// let mut conn = AnyConnection::Postgres(conn);
/// sem::run_migrations(&mut conn)?;
/// sem::ensure(&mut conn, "reports", 3)?;
/// let ticket = SemaphoreTicket::require(conn, "reports")?;
/// let AnyConnection::Postgres(conn) = ticket.release()?;
/// # drop(conn);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a connection of a database that diesel-dbsemaphore supports",
    label = "`TicketConnection` is not implemented for `{Self}`",
    note = "enable the feature of the database in Cargo.toml, for example `postgres`",
    note = "if it only dereferences to a connection, pass `&mut *conn`",
    note = "if it is your own type, such as an enum with Diesel's `MultiConnection`, implement `TicketConnection` for it"
)]
pub trait TicketConnection {
    /// Returns the connection. Must not block, and must return the same one each time.
    ///
    /// ```
    /// use diesel_dbsemaphore::{BackendConnection, TicketConnection};
    /// # let database = stand::Database::create();
    /// let mut boxed = Box::new(database.connect());
    /// assert!(matches!(boxed.backend(), BackendConnection::Postgres(_)));
    /// ```
    fn backend(&mut self) -> BackendConnection<'_>;
}

/// A connection that can hold a ticket in your own transaction, as [`acquire`](crate::acquire) and
/// [`require`](crate::require) do.
///
/// Not implemented for `SqliteConnection`: see [`sqlite`](crate::guide::sqlite). Implement it for a type of your own if
/// each connection that it can have inside does.
///
/// ```
/// fn needs_one<C: diesel_dbsemaphore::TransactionConnection>() {}
/// needs_one::<diesel::PgConnection>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't hold a ticket in your own open transaction",
    label = "`TransactionConnection` is not implemented for `{Self}`",
    note = "use `diesel_dbsemaphore::transaction`, `SemaphoreTicket` or `with_ticket`, which work on each database",
    note = "if it only dereferences to a connection, pass `&mut *conn`"
)]
pub trait TransactionConnection: TicketConnection {}

/// The connection of a [`TicketConnection`], by its database.
///
/// ```
/// use diesel_dbsemaphore::{BackendConnection, TicketConnection};
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// assert!(matches!(conn.backend(), BackendConnection::Postgres(_)));
/// ```
#[non_exhaustive]
pub enum BackendConnection<'a> {
    /// A connection to PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(&'a mut PgConnection),
    /// A connection to SQLite.
    #[cfg(feature = "sqlite")]
    Sqlite(&'a mut SqliteConnection),
    /// A connection to MySQL or MariaDB.
    #[cfg(feature = "mysql")]
    Mysql(&'a mut MysqlConnection),
    #[doc(hidden)]
    __Never(&'a mut Infallible),
}

impl fmt::Debug for BackendConnection<'_> {
    fn fmt(&self, #[allow(unused)] f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => f.write_str("Postgres"),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => f.write_str("Sqlite"),
            #[cfg(feature = "mysql")]
            Self::Mysql(_) => f.write_str("Mysql"),
            Self::__Never(never) => match **never {},
        }
    }
}

#[cfg(feature = "postgres")]
impl TicketConnection for PgConnection {
    fn backend(&mut self) -> BackendConnection<'_> {
        BackendConnection::Postgres(self)
    }
}

#[cfg(feature = "postgres")]
impl TransactionConnection for PgConnection {}

// No `TransactionConnection`: a ticket is a file, and nothing tells this crate when a transaction of yours ends.
#[cfg(feature = "sqlite")]
impl TicketConnection for SqliteConnection {
    fn backend(&mut self) -> BackendConnection<'_> {
        BackendConnection::Sqlite(self)
    }
}

#[cfg(feature = "mysql")]
impl TicketConnection for MysqlConnection {
    fn backend(&mut self) -> BackendConnection<'_> {
        BackendConnection::Mysql(self)
    }
}

#[cfg(feature = "mysql")]
impl TransactionConnection for MysqlConnection {}

impl<C: TicketConnection + ?Sized> TicketConnection for &mut C {
    fn backend(&mut self) -> BackendConnection<'_> {
        (**self).backend()
    }
}

impl<C: TransactionConnection + ?Sized> TransactionConnection for &mut C {}

impl<C: TicketConnection + ?Sized> TicketConnection for Box<C> {
    fn backend(&mut self) -> BackendConnection<'_> {
        (**self).backend()
    }
}

impl<C: TransactionConnection + ?Sized> TransactionConnection for Box<C> {}

#[cfg(feature = "r2d2")]
impl<M> TicketConnection for PooledConnection<M>
where
    M: ManageConnection,
    M::Connection: TicketConnection,
{
    fn backend(&mut self) -> BackendConnection<'_> {
        (**self).backend()
    }
}

#[cfg(feature = "r2d2")]
impl<M> TransactionConnection for PooledConnection<M>
where
    M: ManageConnection,
    M::Connection: TransactionConnection,
{
}
