//! Finding an available ticket among held ones: exact where it is promised, and never the same one twice.

use crate::kit::{TestDatabase, eventually, in_transaction};
use crate::postgres::{number, until_waiting_for};
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use stand::Database;
use std::{collections::BTreeSet, thread};

/// A search that finds ticket 1 held, and then finds ticket 0 held, after ticket 1 was released, has not seen that none
/// was available. A row-level policy stops it between the two.
#[test]
fn refuses_only_if_all_were_held_at_one_instant() {
    let mut database = Database::with_size(2);
    let role = database.create_role("looker");
    let mut owner = database.connect();
    sem::make(&mut owner, "other", 1).unwrap();
    owner
        .batch_execute(&format!(
            "GRANT USAGE ON SCHEMA dbsemaphore TO {role}; \
             GRANT SELECT ON ALL TABLES IN SCHEMA dbsemaphore TO {role}; \
             GRANT UPDATE (acquire_privilege) ON dbsemaphore.ticket TO {role}; \
             CREATE FUNCTION gate(slot integer) RETURNS boolean LANGUAGE plpgsql AS $$ \
             DECLARE looks integer := coalesce(current_setting('test.looks', true), '0'); \
             BEGIN \
                IF slot = 0 THEN \
                    PERFORM set_config('test.looks', (looks + 1)::text, false); \
                    IF looks = 1 THEN \
                        PERFORM pg_advisory_lock(42), pg_advisory_unlock(42); \
                    END IF; \
                END IF; \
                RETURN true; \
             END $$; \
             ALTER TABLE dbsemaphore.ticket ENABLE ROW LEVEL SECURITY; \
             CREATE POLICY gate ON dbsemaphore.ticket USING ( \
                semaphore_id <> (SELECT s.id FROM dbsemaphore.semaphore s WHERE s.name = 'x') OR gate(slot))"
        ))
        .unwrap();
    let take = |slot: i32| {
        let mut conn = database.connect();
        conn.begin_test_transaction().unwrap();
        conn.batch_execute(&format!(
            "SELECT FROM dbsemaphore.ticket t JOIN dbsemaphore.semaphore s ON s.id = t.semaphore_id \
             WHERE s.name = 'x' AND t.slot = {slot} FOR NO KEY UPDATE OF t NOWAIT"
        ))
        .unwrap();
        conn
    };
    owner.batch_execute("SELECT pg_advisory_lock(42)").unwrap();
    let second = take(1);
    thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut conn = database.connect();
            // With `row_security` off, PostgreSQL refuses each query that a policy applies to.
            conn.batch_execute(&format!(
                "SET SESSION AUTHORIZATION {role}; SET row_security = on"
            ))
            .unwrap();
            // A transaction that holds a ticket first reads who holds what, and then tries what may be available.
            conn.transaction(|c| sem::require(c, "other").and_then(|_| sem::require(c, "x")))
        });
        until_waiting_for(&database, "advisory");
        drop(second);
        eventually("ticket 1 is released", || database.available() == 2);
        let _first = take(0);
        owner
            .batch_execute("SELECT pg_advisory_unlock(42)")
            .unwrap();
        looker.join().unwrap().unwrap();
    });
}

/// The random look-ups may come upon a ticket twice, or upon one that this transaction holds already.
#[test]
fn several_are_different_ones() {
    let database = Database::with_size(128);
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
        assert_eq!(database.available(), 124);
        Ok(())
    });
}

/// After a shrink, few tickets may be left in many slots, the highest of them held.
#[test]
fn finds_those_that_a_shrink_left_behind() {
    let database = Database::with_size(3_000);
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

/// A plan made for one ticket reads each of ten thousand a few times at most.
#[test]
fn plans_do_not_depend_on_statistics() {
    let database = Database::with_size(1);
    let mut conn = database.connect();
    conn.batch_execute(
        "ALTER TABLE dbsemaphore.ticket SET (autovacuum_enabled = off); \
         ALTER TABLE dbsemaphore.semaphore SET (autovacuum_enabled = off); \
         ANALYZE dbsemaphore.ticket, dbsemaphore.semaphore",
    )
    .unwrap();
    sem::make(&mut conn, "x", 10_000).unwrap();
    let mut holder = database.connect();
    in_transaction(&mut holder, |holder| {
        sem::require(holder, Request::new("x").tickets(9_000))?;
        for request in [
            Request::new("x"),
            Request::new("x").tickets(100),
            Request::new("x").label("a"),
        ] {
            in_transaction(&mut conn, |c| {
                sem::require(c, request)?;
                let read = "SELECT idx_tup_fetch FROM pg_stat_xact_all_tables \
                    WHERE relid = 'dbsemaphore.ticket'::regclass";
                let read = number(c, read);
                assert!(read <= 50_000, "{request:?} has read {read}");
                Ok(())
            });
        }
        Ok(())
    });
}
