//! Finding a free ticket among held ones: exact where it is promised, and never the same one twice.

use crate::tools::{database_with, eventually, free, in_transaction, number, until_waiting_for};
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

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

/// A look that finds ticket 0 held and then ticket 1, because ticket 0 came back and ticket 1 went in between, has not
/// seen that none was free. A row-level policy stops the look between the two.
#[test]
fn refuses_only_if_all_were_held_at_one_instant() {
    let mut database = database_with(2);
    let role = database.create_role("looker");
    let mut owner = database.connect();
    owner
        .batch_execute(&format!(
            "GRANT USAGE ON SCHEMA dbsemaphore TO {role}; \
             GRANT SELECT ON ALL TABLES IN SCHEMA dbsemaphore TO {role}; \
             GRANT UPDATE (lockable) ON dbsemaphore.ticket TO {role}; \
             CREATE FUNCTION gate(slot integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN \
                IF slot = 0 AND coalesce(current_setting('test.seen', true), '') = '' THEN \
                    PERFORM set_config('test.seen', '0', false); \
                ELSIF slot = 1 AND current_setting('test.seen', true) = '0' THEN \
                    PERFORM set_config('test.seen', 'both', false); \
                    PERFORM pg_advisory_lock(42), pg_advisory_unlock(42); \
                END IF; \
                RETURN true; \
             END $$; \
             ALTER TABLE dbsemaphore.ticket ENABLE ROW LEVEL SECURITY; \
             CREATE POLICY gate ON dbsemaphore.ticket USING (gate(slot))"
        ))
        .unwrap();
    let take = |slot: i32| {
        let mut conn = database.connect();
        conn.begin_test_transaction().unwrap();
        conn.batch_execute(&format!(
            "SELECT FROM dbsemaphore.ticket WHERE slot = {slot} FOR NO KEY UPDATE NOWAIT"
        ))
        .unwrap();
        conn
    };
    owner.batch_execute("SELECT pg_advisory_lock(42)").unwrap();
    let first = take(0);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut conn = database.connect();
            conn.batch_execute(&format!("SET SESSION AUTHORIZATION {role}"))
                .unwrap();
            // Where a look begins is random: if it comes to ticket 1 first, that one is free.
            while !stop.load(SeqCst) {
                drop(SemaphoreTicket::require(&mut conn, "x").unwrap());
            }
        });
        until_waiting_for(&database, "advisory");
        stop.store(true, SeqCst);
        let _second = take(1);
        drop(first);
        eventually("ticket 0 is back", || free(&database) == 1);
        owner
            .batch_execute("SELECT pg_advisory_unlock(42)")
            .unwrap();
        looker.join().unwrap();
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
