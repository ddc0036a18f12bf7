//! Finding a free ticket among held ones: exact where it is promised, and never the same one twice.

use crate::tools::{database_with, free, number};
use diesel::{Connection, PgConnection};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use std::{collections::BTreeSet, thread};

fn in_transaction<T>(
    conn: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> sem::Result<T>,
) -> T {
    conn.transaction(work).unwrap()
}

/// A plan made for three rows must not be kept for a hundred thousand, nor the random look-ups miss anything.
#[test]
fn finds_the_last_free_ticket_of_many() {
    let database = database_with(600);
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

/// Four threads on four tickets: none may be refused, though which ones are held changes while somebody looks.
#[test]
fn refuses_only_if_all_were_held_at_one_instant() {
    let database = database_with(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut conn = database.connect();
                for _ in 0..3_000 {
                    drop(SemaphoreTicket::require(&mut conn, "x").unwrap());
                }
            });
        }
    });
}

/// The random look-ups may come upon a ticket twice, or upon one that this transaction holds already.
#[test]
fn several_are_different_ones() {
    let database = database_with(128);
    let mut conn = database.connect();
    for _ in 0..200 {
        in_transaction(&mut conn, |c| {
            let two = sem::require(c, Request::new("x").tickets(2))?;
            let four = sem::require(c, Request::new("x").tickets(4))?;
            for ticket in [&two, &four] {
                let distinct: BTreeSet<_> = ticket.ids().iter().collect();
                assert_eq!(distinct.len(), ticket.ids().len());
            }
            assert!(two.ids().iter().all(|id| four.ids().contains(id)));
            Ok(())
        });
    }
    in_transaction(&mut conn, |c| {
        sem::require(c, Request::new("x").tickets(4))?;
        assert_eq!(free(&database), 124);
        Ok(())
    });
}

/// After a shrink, few tickets may be left in many slots, the highest of them held.
#[test]
fn finds_those_that_a_shrink_left_behind() {
    let database = database_with(3_000);
    let mut conn = database.connect();
    let slot = |conn: &mut PgConnection, ticket: &sem::Ticket| {
        let query = format!(
            "SELECT slot FROM dbsemaphore.ticket WHERE id = {}",
            ticket.ids()[0]
        );
        number(conn, &query)
    };
    let held = loop {
        let guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
        if slot(&mut conn, guard.ticket()) > 1_500 {
            break guard;
        }
    };
    sem::make(&mut conn, "x", 2).unwrap();
    let other = SemaphoreTicket::require(database.connect(), "x").unwrap();
    assert_ne!(other.ticket(), held.ticket());
    assert!(SemaphoreTicket::acquire(&mut conn, "x").unwrap().is_none());
    drop((held, other));
    let both = SemaphoreTicket::require(&mut conn, Request::new("x").tickets(2)).unwrap();
    drop(both);
    sem::make(&mut conn, "x", 100).unwrap();
    drop(SemaphoreTicket::require(&mut conn, Request::new("x").tickets(100)).unwrap());
}
