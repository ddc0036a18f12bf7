//! Finding an available ticket among held ones: exact where it is promised, and never the same one twice.

use crate::kit::{ServerDatabase, TestDatabase, in_transaction, on_each_backend, on_each_server};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use std::collections::BTreeSet;

on_each_backend!(tickets_of_one_request_are_distinct,);

on_each_server!(finds_the_last_available_ticket_of_many,);

/// Random look-ups must not miss the one ticket that is available.
fn finds_the_last_available_ticket_of_many<D: ServerDatabase>() {
    let database = D::with_size(600);
    let mut holder = database.connect();
    in_transaction(&mut holder, |holder| {
        let held = sem::require(holder, Request::new("x").tickets(599))?;
        in_transaction(&mut database.connect(), |c| {
            let last = sem::require(c, "x")?;
            assert!(!held.ids().contains(&last.ids()[0]));
            in_transaction(&mut database.connect(), |c| {
                assert!(sem::acquire(c, "x")?.is_none());
                Ok(())
            });
            Ok(())
        });
        Ok(())
    });
}

/// Random look-ups may come upon a ticket twice.
fn tickets_of_one_request_are_distinct<D: TestDatabase>() {
    let database = D::with_size(128);
    let mut conn = database.connect();
    for _ in 0..100 {
        for tickets in [2, 4, 100] {
            let request = Request::new("x").tickets(tickets);
            let guard = SemaphoreTicket::require(&mut conn, request).unwrap();
            let distinct: BTreeSet<_> = guard.ticket().ids().iter().collect();
            assert_eq!(distinct.len(), tickets as usize);
        }
    }
    let _four = SemaphoreTicket::require(&mut conn, Request::new("x").tickets(4)).unwrap();
    assert_eq!(database.available(), 124);
}
