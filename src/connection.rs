use diesel::PgConnection;

/// A connection on which a [`SemaphoreTicket`](crate::SemaphoreTicket) can hold its ticket.
///
/// Implemented for [`PgConnection`], for `&mut C`, for `Box<C>` and, with the feature `r2d2`, for pooled
/// connections. Implement it for the connections of another pool, under two conditions:
///
/// * `pg_connection` always returns the same connection.
/// * The pool closes a returned connection that is inside a transaction or broken, according to Diesel.
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
    /// Returns the connection. Must not block, and must return the same one each time.
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
