//! `acquire` and `require` in your transaction.

use crate::kit::{ServerDatabase, in_transaction, on_each_server};
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request};

on_each_server!(
    at_most_n_hold_one,
    several_are_all_or_none,
    tickets_of_two_semaphores_are_not_confused,
    a_second_request_of_the_only_holder_is_granted,
    a_lost_connection_is_named,
);

fn at_most_n_hold_one<D: ServerDatabase>() {
    let database = D::with_size(2);
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
    assert_eq!(database.available(), 2);
}

fn several_are_all_or_none<D: ServerDatabase>() {
    let database = D::with_size(3);
    let mut other = database.connect();
    in_transaction(&mut other, |other| {
        let _ticket = sem::require(other, Request::new("x").tickets(2))?;
        in_transaction(&mut database.connect(), |c| {
            assert!(sem::acquire(c, Request::new("x").tickets(3))?.is_none());
            Ok(())
        });
        Ok(())
    });
    assert_eq!(database.available(), 3);
}

fn a_second_request_of_the_only_holder_is_granted<D: ServerDatabase>() {
    let database = D::with_size(1);
    in_transaction(&mut database.connect(), |c| {
        let one = sem::require(c, "x")?;
        assert_eq!(sem::require(c, "x")?.ids(), one.ids());
        c.transaction(|c| sem::require(c, "x").map(drop))?;
        assert_eq!(database.available(), 0);
        Ok(())
    });
    assert_eq!(database.available(), 1);
}

/// The other way round, the note for semaphore 1 would be found in that for semaphore 11.
fn tickets_of_two_semaphores_are_not_confused<D: ServerDatabase>() {
    let database = D::with_size(1);
    let mut conn = database.connect();
    for number in 2..12 {
        sem::make(&mut conn, &number.to_string(), 1).unwrap();
    }
    in_transaction(&mut conn, |c| {
        let eleventh = sem::require(c, "11")?;
        let first = sem::require(c, "x")?;
        assert_ne!(first.ids(), eleventh.ids());
        assert_eq!(database.available(), 0);
        Ok(())
    });
}

fn a_lost_connection_is_named<D: ServerDatabase>() {
    let database = D::with_size(1);
    let mut conn = database.connect();
    let pid = D::session_id(&mut conn);
    database.kill_session(pid);
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
