//! Counting semaphores in PostgreSQL, MySQL, MariaDB or SQLite, for Diesel.
//!
//! A semaphore has a number of tickets, and each ticket is a row. A transaction that has locked the row holds the
//! ticket. So there are at most as many holders as tickets, over all threads, processes and machines that use the
//! database. When the transaction ends, by commit, rollback, panic, `kill -9` or a cut cable, the database releases the
//! ticket. So there is no counter to correct, no lease to guess and nothing to clean up after a crash.
//!
//! This documentation is about PostgreSQL. The chapters [`mysql`](crate::guide::mysql) and [`sqlite`](crate::guide::sqlite)
//! say what differs on other databases. On SQLite, a ticket is a locked file beside the database.
//!
//! ```
//! use diesel::{PgConnection, r2d2::{ConnectionManager, Pool}};
//! use diesel_dbsemaphore::{self as sem, Request};
//! use std::time::Duration;
//! # fn call_third_party() {}
//! # let database = stand::Database::create();
//! # let database_url = database.url();
//!
//! // A pool for tickets alone. Its size bounds how many tickets this process holds and waits for.
//! let ticket_pool = Pool::builder().max_size(5).build(ConnectionManager::<PgConnection>::new(database_url))?;
//! let mut conn = ticket_pool.get()?;
//! sem::run_migrations(&mut conn)?;                // at each start; the first one needs CREATE on the database
//! sem::ensure(&mut conn, "third party", 3)?;      // creates the semaphore with 3 tickets, unless it exists
//! drop(conn);
//!
//! let request = Request::new("third party").wait(Duration::from_secs(2));
//! let done = sem::with_ticket(&ticket_pool, request, |_ticket| -> sem::Result<_> {
//!     Ok(call_third_party())                      // at most 3 at a time, over all machines
//! });
//! let status = match done {
//!     Ok(()) => 200,
//!     Err(error) if error.is_busy() => 503,       // all tickets, or all connections of the pool, in use for 2 s
//!     Err(error) => return Err(error.into()),
//! };
//! # assert_eq!(status, 200);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Two ways to hold a ticket
//!
//! * **In your transaction**: [`transaction`], which opens one, or [`require`] and [`acquire`], on a connection that is
//!   inside one. The ticket is released when that transaction ends. One round trip. For work in that transaction.
//! * **A guard**: [`with_ticket`] or [`SemaphoreTicket`]. A guard opens a transaction on a connection of its own, and
//!   rolls it back when it is dropped. For all other work: calls to other services, work on other connections, long
//!   work.
//!
//! ```
//! # use diesel_dbsemaphore as sem;
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # sem::run_migrations(&mut conn)?;
//! # sem::ensure(&mut conn, "reports", 3)?;
//! # fn write_the_report(_: &mut diesel::PgConnection) -> Result<(), sem::Error> { Ok(()) }
//! sem::transaction(&mut conn, "reports", |conn, _ticket| {
//!     write_the_report(conn)
//! })?;                                            // the commit or rollback releases the ticket
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Prefer [`require`] and [`with_ticket`]: if no ticket is available, they return an error, which `?` passes on.
//! [`acquire`] returns an [`Option`], and the compiler does not warn if you ignore it. Bind a guard to a name:
//! `let _ =` and `let Some(_) =` [release it at once](crate::guide::faq#why-is-my-ticket-released-at-once).
//!
//! # Guarantees and limits
//!
//! * There are never more holders than tickets, under any isolation level.
//! * Waiters are served first come, first served. Requests that do not wait do not overtake the queue: see
//!   [`waiting`](crate::guide::waiting).
//! * A refusal can be wrong only if holders change while the request searches: see
//!   [refusals](crate::guide::waiting#refusals).
//! * There is no fairness among callers that try again and again instead of waiting in the queue.
//! * A holder may continue after it has lost its ticket, until it detects the loss: see
//!   [`losing_a_ticket`](crate::guide::losing_a_ticket).
//! * Under `REPEATABLE READ` and `SERIALIZABLE`, sizes are those of your transaction's snapshot: see [isolation
//!   levels](crate::guide::in_production#isolation-levels).
//! * A held ticket is an open transaction, which holds back `VACUUM`: see [a database of its
//!   own](crate::guide::in_production#vacuum-and-a-database-of-its-own).
//!
//! # More
//!
//! * The [`guide`] is about waiting, lost tickets, production, tests, security, migrations and django-dbsemaphore.
//! * [`events`] lists what the crate logs. [`holders`], [`waiters`] and [`usage`] show who holds what and who
//!   waits.
//! * The command-line tool [`dbsemaphore`](https://docs.rs/crate/dbsemaphore) is a crate of its own.
//!
//! # Features
//!
//! * `postgres` (default): PostgreSQL.
//! * `mysql`: MySQL 8.0.17 or later, and MariaDB 10.6 or later. [`guide::mysql`] says what differs.
//! * `sqlite`: SQLite. [`guide::sqlite`] says what differs.
//! * `r2d2` (default): guards on connections of Diesel's r2d2 pools, and [`with_ticket`].
//! * `serde`: `Serialize` for [`Holder`], [`Waiter`] and [`Usage`].

// On docs.rs, each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod acquire;
#[cfg(feature = "r2d2")]
mod alarm;
mod backend;
mod cancel;
mod connection;
mod deadline;
mod error;
pub mod events;
mod guard;
pub mod guide;
mod holder;
mod inspect;
mod limits;
mod manage;
mod migrate;
#[cfg(feature = "r2d2")]
mod pool;
#[cfg(feature = "r2d2")]
mod pooled_ticket;
mod request;
/// The tables, for Diesel's query builder.
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub mod schema;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod semaphore;
mod ticket;
mod transaction;
mod validate;
mod wait;
mod watch;

#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub use crate::semaphore::Semaphore;
pub use crate::{
    acquire::{acquire, require},
    cancel::CancellationToken,
    connection::{BackendConnection, TicketConnection, TransactionConnection},
    error::{Error, Result},
    guard::SemaphoreTicket,
    holder::{Holder, Session, Usage, Waiter},
    inspect::{holders, usage, usage_of, waiters},
    limits::{MAX_LABEL_CHARS, MAX_NAME_CHARS, MAX_TICKETS},
    manage::{destroy, ensure, list, make},
    migrate::{pending_sql, revert_migrations, run_migrations},
    request::Request,
    ticket::Ticket,
    transaction::transaction,
    watch::{WATCH_GRACE, WatchedTicket},
};
#[cfg(feature = "r2d2")]
pub use crate::{pool::with_ticket, pooled_ticket::PooledTicket};
