//! Fencing tokens.

use super::with_semaphore;
use diesel::Connection;
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use std::{thread, time::Duration};

#[test]
fn a_token_is_read_after_the_ticket_was_acquired() {
    let (database, mut conn) = with_semaphore("reports", 1);
    let mut last = 0;
    for _ in 0..20 {
        let holder = SemaphoreTicket::require(database.connect(), "reports").unwrap();
        let waited = thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let request = Request::new("reports").wait(Duration::from_secs(60));
                database
                    .connect()
                    .transaction::<_, Error, _>(|conn| sem::require(conn, request))
                    .unwrap()
            });
            stand::eventually("it waits", || {
                !sem::waiters(&mut conn, "reports").unwrap().is_empty()
            });
            let held = holder.ticket().fencing_token();
            assert!(held > last);
            drop(holder);
            assert!(waiter.join().unwrap().fencing_token() > held);
            held
        });
        last = waited;
    }
}

#[test]
fn the_time_zone_of_the_session_does_not_matter() {
    let (database, mut conn) = with_semaphore("reports", 1);
    let mut last = 0;
    for zone in ["+00:00", "+13:00", "-11:00", "+00:00"] {
        super::run(&mut conn, &format!("SET time_zone = '{zone}'")).unwrap();
        let ticket = conn
            .transaction::<_, Error, _>(|conn| sem::require(conn, "reports"))
            .unwrap();
        assert!(ticket.fencing_token() > last, "{zone}");
        last = ticket.fencing_token();
    }
    let guard = SemaphoreTicket::require(database.connect(), "reports").unwrap();
    assert!(guard.ticket().fencing_token() - last < 60_000_000);
}
