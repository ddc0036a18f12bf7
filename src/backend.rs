//! What differs between databases. All that is policy (deadlines, events, the life of a guard, watching) is written once, above
//! this trait.

#[cfg(any(feature = "postgres", feature = "mysql"))]
mod hint;
mod hold;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
mod random_order;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
#[cfg_attr(not(feature = "postgres"), allow(dead_code))]
mod transaction;

pub(crate) use hold::Hold;

use crate::{BackendConnection, Error, Holder, Result, Ticket, Usage, Waiter};
use diesel::result::QueryResult;
use std::time::Duration;

/// What failed, by the rights that it needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Acquire,
    Inspect,
    Manage,
    Migrate,
}

/// The parameters of a request to the server.
#[derive(Clone, Copy)]
#[cfg_attr(not(all(feature = "postgres", feature = "mysql")), allow(dead_code))]
pub(crate) struct AcquireParams<'a> {
    pub(crate) semaphore: &'a str,
    pub(crate) tickets: i32,
    /// In seconds. None for the caller's transaction, whose settings remain as they are.
    pub(crate) host_timeout: Option<i32>,
    pub(crate) label: Option<&'a str>,
    /// After a refusal, `acquire` follows.
    #[cfg_attr(not(feature = "mysql"), allow(dead_code))]
    pub(crate) may_wait: bool,
}

#[cfg_attr(not(feature = "mysql"), allow(dead_code))]
impl AcquireParams<'_> {
    pub(crate) fn is_guard(&self) -> bool {
        self.host_timeout.is_some()
    }
}

/// What a backend answers to a request.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(
    not(any(feature = "postgres", feature = "mysql", feature = "sqlite")),
    allow(dead_code)
)]
pub(crate) enum AcquireOutcome {
    Acquired {
        token: i64,
        tickets: Vec<i64>,
    },
    /// Too few tickets are available.
    Unavailable,
    /// The semaphore has that many tickets, and more were requested.
    TooFew {
        size: u32,
    },
    UnknownSemaphore,
}

/// How `make` has changed a semaphore.
#[cfg_attr(
    not(any(feature = "postgres", feature = "mysql", feature = "sqlite")),
    allow(dead_code)
)]
pub(crate) enum SizeChange {
    Created,
    Resized,
}

/// A connection of one database.
pub(crate) trait Backend {
    /// Whether Diesel counts an open transaction. Fails if the connection is marked as broken.
    fn is_in_transaction(&mut self) -> Result<bool>;

    /// Fails if an open transaction can't hold tickets. Then only a guard can, in its [`Hold`].
    fn check_can_hold_in_transaction(&self) -> Result<()> {
        Ok(())
    }

    /// Begins the transaction of `sem::transaction`, while a guard holds the ticket. Called only if an open transaction can't.
    fn begin_guarded_transaction(&mut self) -> Result<()> {
        Ok(())
    }

    /// Begins the transaction of a guard. Fails if the connection is inside a transaction.
    fn begin_guard(&mut self) -> Result<()>;

    /// Ends the transaction of a guard, and releases its tickets. Fails if that had ended before.
    fn finish_guard(&mut self, hold: &mut Hold) -> QueryResult<()>;

    /// Ends the transaction of a guard whose wait failed, and makes sure that it has left the queue.
    fn abort_guard(&mut self);

    /// Marks the connection as broken, so that a pool closes it.
    fn mark_broken(&mut self);

    /// Acquires tickets for the open transaction, or into `hold`. Does not wait.
    fn try_acquire(&mut self, params: AcquireParams<'_>, hold: &mut Hold)
    -> Result<AcquireOutcome>;

    /// Acquires tickets for the open transaction, or into `hold`, after `try_acquire` refused. Waits for up to `timeout_ms`,
    /// without limit if `None`. `cancel_wait` ends a wait by its number, `cancellation`. After an error, call `abort_guard`, or
    /// call this inside `wait_in_transaction`.
    fn acquire(
        &mut self,
        params: AcquireParams<'_>,
        timeout_ms: Option<i64>,
        cancellation: u32,
        hold: &mut Hold,
    ) -> Result<AcquireOutcome>;

    /// Calls `wait` in the caller's transaction, which a failure leaves as it was.
    fn wait_in_transaction(
        &mut self,
        wait: &mut dyn FnMut(&mut dyn Backend) -> Result<Option<Ticket>>,
    ) -> Result<Option<Ticket>>;

    /// Cancels the waits with this number. Returns whether there was one.
    fn cancel_wait(&mut self, cancellation: u32) -> QueryResult<bool>;

    /// Whether a guard still holds its tickets. If the next check comes within a time, the server may end the session after that
    /// time.
    fn is_held(&mut self, next_within: Option<Duration>, hold: &Hold) -> QueryResult<bool>;

    /// Creates a semaphore unless it exists. Returns whether it did.
    fn ensure(&mut self, name: &str, size: i32) -> Result<bool>;

    /// Creates or resizes a semaphore.
    fn make(&mut self, name: &str, size: i32) -> Result<Option<SizeChange>>;

    /// Deletes a semaphore. Returns whether there was one.
    fn destroy(&mut self, name: &str) -> Result<bool>;

    /// All semaphores and their sizes.
    fn list(&mut self) -> Result<Vec<(String, i64)>>;

    /// `None` if there is no such semaphore.
    fn holders(&mut self, name: &str) -> Result<Option<Vec<Holder>>>;

    /// `None` if there is no such semaphore.
    fn waiters(&mut self, name: &str) -> Result<Option<Vec<Waiter>>>;

    /// Of all semaphores, or of the one with this name.
    fn usage(&mut self, name: Option<&str>) -> Result<Vec<Usage>>;

    fn run_migrations(&mut self) -> Result<()>;

    fn revert_migrations(&mut self) -> Result<()>;

    fn pending_sql(&mut self) -> Result<String>;

    /// Adds a hint to an error in the caller's transaction, which the error may have aborted.
    fn add_hint(&mut self, error: Error) -> Error;

    /// Adds a hint, or finds a more specific error, outside of an aborted transaction.
    fn classify(&mut self, error: Error, operation: Operation) -> Error;
}

impl<'a> BackendConnection<'a> {
    pub(crate) fn into_backend(self) -> &'a mut dyn Backend {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(conn) => conn,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(conn) => conn,
            #[cfg(feature = "mysql")]
            Self::Mysql(conn) => conn,
            Self::__Never(never) => match *never {},
        }
    }
}
