//! What your transaction holds, exactly.

use crate::kit::{TestDatabase, in_transaction};
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request};
use stand::Database;

#[test]
fn a_second_request_returns_the_same_ticket() {
    let database = Database::with_size(3);
    in_transaction(&mut database.connect(), |c| {
        let one = sem::require(c, "x")?;
        assert_eq!(sem::require(c, "x")?, one);
        let two = sem::require(c, Request::new("x").tickets(2))?;
        assert_eq!(two.count(), 2);
        assert!(two.ids().contains(&one.ids()[0]));
        assert_eq!(sem::require(c, Request::new("x").tickets(2))?, two);
        assert_eq!(sem::require(c, "x")?, two, "at least as many as asked for");
        assert_eq!(database.available(), 1);
        Ok(())
    });
    // The note of what was held ends with the transaction, on the same connection, too.
    let mut conn = database.connect();
    let held = in_transaction(&mut conn, |c| sem::require(c, Request::new("x").tickets(3)));
    assert_eq!(held.count(), 3);
    let again = in_transaction(&mut conn, |c| sem::require(c, "x"));
    assert_eq!(again.count(), 1);
}

#[test]
fn a_refused_request_for_more_keeps_what_is_held() {
    let database = Database::with_size(3);
    in_transaction(&mut database.connect(), |other| {
        let _ticket = sem::require(other, Request::new("x").tickets(2))?;
        in_transaction(&mut database.connect(), |c| {
            assert!(sem::acquire(c, Request::new("x").tickets(3))?.is_none());
            assert_eq!(database.available(), 1, "a refused request holds nothing");
            let one = sem::require(c, "x")?;
            assert!(sem::acquire(c, Request::new("x").tickets(3))?.is_none());
            assert_eq!(sem::require(c, "x")?, one);
            Ok(())
        });
        Ok(())
    });
}

#[test]
fn several_semaphores_in_one_transaction() {
    let database = Database::with_size(2);
    let mut conn = database.connect();
    sem::make(&mut conn, "y", 2).unwrap();
    // A name that another one begins with, and ids of which one begins with another's.
    for number in 0..12 {
        sem::make(&mut conn, &format!("x{number}"), 2).unwrap();
    }
    in_transaction(&mut conn, |c| {
        let x = sem::require(c, "x")?;
        let y = sem::require(c, Request::new("y").tickets(2))?;
        let many: Vec<_> = (0..12)
            .map(|number| sem::require(c, &format!("x{number}")))
            .collect::<Result<_, _>>()?;
        assert_eq!(sem::require(c, "x")?, x);
        assert_eq!(sem::require(c, "y")?, y);
        for (number, ticket) in many.iter().enumerate() {
            assert_eq!(&sem::require(c, &format!("x{number}"))?, ticket);
        }
        assert_eq!(sem::require(c, Request::new("x").tickets(2))?.count(), 2);
        assert_eq!(sem::require(c, "y")?, y);
        Ok(())
    });
}

#[test]
fn foreign_keys_to_tickets_do_not_block() {
    let database = Database::with_size(1);
    let mut conn = database.connect();
    sem::make(&mut conn, "other", 1).unwrap();
    conn.batch_execute(
        "CREATE TABLE job (ticket_id bigint REFERENCES dbsemaphore.ticket ON DELETE CASCADE)",
    )
    .unwrap();
    in_transaction(&mut conn, |c| {
        let ticket = sem::require(c, "x")?;
        let mut other = database.connect();
        other
            .batch_execute(&format!(
                "SET statement_timeout = '20s'; INSERT INTO job VALUES ({})",
                ticket.ids()[0]
            ))
            .unwrap();
        Ok(())
    });
    in_transaction(&mut conn, |c| {
        c.batch_execute("INSERT INTO job SELECT id FROM dbsemaphore.ticket")?;
        // A transaction that holds a ticket first reads who holds what.
        in_transaction(&mut database.connect(), |other| {
            sem::require(other, "other")?;
            sem::require(other, "x").map(drop)
        });
        in_transaction(&mut database.connect(), |other| {
            sem::require(other, "x").map(drop)
        });
        Ok(())
    });
}

#[test]
fn works_without_a_schema_in_the_search_path() {
    let database = Database::with_size(1);
    let mut conn = database.connect();
    conn.batch_execute("SET search_path = ''").unwrap();
    in_transaction(&mut conn, |c| sem::require(c, "x").map(drop));
    sem::make(&mut conn, "x", 3).unwrap();
    sem::make(&mut conn, "x", 2).unwrap();
    assert_eq!(sem::list(&mut conn).unwrap()["x"], 2);
}

/// See `acquire`: the settings of a transaction are its memory. The locks stay.
#[test]
fn reset_all_forgets_tickets_and_releases_none() {
    let database = Database::with_size(2);
    database
        .connect()
        .transaction::<_, Error, _>(|c| {
            let first = sem::require(c, "x")?;
            c.batch_execute("RESET ALL")?;
            // The same or the other.
            sem::require(c, "x")?;
            assert!(database.available() <= 1, "{first} is still held");
            Ok(())
        })
        .unwrap();
    assert_eq!(database.available(), 2);
}
