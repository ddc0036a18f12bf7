//! Holders and waiters, as an account without privileges sees them.

use super::{number, with_semaphore};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use stand::eventually;
use std::{thread, time::Duration};

#[test]
fn guards_are_shown_with_session_and_label() {
    let (database, mut conn) = with_semaphore("reports", 3);
    let mut first = database.connect();
    let session = number(&mut first, "CONNECTION_ID()");
    let guard = SemaphoreTicket::require(first, "reports").unwrap();
    let request = Request::new("reports").tickets(2).label("for Ada");
    let labelled = SemaphoreTicket::require(database.connect(), request).unwrap();
    let holders = sem::holders(&mut conn, "reports").unwrap();
    assert_eq!(holders.len(), 3);
    let of_first: Vec<_> = holders
        .iter()
        .filter(|holder| guard.ticket().ids().contains(&holder.ticket))
        .collect();
    assert_eq!(of_first.len(), 1);
    assert_eq!(of_first[0].session.pid, i32::try_from(session).ok());
    assert_eq!(of_first[0].session.role.as_deref(), Some("root"));
    assert_eq!(of_first[0].session.label, None);
    for holder in &holders {
        if labelled.ticket().ids().contains(&holder.ticket) {
            assert_eq!(holder.session.label.as_deref(), Some("for Ada"));
            assert!(holder.held_for.is_some());
        }
    }
    assert_eq!(sem::usage_of(&mut conn, "reports").unwrap().in_use, 3);
    drop(labelled);
    drop(guard);
    assert_eq!(sem::holders(&mut conn, "reports").unwrap(), []);
    assert_eq!(sem::usage_of(&mut conn, "reports").unwrap().in_use, 0);
}

#[test]
fn a_session_that_has_ended_is_not_shown() {
    let (database, mut conn) = with_semaphore("reports", 1);
    let guard =
        SemaphoreTicket::require(database.connect(), Request::new("reports").label("x")).unwrap();
    let pid = sem::holders(&mut conn, "reports").unwrap()[0]
        .session
        .pid
        .unwrap();
    super::run(&mut conn, &format!("KILL {pid}")).unwrap();
    eventually("nobody holds it", || {
        sem::holders(&mut conn, "reports").unwrap().is_empty()
    });
    drop(guard);
    // The next holder is shown, too.
    let _guard = SemaphoreTicket::require(
        database.connect(),
        Request::new("reports").wait(Duration::from_secs(60)),
    )
    .unwrap();
    assert_eq!(sem::holders(&mut conn, "reports").unwrap().len(), 1);
}

#[test]
fn an_account_without_privileges_sees_holders_and_waiters() {
    let (mut database, mut conn) = with_semaphore("reports", 1);
    let observer = database.create_role("observer");
    let name = database.name().to_owned();
    for table in ["semaphore", "ticket", "request"] {
        super::run(
            &mut conn,
            &format!("GRANT SELECT ON {name}.dbsemaphore_{table} TO {observer}"),
        )
        .unwrap();
    }
    let mut observer = database.connect_as(&observer);
    let holder = SemaphoreTicket::require(database.connect(), "reports").unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let request = Request::new("reports")
                .label("later")
                .wait(Duration::from_secs(60));
            SemaphoreTicket::require(database.connect(), request).map(drop)
        });
        eventually("it waits", || {
            sem::usage_of(&mut observer, "reports").unwrap().waiting == 1
        });
        let holders = sem::holders(&mut observer, "reports").unwrap();
        assert_eq!(holders.len(), 1);
        assert!(holders[0].session.pid.is_some());
        assert_eq!(holders[0].session.role, None);
        let waiters = sem::waiters(&mut observer, "reports").unwrap();
        assert_eq!(waiters.len(), 1);
        assert_eq!(waiters[0].position, 1);
        assert_eq!(waiters[0].tickets, Some(1));
        assert_eq!(waiters[0].session.label.as_deref(), Some("later"));
        drop(holder);
        waiter.join().unwrap().unwrap();
    });
}
