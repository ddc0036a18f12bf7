//! Counting semaphores on PostgreSQL row locks, for Diesel.
//!
//! A semaphore has `n` tickets, and each ticket is a row. Holding a ticket is holding the lock of its row, so at most
//! `n` holders exist at any time, in all threads, processes and machines that use the database. When the transaction
//! that took a ticket ends, however it ends (commit, rollback, panic, `kill -9`, a cable pulled), the lock is gone and
//! the ticket is back: there is no counter that could drift, no lease to guess and nothing to clean up after a crash.
//!
//! ```
//! use diesel::r2d2::{ConnectionManager, Pool};
//! use diesel_dbsemaphore as sem;
//! # fn call_third_party() -> sem::Result<()> { Ok(()) }
//! # let database = stand::Database::create();
//! # let database_url = database.url();
//!
//! // A pool for tickets alone, as large as there may be holders and waiters in this process.
//! let ticket_pool = Pool::builder().max_size(5).build(ConnectionManager::new(database_url))?;
//! let mut conn = ticket_pool.get()?;
//! sem::run_migrations(&mut conn)?;                // when the application starts, in every process
//! sem::ensure(&mut conn, "third party", 3)?;      // 3 tickets, unless it is there already
//! drop(conn);
//!
//! sem::with_ticket(&ticket_pool, "third party", |_ticket| {
//!     call_third_party()                          // at most 3 of us are here, over the whole fleet
//! })?;                                            // Err(Error::Unavailable { .. }) when 3 others are
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! The closure returns a [`Result`](std::result::Result), with any error that a ticket's can be turned into: your own,
//! `anyhow::Error`, `Box<dyn Error>`. Busy is not broken, and looks like this:
//!
//! ```
//! # use diesel::r2d2::{ConnectionManager, Pool};
//! # use diesel_dbsemaphore as sem;
//! # use std::time::Duration;
//! # fn call_third_party() -> Result<(), AppError> { Ok(()) }
//! # let database = stand::Database::create();
//! # let ticket_pool = Pool::builder().max_size(5).build(ConnectionManager::new(database.url()))?;
//! # sem::run_migrations(&mut *ticket_pool.get()?)?;
//! # sem::ensure(&mut *ticket_pool.get()?, "third party", 3)?;
//! #[derive(Debug, thiserror::Error)]
//! enum AppError {
//!     #[error(transparent)]
//!     Ticket(#[from] sem::Error),
//!     #[error(transparent)]
//!     Io(#[from] std::io::Error),
//! }
//!
//! let request = sem::Request::new("third party").wait(Duration::from_secs(2));
//! let status = match sem::with_ticket(&ticket_pool, request, |_ticket| call_third_party()) {
//!     Ok(()) => 200,
//!     // No ticket, or no connection of the ticket pool, was available in time.
//!     Err(AppError::Ticket(error)) if error.is_busy() => 503,
//!     Err(_) => 500,
//! };
//! # assert_eq!(status, 200);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Or in a transaction of your own:
//!
//! ```
//! # use diesel::Connection;
//! # use diesel_dbsemaphore as sem;
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # sem::run_migrations(&mut conn)?;
//! # sem::ensure(&mut conn, "reports", 3)?;
//! # fn write_the_report(_: &mut diesel::PgConnection) -> Result<(), sem::Error> { Ok(()) }
//! conn.transaction::<_, sem::Error, _>(|conn| {
//!     let _ticket = sem::require(conn, "reports")?;
//!     write_the_report(conn)
//! })?;                                            // committed or rolled back: the ticket is back
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Two ways to hold a ticket
//!
//! * **In your own transaction**: [`require`] (or [`acquire`]) on a connection that is inside a transaction. The ticket
//!   goes back when that transaction ends. One round trip. For work that happens in that very transaction.
//! * **A guard**: [`with_ticket`], or [`SemaphoreTicket`], which opens a transaction on a connection of its own and
//!   rolls it back when it is dropped. For everything else: calls to others, work on other connections, long work.
//!
//! Prefer [`require`] and [`with_ticket`]: they make "none free" an error that `?` carries away. [`acquire`] answers
//! with an [`Option`], and an ignored one compiles without a word. Bind what you get to a name, `let Some(_ticket)`:
//! `let Some(_)`, and a guard inside `if acquire(..)?.is_some() { .. }`, give the ticket back before the work starts.
//!
//! # Waiting
//!
//! A request is granted or refused at once, unless it says how long it can wait:
//!
//! ```
//! use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
//! use std::time::Duration;
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # sem::run_migrations(&mut conn)?;
//! # sem::ensure(&mut conn, "reports", 3)?;
//! let request = Request::new("reports").wait(Duration::from_secs(30));
//! let ticket = SemaphoreTicket::require(conn, request)?;
//! # drop(ticket);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Waiters stand in a queue, first come, first served, and sleep until it is their turn: see [`waiting`].
//!
//! # What is not promised
//!
//! * Fairness among callers that try again and again instead of waiting in the queue.
//! * That each refusal is exact. A semaphore of up to 10,000 tickets refuses only if all were held at one instant, or if
//!   their holders changed in each of 10 looks in a row. A larger one refuses if each ticket was held when it was looked at.
//! * That a holder stops working when its session is gone: see [`losing_a_ticket`].
//! * Under `REPEATABLE READ` and `SERIALIZABLE`, a call inside your transaction sees sizes as of its snapshot, and may
//!   fail with a serialization error after a shrink. There are never more than `n` holders under any level. The guard
//!   always uses `READ COMMITTED`.
//! * A held ticket is an open transaction: in its database it holds back `VACUUM`. Where tickets are held for long,
//!   give the tables a database of their own.
//!
//! # Running it
//!
//! [`in_production`] is about pools, databases of their own, poolers and alerts; [`migrating`] about your own migrations
//! beside ours, and upgrades; [`events`] lists what is logged; [`testing`] tells how to test code that uses tickets.
//! [`holders`], [`waiters`] and [`usage`] show who holds what; so does the command-line tool `dbsemaphore`, a crate of its
//! own. There are answers in the [`faq`], and a guide for those who come [`from_django`].
//!
//! # Rights
//!
//! The chapter [`security`] has the SQL for observers, holders and operators, and says what each can do with it. To hold
//! tickets, a role needs `USAGE` on the schema `dbsemaphore`, `SELECT` on its tables, and `UPDATE (acquire_privilege)` on
//! `dbsemaphore.ticket`, a column that is never written.
//!
//! # Features
//!
//! * `r2d2` (default): guards on connections from Diesel's r2d2 pools, and [`with_ticket`].

// On docs.rs, each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod acquire;
#[cfg(feature = "r2d2")]
mod alarm;
mod cancel;
mod connection;
mod deadline;
mod diesel_internals;
mod error;
pub mod events;
pub mod faq;
pub mod from_django;
mod guard;
pub mod in_production;
mod inspect;
mod limits;
pub mod losing_a_ticket;
mod manage;
pub mod migrating;
mod migrations;
mod pg_errors;
#[cfg(feature = "r2d2")]
mod pool;
mod query;
mod queue;
mod request;
#[allow(missing_docs)]
pub mod schema;
pub mod security;
pub mod testing;
mod ticket;
mod transaction;
pub mod waiting;
mod watch;

#[cfg(feature = "r2d2")]
pub use crate::pool::with_ticket;
pub use crate::{
    acquire::{acquire, require},
    cancel::CancellationToken,
    connection::TicketConnection,
    error::{Error, Result},
    guard::SemaphoreTicket,
    inspect::{Holder, Session, Usage, Waiter, holders, usage, waiters},
    limits::{MAX_LABEL_CHARS, MAX_NAME_CHARS, MAX_TICKETS},
    manage::{Semaphore, destroy, ensure, list, make},
    migrations::{pending_sql, revert_migrations, run_migrations},
    request::Request,
    ticket::Ticket,
    watch::{WATCH_GRACE, WatchedTicket},
};
