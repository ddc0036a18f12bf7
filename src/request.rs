use crate::{CancellationToken, Error, Result, limits, query::AcquireParams};
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
    wait_limit: WaitLimit,
    host_timeout: Duration,
    label: Option<&'a str>,
    cancellation: Option<&'a CancellationToken>,
    /// Cancelled when the time is over by our clock, and the server doesn't answer.
    overdue: Option<&'a CancellationToken>,
}

/// How long to wait when too few tickets are free.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WaitLimit {
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
            wait_limit: WaitLimit::AtMost(Duration::ZERO),
            host_timeout: Duration::from_secs(30),
            label: None,
            cancellation: None,
            overdue: None,
        }
    }

    /// Asks for this many tickets, all or none of them.
    ///
    /// More than the semaphore has, and 0, are [`Error::InvalidTickets`] when the request is made. One that doesn't wait,
    /// and finds too few, may for an instant have held those that it found: another one may be refused for it.
    ///
    /// ```
    /// let request = diesel_dbsemaphore::Request::new("licences").tickets(2);
    /// # let _ = request;
    /// ```
    pub const fn tickets(self, tickets: u32) -> Self {
        Self { tickets, ..self }
    }

    /// Waits in the queue for at most this long when too few are free.
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
            wait_limit: WaitLimit::AtMost(limit),
            ..self
        }
    }

    /// Waits in the queue until it is granted, or the semaphore is destroyed.
    ///
    /// ```
    /// let request = diesel_dbsemaphore::Request::new("imports").wait_forever();
    /// # let _ = request;
    /// ```
    pub const fn wait_forever(self) -> Self {
        Self {
            wait_limit: WaitLimit::Forever,
            ..self
        }
    }

    /// How long a host that has vanished, without a word to the server, keeps a guard's ticket, or its place in the queue: 30
    /// seconds, if nothing else is said. Counted in whole seconds, of at least 1 and at most 86,400 (a day).
    ///
    /// This is about power failures and broken networks; a process that dies, on a host that lives, gives its ticket back
    /// at once. It is the server's TCP that notices (keepalive and user time-out, for this transaction only), so it does
    /// nothing on a Unix socket, nor through a pooler or proxy, which answers in the host's place. The holder's own side
    /// is bounded by the parameters of its connection, such as `tcp_user_timeout`.
    ///
    /// ```
    /// use diesel_dbsemaphore::Request;
    /// use std::time::Duration;
    /// let request = Request::new("reports").host_timeout(Duration::from_secs(10));
    /// # let _ = request;
    /// ```
    pub const fn host_timeout(self, host_timeout: Duration) -> Self {
        Self {
            host_timeout,
            ..self
        }
    }

    /// Says to others what the tickets are for: see [`holders`](crate::holders) and [`waiters`](crate::waiters).
    ///
    /// 1 to 40 printable ASCII characters, anything else is [`Error::InvalidLabel`] when the request is made. It is added
    /// to the `application_name` of the connection, which everybody may see, while the request waits and until the
    /// transaction that holds its tickets ends. So don't put a secret into it. A later `SET LOCAL application_name` or `RESET
    /// ALL` in that transaction removes the label.
    ///
    /// ```
    /// let request = diesel_dbsemaphore::Request::new("reports").label("monthly, for Ada");
    /// # let _ = request;
    /// ```
    pub const fn label(self, label: &'a str) -> Self {
        Self {
            label: Some(label),
            ..self
        }
    }

    /// Lets another thread cancel the wait: see [`CancellationToken`].
    ///
    /// The call that waits then fails with [`Error::Cancelled`].
    ///
    /// ```
    /// use diesel_dbsemaphore::{CancellationToken, Request};
    /// let token = CancellationToken::new();
    /// let request = Request::new("reports").wait_forever().cancellation(&token);
    /// # let _ = request;
    /// ```
    pub const fn cancellation(self, token: &'a CancellationToken) -> Self {
        Self {
            cancellation: Some(token),
            ..self
        }
    }

    /// Cancelled when the wait should be over by our clock and the server has not ended it.
    #[cfg(feature = "r2d2")]
    pub(crate) fn overdue(self, token: &'a CancellationToken) -> Self {
        Self {
            overdue: Some(token),
            ..self
        }
    }

    /// Those that can cancel it.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &'a CancellationToken> {
        self.cancellation.into_iter().chain(self.overdue)
    }

    /// An error if its token was cancelled.
    pub(crate) fn check_cancellation(&self) -> Result<()> {
        match self.cancellation {
            Some(token) if token.is_cancelled() => Err(Error::Cancelled {
                name: self.semaphore.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn wait_limit(&self) -> WaitLimit {
        self.wait_limit
    }

    pub(crate) fn semaphore(&self) -> &'a str {
        self.semaphore
    }

    pub(crate) fn label_text(&self) -> Option<&'a str> {
        self.label
    }

    /// Checks all that can be checked without the server. Returns what to ask the server for.
    pub(crate) fn validate(&self) -> Result<AcquireParams<'a>> {
        limits::check_name(self.semaphore)?;
        if self.tickets == 0 {
            return Err(self.invalid_tickets_error(0));
        }
        if let Some(label) = self.label {
            limits::check_label(label)?;
        }
        Ok(AcquireParams {
            semaphore: self.semaphore,
            tickets: limits::check_tickets(self.semaphore, self.tickets)?,
            host_timeout: None,
            label: self.label,
        })
    }

    /// [`validate`](Self::validate) for a guard, whose transaction only holds tickets.
    pub(crate) fn validate_for_guard(&self) -> Result<AcquireParams<'a>> {
        const DAY: u64 = 24 * 3600;
        let seconds = self.host_timeout.as_millis().div_ceil(1000);
        let seconds = u64::try_from(seconds).unwrap_or(DAY).clamp(1, DAY);
        Ok(AcquireParams {
            host_timeout: i32::try_from(seconds).ok(),
            ..self.validate()?
        })
    }

    pub(crate) fn invalid_tickets_error(&self, limit: u32) -> Error {
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
