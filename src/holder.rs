//! What is seen of holders and waiters.

use std::time::Duration;

#[cfg(feature = "serde")]
fn serialize_ms<S: serde::Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let time = time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    serde::Serialize::serialize(&time, serializer)
}

/// A session that holds a ticket or waits for one.
///
/// Values that the role may not see are `None`: without membership in `pg_read_all_stats`, the client addresses of
/// other roles.
///
/// ```
/// # use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// # sem::ensure(&mut conn, "reports", 1)?;
/// # let request = Request::new("reports").label("nightly");
/// # let _ticket = SemaphoreTicket::require(database.connect(), request)?;
/// let session = &sem::holders(&mut conn, "reports")?[0].session;
/// println!("{:?} of {:?}, process {:?}", session.label, session.role, session.pid);
/// # assert_eq!(session.label.as_deref(), Some("nightly"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
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

/// A held ticket and its holder: see [`holders`](crate::holders).
///
/// ```
/// # use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
/// # use std::time::Duration;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// # sem::ensure(&mut conn, "reports", 1)?;
/// # let _ticket = SemaphoreTicket::require(database.connect(), "reports")?;
/// for holder in sem::holders(&mut conn, "reports")? {
///     if holder.held_for > Some(Duration::from_secs(3600)) {
///         println!("process {:?} has held ticket {} for an hour", holder.session.pid, holder.ticket);
///     }
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Holder {
    /// The id of the ticket, as in [`Ticket::ids`](crate::Ticket::ids).
    pub ticket: i64,
    /// The session that holds the ticket.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub session: Session,
    /// For how long the ticket has been held, by the server's clock, in steps of 1/32 s. `None` if the ticket was
    /// locked by other means than this crate, if the server's clock was set back since, or after 194 days.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "held_for_ms", serialize_with = "serialize_ms")
    )]
    pub held_for: Option<Duration>,
    /// The age of the holder's transaction, by the server's clock: for this time, it has held back `VACUUM`. Of a
    /// prepared transaction, the time since it was prepared. `None` if the role may not see it, if the holder's
    /// `track_activities` is off, or if the server's clock was set back since.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "transaction_for_ms", serialize_with = "serialize_ms")
    )]
    pub transaction_for: Option<Duration>,
    /// The name of the prepared transaction that holds the ticket. Such a transaction has no process, and ends by
    /// `COMMIT PREPARED` or `ROLLBACK PREPARED`.
    pub prepared_transaction: Option<String>,
}

/// A waiter in the queue of a semaphore: see [`waiters`](crate::waiters).
///
/// ```
/// # use diesel_dbsemaphore as sem;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// # sem::ensure(&mut conn, "reports", 1)?;
/// let needed: u32 = sem::waiters(&mut conn, "reports")?.iter().filter_map(|waiter| waiter.tickets).sum();
/// println!("the waiters need {needed} tickets");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Waiter {
    /// The position in the queue. The head of the queue has 1.
    pub position: u32,
    /// The number of tickets that it waits for, without those that it holds already.
    pub tickets: Option<u32>,
    /// The session that waits. Calls of [`make`](crate::make) and [`destroy`](crate::destroy) that wait for held
    /// tickets are in the queue, too.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub session: Session,
    /// For how long the waiter has waited, by the server's clock. `None` for the head of the queue if the role may not
    /// see it, or if the head's `track_activities` is off.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "waited_ms", serialize_with = "serialize_ms")
    )]
    pub waited: Option<Duration>,
}

/// The size of a semaphore and how much of it is in use: see [`usage`](crate::usage).
///
/// ```
/// # use diesel_dbsemaphore as sem;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// # sem::ensure(&mut conn, "reports", 1)?;
/// for usage in sem::usage(&mut conn)? {
///     println!("{}: {} of {} tickets held, {} waiting", usage.name, usage.in_use, usage.size, usage.waiting);
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Usage {
    /// The name of the semaphore.
    pub name: String,
    /// The number of its tickets.
    pub size: u32,
    /// The number of held tickets.
    pub in_use: u32,
    /// The number of sessions that wait in its queue.
    pub waiting: u32,
}

impl Usage {
    /// The number of tickets that nobody holds. While somebody waits in the queue, only the head can acquire them.
    ///
    /// ```
    /// # use diesel_dbsemaphore as sem;
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// sem::ensure(&mut conn, "reports", 3)?;
    /// let _ticket = sem::SemaphoreTicket::require(database.connect(), "reports")?;
    /// assert_eq!(sem::usage_of(&mut conn, "reports")?.available(), 2);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn available(&self) -> u32 {
        self.size.saturating_sub(self.in_use)
    }
}
