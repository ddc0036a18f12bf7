//! The order of the queue, under what might change it.

use crate::kit::{ServerDatabase, TestDatabase, eventually};
use crate::postgres::{number, until_waiting_for};
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::Database;
use std::{
    sync::mpsc::{self, Sender},
    thread::{self, Scope, ScopedJoinHandle},
    time::Duration,
};

const X: Request<'_> = Request::new("x").wait(Duration::from_secs(60));

/// One that looks for a deadlock after this time. Waits of one cycle are resolved by the one that looks first.
fn connect(database: &Database, deadlock_timeout: &str) -> PgConnection {
    let mut conn = database.connect();
    conn.batch_execute(&format!("SET deadlock_timeout = '{deadlock_timeout}'"))
        .unwrap();
    conn
}

/// Later than any test lasts that works.
const LATE: &str = "25s";
/// Late enough for what a test does until then.
const SOON: &str = "5s";

/// Waits for "x", as the last one in the queue, which then has this `length`. Tells its name while it holds the ticket.
fn queue<'scope>(
    scope: &'scope Scope<'scope, '_>,
    database: &'scope Database,
    name: &'static str,
    deadlock_timeout: &str,
    length: i64,
    served: &Sender<&'static str>,
) -> i64 {
    let served = served.clone();
    let mut conn = connect(database, deadlock_timeout);
    let pid = Database::session_id(&mut conn);
    scope.spawn(move || {
        let guard = SemaphoreTicket::require(conn, X).unwrap();
        served.send(name).unwrap();
        drop(guard);
    });
    database.until_queued(length);
    pid
}

/// The same in a transaction that begins with some `work`.
fn queue_after<'scope>(
    scope: &'scope Scope<'scope, '_>,
    database: &'scope Database,
    work: impl FnOnce(&mut PgConnection) -> sem::Result<()> + Send + 'scope,
    request: Request<'static>,
    served: &Sender<&'static str>,
) -> ScopedJoinHandle<'scope, ()> {
    let served = served.clone();
    let mut conn = connect(database, LATE);
    scope.spawn(move || {
        conn.transaction::<_, Error, _>(|c| {
            work(c)?;
            sem::require(c, request)?;
            served.send("after work").unwrap();
            Ok(())
        })
        .unwrap();
    })
}

#[test]
fn a_waiter_that_holds_tickets_keeps_its_position() {
    let database = Database::with_size(2);
    sem::make(&mut database.connect(), "y", 1).unwrap();
    let holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let (served, order) = mpsc::channel();
    thread::scope(|scope| {
        let (has_work, go) = (mpsc::channel(), mpsc::channel::<()>());
        let work = move |c: &mut PgConnection| {
            sem::require(c, "x")?;
            sem::require(c, "y")?;
            has_work.0.send(()).unwrap();
            go.1.recv().unwrap();
            Ok(())
        };
        queue_after(scope, &database, work, X.tickets(2), &served);
        has_work.1.recv().unwrap();
        queue(scope, &database, "first", LATE, 1, &served);
        queue(scope, &database, "second", LATE, 2, &served);
        go.0.send(()).unwrap();
        database.until_queued(3);
        queue(scope, &database, "last", LATE, 4, &served);
        drop(holder);
    });
    drop(served);
    let order: Vec<_> = order.iter().collect();
    assert_eq!(order, ["first", "second", "after work", "last"]);
    database.assert_no_queue();
}

/// Two hold what the other one waits for, one of them behind a waiter that looks for the deadlock first. PostgreSQL can't
/// resolve it by changing the order of the queue, and chooses this waiter as its victim.
#[test]
fn a_deadlock_victim_without_tickets_joins_the_end_of_the_queue() {
    let database = Database::with_size(1);
    sem::make(&mut database.connect(), "y", 1).unwrap();
    let (served, order) = mpsc::channel();
    let mut conn = database.connect();
    thread::scope(|scope| {
        let (holds, go) = (mpsc::channel(), mpsc::channel::<()>());
        let holder = scope.spawn({
            let mut conn = connect(&database, LATE);
            move || {
                conn.transaction::<_, Error, _>(|c| {
                    sem::require(c, "x")?;
                    holds.0.send(Database::session_id(c)).unwrap();
                    go.1.recv().unwrap();
                    let y = Request::new("y").wait(Duration::from_secs(60));
                    sem::require(c, y).map(drop)
                })
            }
        });
        let holder_pid = holds.1.recv().unwrap();
        queue(scope, &database, "head", LATE, 1, &served);
        let victim = queue(scope, &database, "victim", SOON, 2, &served);
        let joined = format!(
            "SELECT extract(epoch FROM max(waitstart)) * 1000000 FROM pg_locks \
             WHERE pid = {victim} AND locktype = 'advisory' AND NOT granted"
        );
        let joined = format!("coalesce(({joined}), 0)");
        eventually("its place has a time", || number(&mut conn, &joined) > 0);
        let first_joined = number(&mut conn, &joined);
        let work = |c: &mut PgConnection| sem::require(c, "y").map(drop);
        queue_after(scope, &database, work, X, &served);
        database.until_queued(3);
        queue(scope, &database, "last", LATE, 4, &served);
        go.0.send(()).unwrap();
        eventually("the victim joins again", || {
            number(&mut conn, &joined) > first_joined
        });
        conn.batch_execute(&format!("SELECT pg_cancel_backend({holder_pid})"))
            .unwrap();
        holder.join().unwrap().unwrap_err();
    });
    drop(served);
    let order: Vec<_> = order.iter().collect();
    assert_eq!(order, ["head", "after work", "last", "victim"]);
    database.assert_no_queue();
}

/// A holder comes to a table that somebody waits to alter, who waits for a transaction that has read it and is in the
/// queue: it goes on if PostgreSQL lets the holder read the table first. Who looks for the deadlock first?
fn served_around_an_altered_table(holder_looks: &str, waiter_looks: &str) -> Vec<&'static str> {
    let database = Database::with_size(1);
    database
        .connect()
        .batch_execute("CREATE TABLE app ()")
        .unwrap();
    let (served, order) = mpsc::channel();
    thread::scope(|scope| {
        let (holds, go) = (mpsc::channel(), mpsc::channel::<()>());
        scope.spawn({
            let mut conn = connect(&database, holder_looks);
            move || {
                conn.transaction::<_, Error, _>(|c| {
                    sem::require(c, "x")?;
                    holds.0.send(()).unwrap();
                    go.1.recv().unwrap();
                    Ok(c.batch_execute("SELECT FROM app")?)
                })
                .unwrap();
            }
        });
        holds.1.recv().unwrap();
        queue(scope, &database, "head", LATE, 1, &served);
        queue(scope, &database, "waiter", waiter_looks, 2, &served);
        let work = |c: &mut PgConnection| Ok(c.batch_execute("SELECT FROM app")?);
        queue_after(scope, &database, work, X, &served);
        database.until_queued(3);
        scope.spawn(|| {
            let mut conn = connect(&database, LATE);
            conn.batch_execute("ALTER TABLE app ADD COLUMN new int")
                .unwrap();
        });
        until_waiting_for(&database, "relation");
        go.0.send(()).unwrap();
    });
    drop(served);
    database.assert_no_queue();
    order.iter().collect()
}

#[test]
fn a_rearranged_queue_of_a_table_keeps_the_order() {
    let order = served_around_an_altered_table("100ms", LATE);
    assert_eq!(order, ["head", "waiter", "after work"]);
}

/// See "Limits" in docs/guide/waiting.md. If this ever fails, the limit can be removed.
#[test]
fn postgresql_rearranges_the_queue_to_resolve_a_deadlock_over_a_table() {
    let order = served_around_an_altered_table(LATE, SOON);
    assert_eq!(order, ["head", "after work", "waiter"]);
}
