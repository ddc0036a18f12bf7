//! How waiting works: the queue. There is nothing to call here.
//!
//! A request that [waits](crate::Request::wait) looks once, like one that doesn't; without contention that is all, and
//! it costs no more. If too few tickets are free, or somebody is before it, it joins the queue.
//!
//! # What the queue is
//!
//! Each semaphore has a queue head lock, an advisory lock of PostgreSQL's, and PostgreSQL's wait queue for that lock is the
//! queue. The waiter that has the lock is the head. The head alone looks for tickets and, when it wants several, keeps those
//! it has got so far. Everybody behind it sleeps in the server, without looking at anything, until it is their turn.
//!
//! The head sleeps, too, on the row lock of a held ticket: when that one comes back, PostgreSQL wakes the head with the
//! ticket in its hand. With several tickets another one may come back first, so the head changes the row it sleeps on:
//! after two milliseconds at first, then after a twentieth of the time it has been waiting, at most after 0.4 seconds.
//! With few tickets it begins with the one that has been held longest. With one ticket there is nothing to change to; it
//! looks up after 0.4 seconds, to see whether the semaphore has grown. Its first sleep, and a few later ones, take PostgreSQL's
//! `deadlock_timeout` plus 0.4 seconds: in these PostgreSQL looks for a deadlock.
//!
//! # What it promises
//!
//! * **Order.** First come, first served, over all processes, from the moment at which a request joins the queue. A
//!   deadlock can change it, in two situations: see [below](#what-it-doesnt-promise).
//! * **Nobody overtakes.** While a waiter has looked, found too few and waits, requests that don't wait are refused. They
//!   are refused for no other reason than that or too few tickets; in particular not because somebody is just passing.
//! * **Large requests are not starved**: small ones behind them wait. First requests can't deadlock each other, since
//!   only the head collects.
//! * **Leaving.** A waiter that is out of time, cancelled, killed or disconnected leaves the queue, and whoever is behind
//!   moves up. The server looks each second whether its client is still there (on Windows, a PostgreSQL server can't). With
//!   `log_lock_waits` it looks each minute: see [the server's log](crate::in_production#the-servers-log).
//! * **Resizing** to fewer tickets, and destroying, stand in the same queue: they wait for their turn, and then nobody
//!   starves them. Tickets that their own transaction holds are deleted last, without waiting, and stay its own until
//!   it ends.
//!
//! # What it costs
//!
//! A waiter in a transaction of yours takes five round trips in all, since it waits in a savepoint, so that your
//! transaction goes on whatever happens; a guard takes none more than it does anyway. A waiter holds one connection, one
//! place in PostgreSQL's lock table, and a snapshot.
//!
//! **The snapshot** is that of a statement that runs for as long as the wait: meanwhile `VACUUM` can't remove what died
//! after it began, and `CREATE INDEX CONCURRENTLY` waits for it, in the database with the tables. Where waits are long,
//! give the tables a database of their own.
//!
//! # Time limits
//!
//! A limit counts from the call, by the caller's clock, and a wait never ends before it. The connection's own
//! `lock_timeout` and `statement_timeout` bound a wait in your transaction, as an error; a guard sets both to 0.
//!
//! # What it doesn't promise
//!
//! * **That each cancel arrives.** A head that waits for several tickets sleeps on one of them at a time, and a
//!   `lock_timeout` wakes it to try the next. A `pg_cancel_backend` at that very instant is taken for it by PostgreSQL, and has
//!   to be sent again. A `statement_timeout` is obeyed nevertheless, and nothing ever stays locked.
//! * **All deadlocks.** Two transactions that each hold a semaphore of one ticket and wait for the other's get
//!   PostgreSQL's deadlock error, after about its `deadlock_timeout`. With several tickets PostgreSQL can't know who has to
//!   let go, and may name one who holds a ticket and waits for more although somebody else's would have come back; nor
//!   does it know of a thread that waits on one connection for what it holds on another (which may happen
//!   where a work-stealing pool, such as rayon's, runs one job inside another). Set a time limit, take semaphores in the
//!   same order everywhere, and take all tickets of one semaphore in one request.
//! * **Order after a deadlock over a lock that can be shared**, such as a table's. PostgreSQL may resolve such a deadlock by
//!   changing the order of the queue. An example: your transaction reads a table and then waits for a ticket. An
//!   `ALTER TABLE` waits for your transaction. The holder of the ticket now reads the same table, and waits behind the
//!   `ALTER TABLE`. Your transaction may then be served before waiters that joined the queue less than a `deadlock_timeout`
//!   before it did. With `log_lock_waits` on, PostgreSQL logs "avoided deadlock .. by rearranging queue order". To avoid
//!   it, acquire the ticket before you use tables, or use a guard.
//! * **The place of a deadlock's victim.** PostgreSQL may choose a waiter as the victim of a deadlock between others. If
//!   this waiter holds no ticket in its transaction, it joins the queue again, at the end. A guard does so each time. In your
//!   transaction, which may have caused the deadlock by another lock, the second one is an error.
//! * **A fresh view** under `REPEATABLE READ` and `SERIALIZABLE`: a wait that is a transaction's first statement takes the
//!   snapshot when it joins the queue, so what the transaction then reads is older than what the last holder wrote. Use a
//!   guard.
