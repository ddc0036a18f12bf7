//! For those who come from the Python package django-dbsemaphore (0.1.1): each of its calls and what it is here, what became
//! of its quirks, and how both share a database while one moves. There is nothing to call here.
//!
//! The idea is the same: a ticket is a row, held by its row lock, so nothing leaks in a crash. The tables are others: the
//! package has `dbsemaphore_ticket` in the application's schema, this crate has two in a schema `dbsemaphore`. They don't
//! get into each other's way, and know nothing of each other.
//!
//! # Calls
//!
//! | Python | Rust | what is different |
//! | --- | --- | --- |
//! | `manage.py migrate dbsemaphore` | [`run_migrations`](crate::run_migrations) | when the application starts, by any number of processes |
//! | `make(name, n)` | [`make`](crate::make), or [`ensure`](crate::ensure) to create only | no default of 1; a resize is in nobody's way but that of other resizes of the same semaphore |
//! | `destroy(name)` | [`destroy`](crate::destroy) | says whether there was one; `make(name, 0)` is something else, it closes a semaphore and keeps its name |
//! | `list()` | [`list`](crate::list) | shows closed ones, too |
//! | `acquire(name)` in `transaction.atomic()` | [`require`](crate::require) or [`acquire`](crate::acquire) in `conn.transaction` | an unknown name is an error |
//! | `with semaphore_ticket(name) as t` | [`with_ticket`](crate::with_ticket), [`SemaphoreTicket`](crate::SemaphoreTicket) | no thread of its own, a connection from a pool; the body runs only with a ticket |
//! | `NotInTransactionException` | [`Error::NotInTransaction`](crate::Error::NotInTransaction) | |
//! | `ticket.pk` | [`Ticket::ids`](crate::Ticket::ids) | |
//! | the admin's page of tickets | `dbsemaphore show`, `top`, `make` of the tool [`dbsemaphore`](https://docs.rs/crate/dbsemaphore) | who holds them, too |
//! | `manage.py dbsemaphore-test-acquire name 5` | `dbsemaphore run name -- sleep 5` | |
//!
//! What there was nothing like: [waiting in a queue](crate::waiting), [several tickets](crate::Request::tickets) at once,
//! [being told of a loss](crate::losing_a_ticket), [`holders`](crate::holders) and [`waiters`](crate::waiters).
//!
//! # Quirks, and what became of them
//!
//! | in the package | here |
//! | --- | --- |
//! | An unknown name is `None`, as if all tickets were taken | [`Error::UnknownSemaphore`](crate::Error::UnknownSemaphore) |
//! | One can't wait for a ticket | [`Request::wait`](crate::Request::wait), first come, first served |
//! | Asking again in one transaction gives the same ticket, unless one of a lower id has come back meanwhile: then that one, and the transaction holds two | always the same; more on request, with [`Request::tickets`](crate::Request::tickets) |
//! | `make` locks the whole table: while one shrink waits, no semaphore can be resized | only that semaphore's size is locked |
//! | A shrink deletes any rows, and may wait for a held one while others are free | free ones first; it waits only for what is missing |
//! | Looks at tickets in the order of their ids, each time past all that are held, without an index on the name | starts at a random one; tens of thousands of held tickets don't slow it down |
//! | `FOR UPDATE`: rows that refer to a ticket can't be written while it is held | `FOR NO KEY UPDATE`: they can |
//! | `idle_in_transaction_session_timeout` ends the holder's session; its body goes on, and somebody else has the ticket | switched off for a guard; [`check`](crate::SemaphoreTicket::check) and [`watch`](crate::SemaphoreTicket::watch) tell of any loss |
//! | An error in the thread of `semaphore_ticket` (no table, no connection) leaves its caller waiting for ever | an error like any other |
//! | A ticket is given back by COMMIT, which waits for the disk | a guard rolls back |
//! | A vanished host keeps its ticket until TCP gives up, two hours by default | [`Request::host_timeout`](crate::Request::host_timeout) |
//!
//! # Both at once, while one moves
//!
//! Two sets of tickets let in as many as both have together: `n` in Python and `n` in Rust are `2n`. To stay within `n`
//! while both are there, do one of these. In all of them, the locks of rows are what counts, and each is exact.
//!
//! **One set of tickets, this crate's.** The best, where the Python code can be touched: instead of the package's `acquire`,
//! in the same place inside `transaction.atomic()`, it takes the lock of a row of this crate's tables by SQL. `%s` is the
//! semaphore's name; no row means that there is none free, or no such semaphore. The role needs the
//! [rights of a holder](crate::security). It overtakes those who wait in the queue, and shows in [`holders`](crate::holders)
//! without a label.
//!
//! ```text
//! SELECT t.id FROM dbsemaphore.ticket t JOIN dbsemaphore.semaphore s ON s.id = t.semaphore_id
//! WHERE s.name = %s ORDER BY t.slot LIMIT 1 FOR NO KEY UPDATE OF t SKIP LOCKED
//! ```
//!
//! Processes that still run the old code compete for the old tickets, so let no old one run beside a new one: stop all, or
//! shrink the one set before you enlarge the other, as below.
//!
//! **Both tickets at once, in Rust.** Where the Python code stays as it is, the package's rows go on to be the semaphore. The
//! Rust code takes one of those first, in the same transaction as its own ticket; `n` is the same for both. When the last
//! Python process is gone, delete the first statement; nothing else changes.
//!
//! ```
//! use diesel::{prelude::*, sql_query, sql_types::Text};
//! use diesel_dbsemaphore as sem;
//!
//! /// A ticket of both kinds, until the transaction ends.
//! fn require(conn: &mut PgConnection, name: &str) -> sem::Result<sem::Ticket> {
//!     let locked = sql_query(
//!         "SELECT id FROM dbsemaphore_ticket WHERE semaphore_name = $1 \
//!          ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
//!     );
//!     if locked.bind::<Text, _>(name).execute(conn)? == 0 {
//!         return Err(sem::Error::Unavailable { name: name.to_owned() });
//!     }
//!     sem::require(conn, name)
//! }
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # sem::run_migrations(&mut conn)?;
//! # sem::make(&mut conn, "reports", 3)?;
//! # fn write_the_report(_: &mut diesel::PgConnection) -> sem::Result<()> { Ok(()) }
//! # sql_query("CREATE TABLE dbsemaphore_ticket (id bigint PRIMARY KEY, semaphore_name varchar(255) NOT NULL)").execute(&mut conn)?;
//! # sql_query("INSERT INTO dbsemaphore_ticket VALUES (1, 'reports'), (2, 'reports'), (3, 'reports')").execute(&mut conn)?;
//!
//! conn.transaction(|conn| {
//!     sql_query("SET LOCAL idle_in_transaction_session_timeout = 0").execute(conn)?;   // if the work may take long
//!     let _ticket = require(conn, "reports")?;
//!     write_the_report(conn)
//! })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Call it once in a transaction: asked again, the package's table may give a second row. It can't wait, since the package
//! has no queue; try again, as the Python code does.
//!
//! **Split `n`.** Where no code shall change: `a` tickets in Python, `b` in Rust, `a + b = n`, each in its own tables. While
//! the load moves from one to the other, move tickets, always the shrink first: `sem.make(name, a - 1)` in Python, which
//! comes back when the ticket has; then `sem::make(conn, name, b + 1)` in Rust. There are never more than `n`, but
//! a free ticket on one side is of no use to the other.
//!
//! Afterwards, `manage.py migrate dbsemaphore zero` removes the package's table.
