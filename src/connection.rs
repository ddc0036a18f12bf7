use diesel::PgConnection;

/// A connection that a [`SemaphoreTicket`](crate::SemaphoreTicket) can hold its ticket with.
///
/// Implemented for [`PgConnection`], for `&mut C`, for `Box<C>` and, with the feature `r2d2`, for pooled connections.
/// Implement it for the connections of another pool, under two conditions: it always gives the same connection, and a
/// connection that comes back to the pool while Diesel says that it is inside a transaction, or broken, is closed
/// rather than handed to the next user.
///
/// ```
/// use diesel::PgConnection;
/// use diesel_dbsemaphore::{self as sem, SemaphoreTicket, TicketConnection};
///
/// struct Traced {
///     connection: PgConnection,
///     id: u64,
/// }
///
/// impl TicketConnection for Traced {
///     fn pg_connection(&mut self) -> &mut PgConnection {
///         &mut self.connection
///     }
/// }
///
/// # let database = stand::Database::create();
/// # let mut connection = database.connect();
/// # sem::run_migrations(&mut connection)?;
/// # sem::ensure(&mut connection, "reports", 3)?;
/// let ticket = SemaphoreTicket::require(Traced { connection, id: 7 }, "reports")?;
/// assert_eq!(ticket.release()?.id, 7);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub trait TicketConnection {
    /// The connection itself. Must not block, and must give the same one each time.
    ///
    /// ```
    /// use diesel_dbsemaphore::TicketConnection;
    /// # let database = stand::Database::create();
    /// let mut boxed = Box::new(database.connect());
    /// let connection: &mut diesel::PgConnection = boxed.pg_connection();
    /// # let _ = connection;
    /// ```
    fn pg_connection(&mut self) -> &mut PgConnection;
}

impl TicketConnection for PgConnection {
    fn pg_connection(&mut self) -> &mut PgConnection {
        self
    }
}

impl<C: TicketConnection + ?Sized> TicketConnection for &mut C {
    fn pg_connection(&mut self) -> &mut PgConnection {
        (**self).pg_connection()
    }
}

impl<C: TicketConnection + ?Sized> TicketConnection for Box<C> {
    fn pg_connection(&mut self) -> &mut PgConnection {
        (**self).pg_connection()
    }
}
