use crate::{Error, Result, limits};

/// What is asked for: tickets of a semaphore.
///
/// A name alone asks for one ticket.
///
/// ```
/// use diesel_dbsemaphore::{self as sem, Request};
/// # use diesel::Connection;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
///
/// sem::ensure(&mut conn, "licences", 3)?;
/// conn.transaction::<_, sem::Error, _>(|c| {
///     let two = sem::require(c, Request::new("licences").tickets(2))?;
///     assert_eq!(two.count(), 2);
///     Ok(())
/// })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a request does nothing until it is given to acquire, require or with_ticket"]
pub struct Request<'a> {
    semaphore: &'a str,
    tickets: u32,
}

impl<'a> Request<'a> {
    /// Asks for one ticket of this semaphore.
    ///
    /// ```
    /// const REPORT: diesel_dbsemaphore::Request<'_> = diesel_dbsemaphore::Request::new("reports");
    /// # let _ = REPORT;
    /// ```
    pub const fn new(semaphore: &'a str) -> Self {
        Self {
            semaphore,
            tickets: 1,
        }
    }

    /// Asks for this many tickets, all or none of them.
    ///
    /// More than the semaphore has, and 0, are [`Error::InvalidTickets`] when the request is made.
    ///
    /// ```
    /// let request = diesel_dbsemaphore::Request::new("licences").tickets(2);
    /// # let _ = request;
    /// ```
    pub const fn tickets(self, tickets: u32) -> Self {
        Self { tickets, ..self }
    }

    pub(crate) fn semaphore(&self) -> &'a str {
        self.semaphore
    }

    /// How many tickets, checked with the name: all that can be found wrong before the database is asked.
    pub(crate) fn checked(&self) -> Result<i32> {
        limits::check_name(self.semaphore)?;
        if self.tickets == 0 {
            return Err(self.too_many(0));
        }
        limits::check_tickets(self.semaphore, self.tickets)
    }

    pub(crate) fn too_many(&self, limit: u32) -> Error {
        Error::InvalidTickets {
            name: self.semaphore.to_owned(),
            tickets: self.tickets,
            limit,
        }
    }
}

impl<'a> From<&'a str> for Request<'a> {
    fn from(semaphore: &'a str) -> Self {
        Self::new(semaphore)
    }
}

impl<'a> From<&'a String> for Request<'a> {
    fn from(semaphore: &'a String) -> Self {
        Self::new(semaphore)
    }
}
