use crate::{Error, Result, limits};
use std::time::Duration;

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
    patience: Patience,
}

/// How long to wait when too few tickets are free.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    AtMost(Duration),
    Forever,
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
            patience: Patience::AtMost(Duration::ZERO),
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

    /// Waits in line for at most this long when too few are free.
    ///
    /// Never less, by the caller's clock; a zero duration doesn't wait. When the time is over, the answer is as if the
    /// request had not waited: `None` from `acquire`, [`Error::Unavailable`] from `require`.
    ///
    /// ```
    /// use diesel_dbsemaphore::Request;
    /// use std::time::Duration;
    /// let request = Request::new("reports").wait(Duration::from_secs(30));
    /// # let _ = request;
    /// ```
    pub const fn wait(self, limit: Duration) -> Self {
        Self {
            patience: Patience::AtMost(limit),
            ..self
        }
    }

    /// Waits in line until it is granted, or the semaphore is destroyed.
    ///
    /// ```
    /// let request = diesel_dbsemaphore::Request::new("imports").wait_forever();
    /// # let _ = request;
    /// ```
    pub const fn wait_forever(self) -> Self {
        Self {
            patience: Patience::Forever,
            ..self
        }
    }

    pub(crate) fn patience(&self) -> Patience {
        self.patience
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
