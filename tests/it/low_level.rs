//! `acquire` and `require` in the caller's transaction.

use crate::tools::{database_with, free, in_transaction, terminate};
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request};

#[test]
fn at_most_n_hold_one() {
    let database = database_with(2);
    let (mut a, mut b, mut c) = (database.connect(), database.connect(), database.connect());
    in_transaction(&mut a, |a| {
        let first = sem::acquire(a, "x")?.unwrap();
        in_transaction(&mut b, |b| {
            let second = sem::require(b, &String::from("x"))?;
            assert_ne!(first.ids(), second.ids());
            in_transaction(&mut c, |c| {
                assert!(sem::acquire(c, "x")?.is_none());
                let refused = sem::require(c, "x");
                assert!(matches!(refused, Err(Error::Unavailable { name, .. }) if name == "x"));
                c.batch_execute("SELECT 1")?;
                Ok(())
            });
            Ok(())
        });
        Ok(())
    });
    assert_eq!(free(&database), 2);
}

#[test]
fn a_second_request_returns_the_same_ticket() {
    let database = database_with(3);
    in_transaction(&mut database.connect(), |c| {
        let one = sem::require(c, "x")?;
        assert_eq!(sem::require(c, "x")?, one);
        let two = sem::require(c, Request::new("x").tickets(2))?;
        assert_eq!(two.count(), 2);
        assert!(two.ids().contains(&one.ids()[0]));
        assert_eq!(sem::require(c, Request::new("x").tickets(2))?, two);
        assert_eq!(sem::require(c, "x")?, two, "at least as many as asked for");
        assert_eq!(free(&database), 1);
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
fn several_are_all_or_none() {
    let database = database_with(3);
    let mut other = database.connect();
    in_transaction(&mut other, |other| {
        let _ticket = sem::require(other, Request::new("x").tickets(2))?;
        in_transaction(&mut database.connect(), |c| {
            assert!(sem::acquire(c, Request::new("x").tickets(3))?.is_none());
            assert_eq!(free(&database), 1, "a refused request holds nothing");
            let one = sem::require(c, "x")?;
            assert!(sem::acquire(c, Request::new("x").tickets(3))?.is_none());
            assert_eq!(sem::require(c, "x")?, one, "nor does it lose anything");
            Ok(())
        });
        Ok(())
    });
    assert_eq!(free(&database), 3);
}

#[test]
fn several_semaphores_in_one_transaction() {
    let database = database_with(2);
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

/// The other way round, the note for semaphore 1 would be found in that for semaphore 11.
#[test]
fn tickets_of_two_semaphores_are_not_confused() {
    let database = database_with(1);
    let mut conn = database.connect();
    for number in 2..12 {
        sem::make(&mut conn, &number.to_string(), 1).unwrap();
    }
    in_transaction(&mut conn, |c| {
        let eleventh = sem::require(c, "11")?;
        let first = sem::require(c, "x")?;
        assert_ne!(first.ids(), eleventh.ids());
        assert_eq!(free(&database), 0);
        Ok(())
    });
}

#[test]
fn foreign_keys_to_tickets_do_not_block() {
    let database = database_with(1);
    let mut conn = database.connect();
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
        for request in [
            Request::new("x").label("goes another way"),
            Request::new("x"),
        ] {
            in_transaction(&mut database.connect(), |other| {
                sem::require(other, request).map(drop)
            });
        }
        Ok(())
    });
}

#[test]
fn works_without_a_schema_in_the_search_path() {
    let database = database_with(1);
    let mut conn = database.connect();
    conn.batch_execute("SET search_path = ''").unwrap();
    in_transaction(&mut conn, |c| sem::require(c, "x").map(drop));
    sem::make(&mut conn, "x", 3).unwrap();
    sem::make(&mut conn, "x", 2).unwrap();
    assert_eq!(sem::list(&mut conn).unwrap()["x"], 2);
}

#[test]
fn a_lost_connection_is_named() {
    let database = database_with(1);
    let mut conn = database.connect();
    let pid = crate::tools::backend_pid(&mut conn);
    terminate(&database, pid);
    let lost = conn.transaction(|c| sem::require(c, "x")).unwrap_err();
    assert!(matches!(lost, Error::Database(_)));
    assert!(
        lost.to_string().contains("the connection is lost"),
        "{lost}"
    );
    let refused = sem::list(&mut conn).unwrap_err();
    assert!(
        refused.to_string().contains("the connection is lost"),
        "{refused}"
    );
}

/// See `acquire`: the settings of a transaction are its memory. The locks stay.
#[test]
fn reset_all_forgets_tickets_and_releases_none() {
    let database = database_with(2);
    database
        .connect()
        .transaction::<_, Error, _>(|c| {
            let first = sem::require(c, "x")?;
            c.batch_execute("RESET ALL")?;
            // The same or the other.
            sem::require(c, "x")?;
            assert!(free(&database) <= 1, "{first} is still held");
            Ok(())
        })
        .unwrap();
    assert_eq!(free(&database), 2);
}
