//! Security: what each kind of user needs, what it can do with that, and what nobody can be kept from. There is nothing to
//! call here.
//!
//! # Rights
//!
//! Three kinds of users, each with all that the one before may. A role for each, of which the roles that log in become
//! members (`GRANT sem_holder TO web`):
//!
//! * **An observer**, such as a dashboard: [`holders`](crate::holders), [`waiters`](crate::waiters),
//!   [`usage`](crate::usage), [`list`](crate::list).
//! * **A holder**, such as the application: tickets, and [`run_migrations`](crate::run_migrations) and
//!   [`ensure`](crate::ensure) at its start, when there is nothing left for them to do. The right to lock a ticket is
//!   `UPDATE` on `acquire_privilege`, a column that is never written.
//! * **An operator**: [`make`](crate::make) and [`destroy`](crate::destroy), and ending the sessions of holders.
//!
//! ```
//! # use diesel::{Connection, connection::SimpleConnection};
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # diesel_dbsemaphore::run_migrations(&mut conn)?;
//! # conn.begin_test_transaction()?;
//! # conn.batch_execute("
//! CREATE ROLE sem_observer;
//! GRANT USAGE ON SCHEMA dbsemaphore TO sem_observer;
//! GRANT SELECT ON ALL TABLES IN SCHEMA dbsemaphore TO sem_observer;
//!
//! CREATE ROLE sem_holder;
//! GRANT sem_observer TO sem_holder;
//! GRANT UPDATE (acquire_privilege) ON dbsemaphore.ticket TO sem_holder;
//!
//! CREATE ROLE sem_operator;
//! GRANT sem_holder, pg_signal_backend TO sem_operator;
//! GRANT INSERT, UPDATE, DELETE ON dbsemaphore.semaphore TO sem_operator;
//! GRANT INSERT, DELETE ON dbsemaphore.ticket TO sem_operator;
//! # ")?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! What these leave out, because it is about more than semaphores: `pg_read_all_stats` shows an observer the addresses of
//! clients and the age of transactions, and with them everybody's queries. `pg_signal_backend` ends any session but those of
//! superusers; an operator who shall only end those of the role `web` becomes a member of that one instead, with all its
//! rights. After an upgrade of this crate, grant again: there may be a new table.
//!
//! # Row level security
//!
//! Don't enable it on our tables: who may do what is decided by the rights above. A ticket that a policy hides looks like a
//! held one. So where a policy may hide rows from a role, a refusal, a list, a view of holders or waiters, and a resize are
//! errors that name the tables. Each ticket that is granted is a real one. A policy with the expression `true`, `FOR ALL` or for
//! each of the commands that the role has rights for, changes nothing, nor does a policy for a role with `BYPASSRLS`.
//!
//! # The owner of the schema
//!
//! None of this library's functions is `SECURITY DEFINER`: each does what its caller may do, with the caller's rights. So
//! whoever owns the schema could make those do what he likes who call them, as the owner of any function can. Therefore:
//!
//! * Give nobody `CREATE` on the schema `dbsemaphore`, and `CREATE` on the database to nobody whom its users don't trust:
//!   with that, one could be there first, with a schema of that name. [`run_migrations`](crate::run_migrations) looks who
//!   owns it: a superuser is refused where the owner isn't one, and nobody changes anything in a schema of a role that he
//!   isn't a member of, unless a superuser owns it.
//! * Let the role that migrates be another one than that which holds tickets. It needs no `CREATE` on the database if a
//!   superuser prepares the schema for it:
//!
//! ```
//! # use diesel::{Connection, connection::SimpleConnection};
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # conn.begin_test_transaction()?;
//! # conn.batch_execute("
//! CREATE ROLE sem_owner;
//! CREATE SCHEMA dbsemaphore AUTHORIZATION sem_owner;
//! # SET LOCAL ROLE sem_owner;
//! # ")?;
//! # diesel_dbsemaphore::run_migrations(&mut conn)?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Search paths
//!
//! Everything that this library runs is safe with any `search_path` in which PostgreSQL's own schema comes first, as it does
//! unless somebody writes `pg_catalog` elsewhere into it: also for a superuser, also with a schema where others may create
//! functions and operators, also with temporary tables. Acquiring and holding tickets withstands even a path in which
//! something else comes first. The functions of the schema that no chapter names are parts of others: don't call them by
//! hand.
//!
//! # What a holder can do
//!
//! A semaphore protects those who agree to use it. Someone who logs in as a holder, and means harm, can
//!
//! | | how it shows | what helps |
//! | --- | --- | --- |
//! | take all tickets, and keep them | [`holders`](crate::holders) | end the session |
//! | keep the queue, or block it: take its advisory locks directly | the query below | end the session |
//! | take a ticket by other means: without a label, past the queue, in a savepoint | a holder without `pid` | the next query below |
//! | wear any label and application name, show a false time, seem to hold what another one holds | it can only accuse itself: the `pid` that is shown is a session of its own, and the role can't be changed | end that session |
//! | write to the column `acquire_privilege`, null as it is: dead rows, and others' serialization errors | it grows | end the session |
//! | hold back `VACUUM`, by a transaction of any kind | [`in_production`](crate::in_production) | end the session |
//! | show any number as a [fencing token](crate::losing_a_ticket#fencing) to what you guard | | rights on that resource |
//!
//! and can't resize a semaphore, move a ticket, take one that is held, end other roles' sessions, or lock the tables against
//! others. To keep him out for good, `REVOKE sem_holder FROM` the role, then end its sessions: what they hold,
//! they keep until then. `make(name, 0)` closes a semaphore to all.
//!
//! Who keeps or blocks a queue, by its advisory locks: the queue head lock (`t`) and the no-overtaking lock (`b`). The head of
//! the queue has both while it waits, and releases both at the end. Anybody who has had one for longer than any request waits,
//! or a no-overtaking lock without the queue head lock of that semaphore, isn't there to wait:
//!
//! ```
//! # use diesel::{Connection, connection::SimpleConnection};
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # diesel_dbsemaphore::run_migrations(&mut conn)?;
//! # conn.batch_execute("
//! SELECT s.name, l.kind, a.pid, a.usename, a.application_name, a.query_start
//! FROM dbsemaphore.advisory_locks() l
//!     JOIN dbsemaphore.semaphore s ON s.id & 4294967295 = l.number
//!     JOIN pg_stat_activity a ON a.pid = l.pid
//! WHERE l.kind IN ('q', 'o') AND l.granted
//! ORDER BY a.query_start;
//! # ")?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Who may hold tickets without being shown with them. Whatever a session does to hide, it can't lock a row without this
//! lock of the table, which lasts as long:
//!
//! ```
//! # use diesel::{Connection, connection::SimpleConnection};
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # diesel_dbsemaphore::run_migrations(&mut conn)?;
//! # conn.batch_execute("
//! SELECT a.pid, a.usename, a.application_name, a.xact_start
//! FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
//! WHERE l.relation = 'dbsemaphore.ticket'::regclass AND l.mode = 'RowShareLock'
//!     AND l.pid NOT IN (
//!         SELECT h.pid FROM dbsemaphore.semaphore s, dbsemaphore.holders(s.name) h WHERE h.pid IS NOT NULL);
//! # ")?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # What anybody can do who may connect
//!
//! Advisory locks belong to nobody: whoever may connect to the database can take any, without a right to anything in it, and
//! so can keep or block a queue, or hold up a migration (the others still go on: who doesn't wait is served while nobody has the
//! no-overtaking lock).
//! Where that matters, give the tables a database of their own in which only users of semaphores may connect
//! (`REVOKE CONNECT ON DATABASE .. FROM PUBLIC`), or reserve advisory locks, in this database, for those who need them; others
//! in the database that use any need the same grant:
//!
//! ```
//! # use diesel::{Connection, connection::SimpleConnection};
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # diesel_dbsemaphore::run_migrations(&mut conn)?;
//! # conn.begin_test_transaction()?;
//! # conn.batch_execute("CREATE ROLE sem_holder")?;
//! # conn.batch_execute("
//! REVOKE EXECUTE ON FUNCTION
//!     pg_advisory_lock(bigint), pg_advisory_lock_shared(bigint),
//!     pg_try_advisory_lock(bigint), pg_try_advisory_lock_shared(bigint),
//!     pg_advisory_xact_lock(bigint), pg_advisory_xact_lock_shared(bigint),
//!     pg_try_advisory_xact_lock(bigint), pg_try_advisory_xact_lock_shared(bigint)
//! FROM PUBLIC;
//! GRANT EXECUTE ON FUNCTION
//!     pg_advisory_lock(bigint), pg_advisory_lock_shared(bigint),
//!     pg_try_advisory_lock(bigint), pg_try_advisory_lock_shared(bigint),
//!     pg_advisory_xact_lock(bigint), pg_advisory_xact_lock_shared(bigint),
//!     pg_try_advisory_xact_lock(bigint), pg_try_advisory_xact_lock_shared(bigint)
//! TO sem_holder;
//! # ")?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Secrets
//!
//! This library is given connections and never sees a URL: there is none in its errors and [`events`](crate::events). An
//! [`Error::Pool`](crate::Error::Pool) carries libpq's own message, which names host, port, user and database, and no
//! password; of a URL that it can't parse, libpq quotes what it can't, which may be the password. Build the pool once, at
//! the start, and keep that one error to yourself. The tool `dbsemaphore` refuses such a URL before libpq sees it; give it
//! by `DATABASE_URL`, because everybody on a machine can read command lines.
//!
//! Labels are for all to see: `application_name` is shown to every role of the server, in every database, and written to its
//! log. The same goes for names of semaphores in errors and events. No personal data, and no tokens.
