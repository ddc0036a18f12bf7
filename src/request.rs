mod params;

use crate::{CancellationToken, Error, Result};
use std::time::Duration;

/// A request for tickets of a semaphore. A name alone is a request for one ticket that does not wait.
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
    #[cfg(feature = "r2d2")]
    watch_interval: Option<Duration>,
    label: Option<&'a str>,
    cancellation: Option<&'a CancellationToken>,
    /// Cancelled when the time is over by the clock of this process, and the server does not answer.
    overdue: Option<&'a CancellationToken>,
}

/// How long to wait if too few tickets are available.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WaitLimit {
    AtMost(Duration),
    Forever,
}

impl<'a> Request<'a> {
    /// Creates a request for one ticket of this semaphore.
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
            #[cfg(feature = "r2d2")]
            watch_interval: None,
            label: None,
            cancellation: None,
            overdue: None,
        }
    }

    /// Requests this many tickets, all or none of them.
    ///
    /// 0 tickets, or more than the semaphore has, are [`Error::InvalidTickets`] when the request is sent. Limitation: a
    /// request that finds too few may cause [refusals](crate::guide::waiting#refusals) of others.
    ///
    /// ```
    /// let request = diesel_dbsemaphore::Request::new("licences").tickets(2);
    /// # let _ = request;
    /// ```
    pub const fn tickets(self, tickets: u32) -> Self {
        Self { tickets, ..self }
    }

    /// Waits in the queue for at most `limit` if too few tickets are available.
    ///
    /// A wait never ends before `limit`, by the caller's clock. A zero duration does not wait. After `limit`,
    /// `acquire` returns `None`, and `require` returns [`Error::Unavailable`].
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

    /// Waits in the queue without limit, until the tickets are acquired or the semaphore is destroyed.
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

    /// Sets after which time the server ends the session of a guard whose host has vanished, which holds a ticket or
    /// waits. The default is 30 s. The time is rounded up to whole seconds, from 1 to 86,400 (a day).
    ///
    /// This is for power failures and broken networks. If only the process dies, its ticket is released at once. The
    /// server's TCP detects the vanished host, by keepalive and TCP user timeout, which are set for the guard's
    /// transaction only.
    ///
    /// On MySQL and MariaDB, this bounds waiters only. There, a [watched](crate::SemaphoreTicket::watch) guard has such a
    /// bound: see [`mysql`](crate::guide::mysql#what-is-weaker).
    ///
    /// Limitation: this has no effect on a Unix socket, nor through a pooler or proxy, which answers in place of the
    /// host. On the side of the holder, the parameters of its connection decide, such as `tcp_user_timeout`: see
    /// [`losing_a_ticket`](crate::guide::losing_a_ticket#detection).
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

    /// Lets [`with_ticket`](crate::with_ticket) check the ticket in the background at this interval while the closure
    /// runs, as [`SemaphoreTicket::watch`](crate::SemaphoreTicket::watch) does for a guard. Other calls ignore it. An
    /// interval below 10 ms counts as 10 ms.
    ///
    /// ```
    /// use diesel_dbsemaphore::Request;
    /// use std::time::Duration;
    /// let request = Request::new("reports").watch(Duration::from_secs(2));
    /// # let _ = request;
    /// ```
    #[cfg(feature = "r2d2")]
    pub const fn watch(self, interval: Duration) -> Self {
        Self {
            watch_interval: Some(interval),
            ..self
        }
    }

    /// Sets the label that [`holders`](crate::holders) and [`waiters`](crate::waiters) show.
    ///
    /// A label has 1 to 40 printable ASCII characters. Other labels are [`Error::InvalidLabel`] when the request is
    /// sent: do not build a label of what a user has written. While the request waits, and until the transaction that holds its tickets ends, the label is part of the
    /// connection's `application_name`, which each role can see. So do not put a secret into it. A later
    /// `SET LOCAL application_name` or `RESET ALL` in that transaction removes the label.
    ///
    /// On MySQL and MariaDB, [`holders`](crate::holders) shows the labels of guards only. The label is a row that is rolled back.
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

    /// Lets another thread cancel the wait by this token: see [`CancellationToken`].
    ///
    /// The waiting call then fails with [`Error::Cancelled`]. So does each later call that may wait, before it asks the
    /// server. A request that does not wait ignores the token.
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

    /// Adds a token that is cancelled when the wait is over by the clock of this process, and the server has not ended
    /// it.
    #[cfg(feature = "r2d2")]
    pub(crate) fn overdue(self, token: &'a CancellationToken) -> Self {
        Self {
            overdue: Some(token),
            ..self
        }
    }

    /// Returns the tokens that can cancel the wait.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &'a CancellationToken> {
        self.cancellation.into_iter().chain(self.overdue)
    }

    /// Fails if the request may wait, and the token of `cancellation` was cancelled.
    pub(crate) fn check_cancellation(&self) -> Result<()> {
        match self.cancellation {
            Some(token) if self.may_wait() && token.is_cancelled() => Err(Error::Cancelled {
                name: self.semaphore.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    #[cfg(feature = "r2d2")]
    pub(crate) fn watch_interval(&self) -> Option<Duration> {
        self.watch_interval
    }

    pub(crate) fn wait_limit(&self) -> WaitLimit {
        self.wait_limit
    }

    pub(crate) fn may_wait(&self) -> bool {
        !matches!(self.wait_limit, WaitLimit::AtMost(Duration::ZERO))
    }

    pub(crate) fn semaphore(&self) -> &'a str {
        self.semaphore
    }

    pub(crate) fn label_text(&self) -> Option<&'a str> {
        self.label
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
