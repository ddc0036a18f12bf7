//! Questions that are asked often. There is nothing to call here.
//!
//! # Why not advisory locks, a counter, Redis?
//!
//! *Advisory locks* are keys without a count: `n` of them make a semaphore if one tries them in turn, without a queue, and
//! those of a session stay with a pooled connection whose user has forgotten them. *A counter* has to be put right after
//! each crash. *A lease*, in Redis or in a table, has to be guessed: too short, and two are at it; too long, and a crash
//! blocks all. A row lock lasts exactly as long as its holder's session. If you have PostgreSQL, you have it already.
//!
//! # Can I use it from async code?
//!
//! It blocks, as Diesel does. Call it where blocking is allowed: `web::block` in actix-web, `spawn_blocking` in Tokio,
//! with the work inside the same closure. A guard is [`Send`], and can be dropped anywhere; dropping is a round trip.
//!
//! # MySQL, SQLite?
//!
//! Not now. SQLite has no row locks. MySQL has `SKIP LOCKED`; a version for it would be a module of its own.
//!
//! # Why does my ticket go back at once?
//!
//! Because its guard was dropped: `let Some(_) = ..` and `let _ = ..` drop what they match, and the guard in
//! `if SemaphoreTicket::acquire(..)?.is_some() { .. }` is gone before the braces. Give it a name, `_ticket` will do:
//!
//! ```
//! # use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # let mut other = database.connect();
//! # sem::run_migrations(&mut conn)?;
//! # sem::ensure(&mut conn, "reports", 1)?;
//! let _ = SemaphoreTicket::require(&mut conn, "reports")?;            // gone at the end of this line
//! let _ticket = SemaphoreTicket::require(&mut conn, "reports")?;      // held to the end of the block
//! # assert!(SemaphoreTicket::acquire(&mut other, "reports")?.is_none());
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Or use [`with_ticket`](crate::with_ticket), where that can't happen.
//!
//! # Why `NotInTransaction`?
//!
//! [`acquire`](crate::acquire) and [`require`](crate::require) hold a ticket in *your* transaction, and outside of one
//! each statement is its own: the lock would be gone before you see it. Call them inside `conn.transaction(|conn| ..)`, on the
//! connection that the closure is given, or use a guard, which has its own transaction. A transaction that was
//! opened by raw SQL, `batch_execute("BEGIN")`, is unknown to Diesel and doesn't count.
//!
//! # Can I nest?
//!
//! In one transaction, yes: asking again gives the same tickets, so that a function that needs one can call another that
//! needs one. Guards are separate holders: inside a guard, another guard of the same semaphore is a second ticket, and
//! with a single ticket it would wait for itself. Hand the guard down instead. Different semaphores nest, but everywhere in
//! the same order: two that wait for each other's tickets wait for ever, unless each waits in the very transaction that
//! holds its first one; then PostgreSQL sees it, and ends one of them.
//!
//! # Does it limit the rate?
//!
//! No, it limits how many are at it *at the same time*. "At most 3 calls at once" is a semaphore; "at most 100 calls a
//! minute" isn't, though holding each of 5 tickets for at least 3 seconds makes at most 100 a minute.
//!
//! # Why is `VACUUM` behind?
//!
//! A held ticket is an open transaction, and what has died since its beginning stays until its end, in the same
//! database. For seconds it doesn't matter; for hours, give the tables a
//! [database of their own](crate::in_production#a-database-of-its-own).
//!
//! # What happens on a failover?
//!
//! Row locks aren't replicated: on the new primary all tickets are free, while those who held them on the old one may not
//! have noticed. [`check`](crate::SemaphoreTicket::check) and [`watch`](crate::SemaphoreTicket::watch) tell them, and the
//! [fencing token](crate::losing_a_ticket#fencing), which rises across a promotion, protects what they write. On a standby
//! there are no tickets.
//!
//! # How many semaphores, how many tickets?
//!
//! As many semaphores as you like: each is a row, and a busy one doesn't touch another. Up to
//! [`MAX_TICKETS`](crate::MAX_TICKETS) tickets each; finding a free one among 100,000 costs about what it does among 3. What is
//! scarce are connections: each *holder* and each *waiter* has one, see [`in_production`](crate::in_production#connections).
//!
//! # Does it work behind PgBouncer?
//!
//! In session and in transaction mode: a ticket is held by a transaction, and a transaction has one session of the
//! server's. Not in statement mode. Some of its settings take a ticket away: see
//! [poolers](crate::losing_a_ticket#poolers-and-replicas).
//!
//! # Who holds my ticket?
//!
//! [`holders`](crate::holders), or `dbsemaphore show` in a shell: process, role, [label](crate::Request::label), since when.
//! `pg_terminate_backend(pid)` ends it, and the ticket is back.
