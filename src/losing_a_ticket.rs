//! Losing a ticket: what can happen, who is told, and what to do. There is nothing to call here.
//!
//! A ticket is held by a session of PostgreSQL. When that session ends, the ticket goes to the next in the queue, whether or not
//! the work that it guards has stopped. While all is well, the session ends when the holder wants it to. It also ends when
//!
//! * somebody ends it: `pg_terminate_backend`, a pooler's idle time-out, a restart of the server or of a pooler;
//! * the server dies, or a standby takes its place: on the new primary all tickets are free, old holders may still run;
//! * the holder's host vanishes, or the network in between: after [`Request::host_timeout`](crate::Request::host_timeout),
//!   the server takes it for gone;
//! * the holder's own transaction fails: in your own transaction, an error of PostgreSQL's gives back its tickets at once,
//!   before you roll back. A guard's transaction does nothing that could fail.
//!
//! Time-outs of the connection that would end it (`idle_in_transaction_session_timeout`, `transaction_timeout`) are
//! switched off for a guard's transaction, and back on after it. In a transaction of your own they stay what they are.
//!
//! # Being told
//!
//! | | who asks | when it knows |
//! | --- | --- | --- |
//! | [`check`](crate::SemaphoreTicket::check) | you, where it matters | at once, or when the connection gives up |
//! | [`release`](crate::SemaphoreTicket::release) | you, at the end | so a result can still be thrown away |
//! | [`watch`](crate::SemaphoreTicket::watch) | a thread | after at most one interval plus [`WATCH_GRACE`](crate::WATCH_GRACE), whatever the network does |
//!
//! `check`, `release` and dropping are round trips, and block for as long as the connection takes to give up when no answer
//! comes: bound that with libpq's parameters in the URL of the ticket pool, such as
//! `?keepalives_idle=5&keepalives_interval=5&keepalives_count=3&tcp_user_timeout=20000`. A watched ticket never blocks its
//! holder for longer than the time in the table. The same parameters end a wait on a host that was cut off: the server
//! has taken it out of the queue, but can't tell it, and without them it would go on waiting for an answer.
//!
//! # Fencing
//!
//! Between the loss and the moment at which the holder knows, two may work at the same time: no lock of any kind can
//! prevent that. What can is a number that the guarded resource compares: [`Ticket::fencing_token`](crate::Ticket::fencing_token)
//! rises with every holder of a ticket, so that whoever comes with a lower one than was seen before is late. A table keyed
//! by the ticket does that in one statement:
//!
//! ```
//! use diesel::{prelude::*, sql_query, sql_types::{BigInt, Text}};
//! # use diesel_dbsemaphore as sem;
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # sem::run_migrations(&mut conn)?;
//! # sem::ensure(&mut conn, "printer", 1)?;
//! sql_query("CREATE TABLE printed (ticket bigint PRIMARY KEY, token bigint NOT NULL, page text)").execute(&mut conn)?;
//! fn print(conn: &mut PgConnection, ticket: &sem::Ticket, page: &str) -> QueryResult<bool> {
//!     let written = sql_query(
//!         "INSERT INTO printed AS p VALUES ($1, $2, $3) ON CONFLICT (ticket) \
//!          DO UPDATE SET token = excluded.token, page = excluded.page WHERE p.token <= excluded.token",
//!     );
//!     let written = written.bind::<BigInt, _>(ticket.ids()[0]).bind::<BigInt, _>(ticket.fencing_token());
//!     Ok(written.bind::<Text, _>(page).execute(conn)? == 1)     // false: somebody has held the ticket since
//! }
//! # let former = conn.transaction(|c| sem::require(c, "printer"))?;
//! # let present = conn.transaction(|c| sem::require(c, "printer"))?;
//! # assert!(print(&mut conn, &former, "a page")?);
//! # assert!(print(&mut conn, &present, "another page")?);
//! # assert!(!print(&mut conn, &former, "a late page")?);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! This fences each ticket by itself: its former holder is kept out as soon as its next holder has written. It doesn't
//! fence the holder of a ticket that was deleted since, by a shrink: nobody will ever hold that one again.
//!
//! # Moving to another cluster
//!
//! A token has an epoch in its high bits, so that tokens increase even if the clock of the new server is behind. A promotion
//! raises the epoch at once. A new cluster, filled by `pg_upgrade` or from a dump, raises it by 16 when
//! [`run_migrations`](crate::run_migrations) is called there first, or [`make`](crate::make) for the semaphore, by a role with
//! `UPDATE` on `dbsemaphore.semaphore`; other roles log a warning. Until then, tokens increase only by the clock, and one case is not
//! covered: a standby was promoted, neither function was called after that, and then the tables were moved.
//!
//! Limitation: nothing in the database shows that a backup was restored in the same cluster, or that a clock was set back. If
//! tokens may have fallen, raise them yourself, before the application starts:
//!
//! ```
//! # use diesel::{Connection, connection::SimpleConnection};
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # diesel_dbsemaphore::run_migrations(&mut conn)?;
//! # conn.batch_execute("
//! UPDATE dbsemaphore.semaphore SET epoch = epoch + 16;
//! # ")?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Poolers and replicas
//!
//! Everything here works behind PgBouncer in session and in transaction mode (not in statement mode, which has no
//! transactions). Each ticket that is held, and each waiter, takes one of its server connections: mind
//! `default_pool_size`. Of its settings, these take a ticket from its holder, or a waiter out of the queue:
//! `idle_transaction_timeout` (unless the ticket is [watched](crate::SemaphoreTicket::watch), at a shorter interval),
//! `query_timeout`, `query_wait_timeout`; and so does its restart. Before PgBouncer 1.21, prepared statements don't work
//! in transaction mode; switch them off for each connection, in a pool by a customizer:
//!
//! ```
//! use diesel::{PgConnection, connection::{CacheSize, Connection}, r2d2};
//!
//! #[derive(Debug)]
//! struct WithoutPreparedStatements;
//!
//! impl r2d2::CustomizeConnection<PgConnection, r2d2::Error> for WithoutPreparedStatements {
//!     fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), r2d2::Error> {
//!         conn.set_prepared_statement_cache_size(CacheSize::Disabled);
//!         Ok(())
//!     }
//! }
//! # let database = stand::Database::create();
//! # let database_url = database.url();
//!
//! let ticket_pool = r2d2::Pool::builder()
//!     .connection_customizer(Box::new(WithoutPreparedStatements))
//!     .build(r2d2::ConnectionManager::<PgConnection>::new(database_url))?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! On a standby there are no tickets, and the error says so. When it is promoted, all tickets are free there; those who
//! held one on the old primary learn of it as of any loss, and their fencing tokens are lower.
//!
//! # A request that outlives its client
//!
//! In a web application, blocking work goes on when the client has hung up: `web::block` and its like don't cancel it. Its
//! ticket is held until the work is done, which is right, for the work goes on. Bound the work itself, with the time-outs
//! of whatever it calls.
