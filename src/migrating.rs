//! Our tables beside an application's: Diesel's own tool, migrations of your own, upgrades. There is nothing to call here.
//!
//! # Beside your own migrations
//!
//! [`run_migrations`](crate::run_migrations) has a PostgreSQL schema of its own, `dbsemaphore`, with a list of migrations of its
//! own in it. Your migrations, whether the application runs them or the tool `diesel`, have theirs, in your schema. Neither
//! sees the other's: run, revert and redo them in any order. `diesel print-schema`, and the `schema.rs` that the tool
//! writes, show your tables only; to see ours, ask for `diesel print-schema --schema dbsemaphore`, or use
//! [`schema`](crate::schema), which is that.
//!
//! A table of yours that refers to ours stops [`revert_migrations`](crate::revert_migrations), with an error. Don't put
//! `dbsemaphore` into the `search_path` of your own connections: the tool takes the first list of migrations that it finds
//! there.
//!
//! # Event triggers
//!
//! `run_migrations` and `revert_migrations` set `search_path` to `dbsemaphore, pg_temp`, so that nothing that somebody has created
//! elsewhere is called instead of PostgreSQL's own. An event trigger of yours that looks up a table or function through the
//! `search_path` fails then. The error names each event trigger that may, with the remedy: `ALTER FUNCTION .. SET search_path`,
//! which is the safe way to write such a function anyway. Migrations of your own, as below, run with your own `search_path`.
//!
//! # In migrations of your own
//!
//! Where all SQL has to be in your own migrations, because somebody reviews it or the application may not create anything:
//! [`pending_sql`](crate::pending_sql) returns what `run_migrations` would run, complete, with what it writes down. Let a
//! small program print it into a migration of yours, with a database at hand that has what you have deployed:
//!
//! ```
//! # use diesel::{Connection, PgConnection};
//! # let database = stand::Database::create();
//! # let database_url = database.url();
//! let mut conn = PgConnection::establish(&database_url)?;
//! print!("{}", diesel_dbsemaphore::pending_sql(&mut conn)?);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Its `down.sql`, for the first one, is `DROP SCHEMA dbsemaphore CASCADE`. After an upgrade of this crate, do that again: what
//! it prints then is what is new, and nothing if nothing is. `run_migrations` at the start of the application does
//! nothing then, and with an outdated migration of yours it would add what is missing. Call it, or let
//! `assert_eq!(pending_sql(conn)?, "")` say that somebody forgot.
//!
//! # Upgrades
//!
//! Migrations never lock the tickets against those who acquire them, wait for no ticket, and disturb none that is held: let
//! the new release of your application run them while the old one works. All are applied or none, by one of all the
//! processes that start, while the others wait for it. An old release doesn't mind migrations that it doesn't know.
//! `revert_migrations` is no downgrade: it removes all semaphores.
