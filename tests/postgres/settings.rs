//! Settings of a role or a database that change how SQL is read and run. `make test-hostile` runs the whole suite under many
//! of them; here are those that were found to matter, and those under which other tests can't run.

use crate::kit::{ServerDatabase, TestDatabase};
use crate::postgres::number;
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::Database;
use std::{thread, time::Duration};

const LONG: Duration = Duration::from_secs(60);

/// For each session that begins from now on.
fn set(database: &Database, setting: &str) {
    let statement = format!("ALTER DATABASE {} SET {setting}", database.name());
    database.connect().batch_execute(&statement).unwrap();
}

/// Each way to a ticket gives as many as were asked for.
fn assert_each_way_gives_what_was_asked_for(database: &Database, setting: &str) {
    let mut conn = database.connect();
    let x = Request::new("x");
    for (request, tickets, label) in [
        (x, 1, None),
        (x.label("a"), 1, Some("a")),
        (x.wait(LONG), 1, None),
        (x.tickets(2), 2, None),
    ] {
        let guard = SemaphoreTicket::require(&mut conn, request).unwrap();
        assert_eq!(guard.ticket().count(), tickets);
        assert_eq!(database.available(), 5 - i64::from(tickets), "{setting}");
        let held = sem::holders(&mut database.connect(), "x").unwrap();
        assert_eq!(held.len(), tickets as usize, "{setting}");
        assert_eq!(held[0].session.label.as_deref(), label, "{setting}");
        drop(guard);
        conn.transaction::<_, Error, _>(|c| {
            let ticket = sem::require(c, request)?;
            assert_eq!(sem::require(c, request)?, ticket);
            assert_eq!(database.available(), 5 - i64::from(tickets), "{setting}");
            let more = sem::require(c, Request::new("x").tickets(tickets + 1))?;
            assert_eq!(more.count(), tickets + 1);
            Ok(())
        })
        .unwrap();
    }
    // From the queue, and by a resize.
    let all = SemaphoreTicket::require(&mut conn, x.tickets(5)).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let request = x.wait(LONG).label("b");
            let guard = SemaphoreTicket::require(database.connect(), request).unwrap();
            assert_eq!(
                sem::holders(&mut database.connect(), "x")
                    .unwrap()
                    .iter()
                    .filter(|holder| holder.session.label.as_deref() == Some("b"))
                    .count(),
                1,
                "{setting}"
            );
            drop(guard);
        });
        database.until_queued(1);
        let shrink = scope.spawn(|| sem::make(&mut database.connect(), "x", 2).unwrap());
        database.until_queued(2);
        drop(all);
        waiter.join().unwrap();
        shrink.join().unwrap();
    });
    assert_eq!(database.available(), 2);
    database.assert_no_queue();
}

#[test]
fn neither_checks_nor_strings_change_what_is_acquired() {
    for setting in [
        "plpgsql.extra_errors = 'all'",
        "plpgsql.extra_warnings = 'all'",
        "standard_conforming_strings = off",
    ] {
        let database = Database::with_size(5);
        set(&database, setting);
        assert_each_way_gives_what_was_asked_for(&database, setting);
    }
}

/// With `standard_conforming_strings` off it would be an escape, whatever the setting was when the function was created.
#[test]
fn no_function_has_a_backslash() {
    let database = Database::with_size(1);
    let functions = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'dbsemaphore'::regnamespace";
    let conn = &mut database.connect();
    assert!(number(conn, functions) > 10);
    let escaping = format!("{functions} AND strpos(prosrc, chr(92)) > 0");
    assert_eq!(number(conn, &escaping), 0);
}

/// PostgreSQL checks a function's body when it is created, too.
#[test]
fn migrations_run_with_and_without_checks_of_bodies() {
    for setting in [
        "plpgsql.extra_errors = 'all'",
        "check_function_bodies = off",
    ] {
        let database = Database::create();
        set(&database, setting);
        let conn = &mut database.connect();
        sem::run_migrations(conn).unwrap();
        sem::make(conn, "x", 5).unwrap();
        assert_each_way_gives_what_was_asked_for(&database, setting);
        sem::revert_migrations(conn).unwrap();
    }
}

/// A guard, a resize and a migration say themselves what transaction they need.
#[test]
fn defaults_of_transactions_do_not_matter() {
    let database = Database::create();
    for setting in [
        "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = on",
        "default_transaction_read_only = on",
    ] {
        set(&database, setting);
    }
    let (conn, other) = (&mut database.connect(), &mut database.connect());
    sem::run_migrations(conn).unwrap();
    assert!(sem::ensure(conn, "x", 3).unwrap());
    sem::make(conn, "x", 1).unwrap();
    let guard = SemaphoreTicket::require(&mut *other, "x").unwrap();
    sem::make(conn, "x", 2).unwrap();
    let second = SemaphoreTicket::require(database.connect(), Request::new("x").wait(LONG));
    assert_eq!(sem::list(conn).unwrap()["x"], 2);
    assert_eq!(sem::usage(conn).unwrap()[0].in_use, 2);
    assert_eq!(sem::holders(conn, "x").unwrap().len(), 2);
    assert_eq!(sem::waiters(conn, "x").unwrap(), []);
    drop((guard, second.unwrap()));
    assert!(sem::destroy(conn, "x").unwrap());
    sem::revert_migrations(conn).unwrap();
}

/// What is read in `pg_stat_activity` is unknown then, and everything else is as ever.
#[test]
fn without_track_activities_ages_are_unknown() {
    let database = Database::with_size(1);
    set(&database, "track_activities = off");
    let connect = || -> (PgConnection, i64) {
        let mut conn = database.connect();
        let pid = Database::session_id(&mut conn);
        (conn, pid)
    };
    let ((holder, holds), (waiter, waits)) = (connect(), connect());
    let guard = SemaphoreTicket::require(holder, Request::new("x").label("a")).unwrap();
    thread::scope(|scope| {
        let waiter = scope
            .spawn(|| SemaphoreTicket::require(waiter, Request::new("x").wait(LONG)).map(drop));
        database.until_queued(1);
        let conn = &mut database.connect();
        let shown = sem::holders(conn, "x").unwrap();
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0].session.pid.map(i64::from), Some(holds));
        assert_eq!(shown[0].session.label.as_deref(), Some("a"));
        assert!(shown[0].held_for.is_some() && shown[0].transaction_for.is_none());
        let shown = sem::waiters(conn, "x").unwrap();
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0].session.pid.map(i64::from), Some(waits));
        assert_eq!(shown[0].waited, None);
        drop(guard);
        waiter.join().unwrap().unwrap();
    });
    assert_eq!(sem::usage(&mut database.connect()).unwrap()[0].in_use, 0);
}
