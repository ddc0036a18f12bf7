//! Testing code that uses tickets. There is nothing to call here.
//!
//! Test against a real PostgreSQL: what a semaphore does is what its row locks do.
//!
//! # In a transaction that is never committed
//!
//! Diesel's `begin_test_transaction` works, for tickets in transactions of your own and for guards, which then use a
//! savepoint. Semaphores that the test makes inside are its own: no other test sees them, none competes for their
//! tickets, and they are gone afterwards. The same with a pool, for [`with_ticket`](crate::with_ticket): one connection,
//! and Diesel's `TestCustomizer`.
//!
//! ```
//! use diesel::r2d2::{ConnectionManager, Pool, TestCustomizer};
//! use diesel_dbsemaphore::{self as sem, Error};
//! # let database = stand::Database::create();
//! # let database_url = database.url();
//! # sem::run_migrations(&mut database.connect())?;
//!
//! let pool = Pool::builder()
//!     .max_size(1)
//!     .connection_customizer(Box::new(TestCustomizer))
//!     .build(ConnectionManager::new(database_url))?;
//! sem::make(&mut *pool.get()?, "third party", 1)?;
//! let ask = || sem::with_ticket(&pool, "third party", |_ticket| sem::Result::Ok(42));
//! assert_eq!(ask()?, 42);
//!
//! // What does the application say when all tickets are taken? A closed semaphore has none for anybody.
//! sem::make(&mut *pool.get()?, "third party", 0)?;
//! assert!(matches!(ask(), Err(Error::Unavailable { .. })));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # With several connections
//!
//! Another connection sees what was committed, so give each test a semaphore, or better a database, of its own. Then no
//! test needs to sleep, for the database tells when somebody holds, or waits: [`holders`](crate::holders) and
//! [`waiters`](crate::waiters). And the session of a holder can be ended, to see what the application does without it:
//!
//! ```
//! use diesel::{prelude::*, sql_query, sql_types::Integer};
//! use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
//! use std::{thread, time::Duration};
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # sem::run_migrations(&mut conn)?;
//! # let (first_conn, second_conn) = (database.connect(), database.connect());
//!
//! sem::make(&mut conn, "third party", 1)?;
//! let mut first = SemaphoreTicket::require(first_conn, "third party")?;
//! let patient = Request::new("third party").wait(Duration::from_secs(60));
//! let second = thread::spawn(move || SemaphoreTicket::require(second_conn, patient));
//! while sem::waiters(&mut conn, "third party")?.is_empty() {
//!     thread::yield_now();
//! }
//!
//! let holder = sem::holders(&mut conn, "third party")?.remove(0);
//! sql_query("SELECT pg_terminate_backend($1)").bind::<Integer, _>(holder.session.pid.unwrap()).execute(&mut conn)?;
//! second.join().unwrap()?;            // got it
//! assert!(first.check().is_err());    // lost it
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
