//! Who holds what, and who waits, as others see it.

use crate::kit::{ServerDatabase, TestDatabase, on_each_backend, on_each_server};
use diesel_dbsemaphore::{self as sem, Error, Holder, Request, SemaphoreTicket, Ticket, Usage};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::mpsc,
    thread,
    time::Duration,
};

on_each_backend!(holders_and_usage_show_a_guard, an_unknown_name_is_an_error,);

on_each_server!(waiters_are_listed_in_order_and_then_as_holders,);

const LONG: Duration = Duration::from_secs(60);

pub(crate) fn holders<D: TestDatabase>(database: &D) -> Vec<Holder> {
    sem::holders(&mut database.connect(), "x").unwrap()
}

pub(crate) fn usage<D: TestDatabase>(database: &D) -> Usage {
    sem::usage(&mut database.connect()).unwrap().remove(0)
}

pub(crate) fn pids(holders: &[Holder]) -> BTreeMap<i64, Option<i32>> {
    holders.iter().map(|h| (h.ticket, h.session.pid)).collect()
}

pub(crate) fn session_id<D: ServerDatabase>(conn: &mut D::Connection) -> i32 {
    D::session_id(conn).try_into().unwrap()
}

/// Those of this ticket, held by that session.
pub(crate) fn owned(ticket: &Ticket, pid: i32) -> BTreeMap<i64, Option<i32>> {
    ticket.ids().iter().map(|id| (*id, Some(pid))).collect()
}

fn waiters_are_listed_in_order_and_then_as_holders<D: ServerDatabase>() {
    let database = &D::with_size(2);
    thread::scope(|scope| {
        let both = SemaphoreTicket::require(database.connect(), Request::new("x").tickets(2));
        let (hold, held) = mpsc::channel();
        let (mut expected, mut ends) = (Vec::new(), Vec::new());
        for position in [1, 2] {
            let mut conn = database.connect();
            let session = session_id::<D>(&mut conn);
            let label = format!("no. {position}");
            expected.push((position, Some(1), Some(session), Some(label.clone())));
            let (end, until_end) = mpsc::channel::<()>();
            ends.push(end);
            let hold = hold.clone();
            scope.spawn(move || {
                let request = Request::new("x").wait(LONG).label(&label);
                let guard = SemaphoreTicket::require(conn, request).unwrap();
                hold.send(owned(guard.ticket(), session)).unwrap();
                until_end.recv().unwrap_err();
            });
            database.until_queued(position.into());
        }
        let seen = sem::waiters(&mut database.connect(), "x").unwrap();
        assert!(seen.iter().all(|w| w.waited.unwrap() < LONG));
        let queue = seen.into_iter();
        let queue: Vec<_> = queue
            .map(|w| (w.position, w.tickets, w.session.pid, w.session.label))
            .collect();
        assert_eq!(queue, expected);
        assert_eq!(usage(database).waiting, 2);

        drop(both.unwrap());
        let actual: BTreeMap<_, _> = held.iter().take(2).flatten().collect();
        assert_eq!(pids(&holders(database)), actual);
        assert_eq!(usage(database).waiting, 0);
    });
}

fn holders_and_usage_show_a_guard<D: TestDatabase>() {
    let database = D::with_size(3);
    assert_eq!(holders(&database), []);
    let request = Request::new("x").label("for Ada [1]").tickets(2);
    let guard = SemaphoreTicket::require(database.connect(), request).unwrap();
    let seen = holders(&database);
    let tickets: BTreeSet<i64> = seen.iter().map(|holder| holder.ticket).collect();
    assert_eq!(tickets, guard.ticket().ids().iter().copied().collect());
    for holder in &seen {
        assert_eq!(holder.session.label.as_deref(), Some("for Ada [1]"));
        assert!(holder.held_for.unwrap() < LONG);
    }
    let now = usage(&database);
    assert_eq!((now.size, now.in_use, now.waiting), (3, 2, 0));
    guard.release().unwrap();
    assert_eq!(holders(&database), []);
    assert_eq!(usage(&database).in_use, 0);
}

fn an_unknown_name_is_an_error<D: TestDatabase>() {
    let database = D::with_size(1);
    let conn = &mut database.connect();
    // Of another semaphore.
    let guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    for refused in [
        sem::holders(conn, "y").map(drop),
        sem::waiters(conn, "y").map(drop),
    ] {
        assert!(matches!(refused, Err(Error::UnknownSemaphore { name, .. }) if name == "y"));
    }
    assert!(matches!(
        sem::holders(conn, ""),
        Err(Error::InvalidName { .. })
    ));
    drop(guard);
    sem::revert_migrations(conn).unwrap();
    assert!(matches!(sem::holders(conn, "x"), Err(Error::NotMigrated)));
    assert!(matches!(sem::usage(conn), Err(Error::NotMigrated)));
}
