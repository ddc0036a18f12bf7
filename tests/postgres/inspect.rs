//! Who holds what, and who waits, as others see it.

use crate::contract::inspect::{holders, owned, pids, usage};
use crate::kit::TestDatabase;
use crate::postgres::number;
use crate::postgres::rights::{Kind, connect_as};
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::Database;
use std::{thread, time::Duration};

const LONG: Duration = Duration::from_secs(60);

pub(crate) fn pid(conn: &mut PgConnection) -> i32 {
    number(conn, "SELECT pg_backend_pid()").try_into().unwrap()
}

#[test]
fn holders_show_all_values_of_a_guard() {
    let database = Database::with_size(3);
    let mut conn = database.connect();
    conn.batch_execute("SET application_name = 'web'").unwrap();
    let pid = pid(&mut conn);
    assert_eq!(holders(&database), []);
    let request = Request::new("x").label("for Ada [1]").tickets(2);
    let guard = SemaphoreTicket::require(conn, request).unwrap();

    let seen = holders(&database);
    assert_eq!(pids(&seen), owned(guard.ticket(), pid));
    for holder in &seen {
        assert_eq!(holder.session.label.as_deref(), Some("for Ada [1]"));
        assert_eq!(holder.session.application.as_deref(), Some("web"));
        assert_eq!(holder.session.role.as_deref(), Some("postgres"));
        assert!(holder.held_for.unwrap() < LONG && holder.transaction_for.unwrap() < LONG);
    }
    let now = usage(&database);
    assert_eq!((now.size, now.in_use, now.waiting), (3, 2, 0));

    let mut conn = guard.release().unwrap();
    assert_eq!(holders(&database), []);
    conn.batch_execute("DO $$BEGIN ASSERT current_setting('application_name') = 'web'; END$$")
        .unwrap();
}

#[test]
fn holders_in_savepoints_are_listed() {
    let database = Database::with_size(5);
    let mut conn = database.connect();
    let pid = pid(&mut conn);
    conn.transaction::<_, Error, _>(|c| {
        // Inside a savepoint, after its release, after another one, several at once, and while it is still open.
        let first = c.transaction(|c| sem::require(c, "x"))?;
        assert_eq!(pids(&holders(&database)), owned(&first, pid));
        let two =
            c.transaction(|c| c.transaction(|c| sem::require(c, Request::new("x").tickets(2))))?;
        assert_eq!(pids(&holders(&database)), owned(&two, pid));
        let four = sem::require(c, Request::new("x").tickets(4))?;
        assert_eq!(pids(&holders(&database)), owned(&four, pid));
        c.transaction(|c| {
            let five = sem::require(c, Request::new("x").tickets(5))?;
            assert_eq!(pids(&holders(&database)), owned(&five, pid));
            assert_eq!(usage(&database).in_use, 5);
            Err::<(), _>(Error::NotInTransaction)
        })
        .unwrap_err();
        assert_eq!(pids(&holders(&database)), owned(&four, pid));
        Ok(())
    })
    .unwrap();
    assert_eq!(holders(&database), []);
}

#[test]
fn a_label_lasts_as_long_as_the_ticket() {
    let database = Database::with_size(1);
    let mut conn = database.connect();
    conn.batch_execute("SET application_name = 'web'").unwrap();
    conn.transaction::<_, Error, _>(|c| {
        c.transaction(|c| {
            sem::require(c, Request::new("x").label("inner"))?;
            Err::<(), _>(Error::NotInTransaction)
        })
        .unwrap_err();
        sem::require(c, Request::new("x").label("outer"))?;
        let seen = holders(&database);
        assert_eq!(seen[0].session.label.as_deref(), Some("outer"));
        assert_eq!(seen[0].session.application.as_deref(), Some("web"));
        Ok(())
    })
    .unwrap();
    for label in ["", "naïve", "a\nb", &"a".repeat(41)] {
        let refused = SemaphoreTicket::acquire(&mut conn, Request::new("x").label(label));
        assert!(
            matches!(&refused, Err(Error::InvalidLabel { label: named, .. }) if named == label),
            "{refused:?}"
        );
    }
    assert!(SemaphoreTicket::acquire(&mut conn, Request::new("x").label(&"a".repeat(40))).is_ok());
}

#[test]
fn a_label_ends_with_a_wait_that_was_refused() {
    let database = Database::with_size(1);
    let _holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut conn = database.connect();
    conn.batch_execute("SET application_name = 'web'").unwrap();
    conn.transaction::<_, Error, _>(|c| {
        let request = Request::new("x").label("mine");
        for request in [request, request.wait(Duration::from_millis(20))] {
            assert!(sem::acquire(c, request)?.is_none());
            let unchanged = "SELECT (current_setting('application_name') = 'web')::int";
            assert_eq!(number(c, unchanged), 1);
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_waiter_in_a_transaction_is_listed_and_then_as_holder() {
    let database = &Database::with_size(1);
    let mut conn = database.connect();
    let pid = pid(&mut conn);
    thread::scope(|scope| {
        let guard = SemaphoreTicket::require(database.connect(), "x");
        let waiter = scope.spawn(move || {
            conn.transaction::<_, Error, _>(|c| {
                let request = Request::new("x").wait(LONG).label("mine");
                let ticket = sem::require(c, request)?;
                Ok((pids(&holders(database)), owned(&ticket, pid)))
            })
        });
        database.until_queued(1);
        let seen = sem::waiters(&mut database.connect(), "x")
            .unwrap()
            .remove(0);
        assert_eq!((seen.session.pid, seen.tickets), (Some(pid), Some(1)));
        assert_eq!(seen.session.label.as_deref(), Some("mine"));
        drop(guard.unwrap());
        let (seen, actual) = waiter.join().unwrap().unwrap();
        assert_eq!(seen, actual);
    });
}

#[test]
fn a_role_without_rights_sees_what_it_may() {
    let mut database = Database::with_size(1);
    let guard =
        SemaphoreTicket::require(database.connect(), Request::new("x").label("Ada")).unwrap();
    let conn = &mut connect_as(&mut database, Kind::Observer);
    let seen = sem::holders(conn, "x").unwrap().remove(0);
    assert_eq!(seen.ticket, guard.ticket().ids()[0]);
    assert!(seen.session.pid.is_some() && seen.held_for.is_some());
    assert_eq!(seen.session.label.as_deref(), Some("Ada"));
    assert_eq!(
        (seen.session.client_address, seen.transaction_for),
        (None, None)
    );
    assert_eq!(sem::waiters(conn, "x").unwrap(), []);
    assert_eq!(sem::usage(conn).unwrap()[0].in_use, 1);
}

#[test]
fn holders_in_raw_savepoints_are_listed() {
    let database = Database::with_size(2);
    let mut conn = database.connect();
    let pid = pid(&mut conn);
    conn.transaction::<_, Error, _>(|c| {
        c.batch_execute("SAVEPOINT raw")?;
        let ticket = sem::require(c, "x")?;
        c.batch_execute("RELEASE raw")?;
        assert_eq!(pids(&holders(&database)), owned(&ticket, pid));
        c.batch_execute("SAVEPOINT raw")?;
        sem::require(c, Request::new("x").tickets(2))?;
        c.batch_execute("ROLLBACK TO raw")?;
        assert_eq!(pids(&holders(&database)), owned(&ticket, pid));
        Ok(())
    })
    .unwrap();
    assert_eq!(holders(&database), []);
}

#[test]
fn more_tickets_than_are_published_have_the_same_holder() {
    let database = Database::with_size(200);
    let mut conn = database.connect();
    let pid = pid(&mut conn);
    let guard = SemaphoreTicket::require(conn, Request::new("x").tickets(150)).unwrap();
    let seen = holders(&database);
    assert_eq!(pids(&seen), owned(guard.ticket(), pid));
    assert!(seen.iter().all(|holder| holder.held_for.is_some()));
}

#[test]
fn a_transaction_that_looks_twice_sees_the_present_names() {
    let database = Database::with_size(2);
    let (mut observer, mut conn) = (database.connect(), database.connect());
    observer.begin_test_transaction().unwrap();
    assert_eq!(sem::holders(&mut observer, "x").unwrap(), []);
    conn.batch_execute("SET application_name = 'renamed'")
        .unwrap();
    let _guard = SemaphoreTicket::require(conn, "x").unwrap();
    let seen = sem::holders(&mut observer, "x").unwrap();
    assert_eq!(seen[0].session.application.as_deref(), Some("renamed"));
}
