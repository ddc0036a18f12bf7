//! In production: pools, connections, databases, poolers, alerts, many machines. There is nothing to call here.
//!
//! # Two pools
//!
//! Every ticket that a guard holds, and every guard that waits in a queue, takes a connection of its own. Give tickets a
//! pool of their own, apart from the one that the application works with. In one pool for both, `max_size` holders that
//! each need one more connection for their work wait for each other, until `connection_timeout`: the application starves
//! itself, and the database is idle.
//!
//! * **The ticket pool's `max_size`** bounds how many guards this process has at once, holders and waiters together: as
//!   many as it may hold, and as many more as you want to see waiting. Those beyond that wait for a connection, without a
//!   place in a queue, and get [`Error::Pool`](crate::Error::Pool).
//! * **Its `connection_timeout`** should be short, a second say: r2d2's default is 30 seconds, which is a long time for a
//!   web application that is busy. A request that [waits](crate::Request::wait) has one limit for both.
//! * **Its `min_idle`** can be 0, where bursts are rare: connections that hold no ticket are of no use to it.
//! * **`test_on_check_out`**, which is on by default, is a round trip for each check-out. With it, a connection that has
//!   died is replaced; without it, the acquire fails on it, and the next one gets a new one.
//!
//! Tickets in transactions of your own ([`acquire`](crate::acquire)) need no pool of their own: they are held by the
//! connection that you have already.
//!
//! # Connections
//!
//! The sum over all processes of both pools' `max_size` has to be below the server's `max_connections`, less its
//! `superuser_reserved_connections` and what else connects. A connection that idles in a transaction costs the server some
//! megabytes, and no CPU. So many waiters are cheap, and yet each of them is a session: where thousands may wait, let
//! them wait elsewhere, in a job queue, and let as many workers as there are tickets take from it.
//!
//! An acquisition takes one or two entries of the server's lock table, a waiter up to three; the default
//! `max_locks_per_transaction` has room for 64 for each connection.
//!
//! # A database of its own
//!
//! A held ticket is an open transaction, and `VACUUM` can't remove what has died since it began, anywhere in the same
//! database. A waiter has a snapshot besides, for which `CREATE INDEX CONCURRENTLY` waits. Tickets that are held, or waited
//! for, for seconds don't matter. Where it is many minutes, on tables that are updated much, put the tables of this crate
//! into a database of their own on the same server: the ticket pool's URL names that one, and [guards](crate::SemaphoreTicket)
//! work as they do anyway. [`acquire`](crate::acquire) in transactions of yours is for short ones.
//!
//! # Poolers
//!
//! PgBouncer in session or transaction mode works, and every ticket that is held keeps one of its server connections:
//! see [`losing_a_ticket`](crate::losing_a_ticket#poolers-and-replicas). Best connect the ticket pool directly.
//!
//! # Who owns the size
//!
//! [`ensure`](crate::ensure) at the start of every process creates what is missing, and never changes what is there.
//! Call [`make`](crate::make) in one place only, as a step of a deployment, or by hand: two releases that both call it at
//! their start, with different numbers, undo each other's.
//! Resizing needs no restart of anybody. `make(name, 0)` closes a semaphore: nobody gets in, those inside finish, and
//! waiters stay in the queue until it is opened again.
//!
//! # Many machines
//!
//! Machines need no common clock: limits are counted where the caller is, ages and fencing tokens where the server is.
//! After a failover all tickets are free on the new primary, while former holders may still run:
//! [`losing_a_ticket`](crate::losing_a_ticket). A machine that vanishes keeps its tickets for
//! [`host_timeout`](crate::Request::host_timeout). A firewall between that forgets idle connections does the same to a
//! ticket as a pulled cable; [`watch`](crate::SemaphoreTicket::watch) it, at an interval shorter than that.
//!
//! # The server's log
//!
//! With `log_lock_waits = on`, PostgreSQL writes a message for each lock that a session waits for longer than
//! `deadlock_timeout`, one when it gets the lock, and one more each time it wakes up meanwhile. 40 waiters for one ticket
//! wrote 75 KiB in 20 seconds, and 40 for a plain advisory lock 48 KiB.
//!
//! What can't be avoided: the head of the queue for one ticket writes after 1, 6, 16, 33 and 67 seconds, and then about
//! once a minute, because PostgreSQL looks for deadlocks in such sleeps. Where `deadlock_timeout` is less than 0.1 seconds, each head
//! writes up to three times a second.
//!
//! There, the server looks each minute whether a waiter's client is still there, and not each second. So a waiter whose client
//! has ended leaves the queue up to a minute later, or when it gets its ticket, which is released at once. Until then, one that
//! waits for several tickets keeps those that it has got. A `client_connection_check_interval` that the server, the database or
//! the role has set is used instead.
//!
//! # Alerts worth having
//!
//! In SQL, for whatever collects your metrics. A role that may use the schema can run all of them; with
//! `pg_read_all_stats` it also sees others' addresses and the age of their transactions. How full each semaphore is, and
//! how long its queue; all tickets in use for minutes, with a growing queue, says that there are too few, or that holders
//! are stuck:
//!
//! ```
//! # use diesel::{prelude::*, connection::SimpleConnection};
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # diesel_dbsemaphore::run_migrations(&mut conn)?;
//! # conn.batch_execute("
//! SELECT name, size, in_use, waiting FROM dbsemaphore.usage();
//! # ")?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Who has held a ticket for longer than an hour, and who has waited for more than a minute. (Where it is not known since when a
//! ticket is held, the start of the holder's transaction is used.)
//!
//! ```
//! # use diesel::{prelude::*, connection::SimpleConnection};
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # diesel_dbsemaphore::run_migrations(&mut conn)?;
//! # conn.batch_execute("
//! SELECT s.name, h.ticket_id, h.pid, h.application_name, h.label, now() - coalesce(h.held_since, h.transaction_start) AS age
//! FROM dbsemaphore.semaphore s, dbsemaphore.holders(s.name) h
//! WHERE coalesce(h.held_since, h.transaction_start) < now() - interval '1 hour';
//!
//! SELECT s.name, w.queue_position, w.pid, w.application_name, w.label, now() - w.waiting_since AS age
//! FROM dbsemaphore.semaphore s, dbsemaphore.waiters(s.name) w
//! WHERE w.waiting_since < now() - interval '1 minute';
//! # ")?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! How near the server is to its last connection, and what holds back `VACUUM` here, a ticket or not:
//!
//! ```
//! # use diesel::{prelude::*, connection::SimpleConnection};
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # diesel_dbsemaphore::run_migrations(&mut conn)?;
//! # conn.batch_execute("
//! SELECT count(*) AS connections, current_setting('max_connections')::integer AS allowed FROM pg_stat_activity;
//!
//! SELECT pid, application_name, state, greatest(age(backend_xid), age(backend_xmin)) AS transactions_since
//! FROM pg_stat_activity
//! WHERE datname = current_database() AND coalesce(backend_xid, backend_xmin) IS NOT NULL
//! ORDER BY transactions_since DESC LIMIT 5;
//! # ")?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! And from the [`events`](crate::events): each `lost`, and the rate of `timed_out`. To end a holder that is stuck, end its
//! session: `pg_terminate_backend(pid)`, which takes membership in its role or in `pg_signal_backend`.
//!
//! # From a shell
//!
//! The command-line tool `dbsemaphore`, a crate of its own, lists semaphores and shows who holds what and who waits
//! (`show`, live as `top`, for programs with `--json`), resizes (`make`), ends holders (`terminate`), and runs commands
//! with a ticket: `dbsemaphore run reports --wait 30s -- backup.sh`.
