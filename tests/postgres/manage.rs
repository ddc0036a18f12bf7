//! Creating, resizing, listing, removing.

use crate::kit::TestDatabase;
use crate::postgres::{number, until_waiting_for};
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, SemaphoreTicket};
use stand::Database;
use std::thread;

#[test]
fn a_shrink_that_exceeds_a_timeout_leaves_the_old_size() {
    let database = Database::with_size(5);
    let holders: Vec<_> = (0..2)
        .map(|_| SemaphoreTicket::require(database.connect(), "x").unwrap())
        .collect();
    let mut conn = database.connect();
    for setting in ["lock_timeout", "statement_timeout"] {
        conn.batch_execute(&format!("RESET ALL; SET {setting} = '120ms'"))
            .unwrap();
        let refused = sem::make(&mut conn, "x", 1).unwrap_err();
        assert!(matches!(refused, Error::Database(_)), "{refused:?}");
        assert!(refused.to_string().contains("timeout"), "{refused}");
        assert_eq!(sem::list(&mut conn).unwrap()["x"], 5);
        assert_eq!(database.available(), 3);
    }
    drop(holders);
    conn.batch_execute("RESET ALL").unwrap();
    sem::make(&mut conn, "x", 1).unwrap();
}

#[test]
fn a_shrink_in_a_transaction_leaves_its_settings_as_they_were() {
    let database = Database::with_size(1);
    let holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    thread::scope(|scope| {
        let shrink = scope.spawn(|| {
            let mut conn = database.connect();
            conn.batch_execute("SET lock_timeout = '50s'").unwrap();
            conn.transaction::<_, Error, _>(|c| {
                c.batch_execute("SET LOCAL lock_timeout = '40s'")?;
                sem::make(c, "x", 0)?;
                let seconds =
                    "SELECT extract(epoch FROM current_setting('lock_timeout')::interval)";
                assert_eq!(number(c, seconds), 40);
                Ok(())
            })
            .unwrap();
            let seconds = "SELECT extract(epoch FROM current_setting('lock_timeout')::interval)";
            assert_eq!(number(&mut conn, seconds), 50);
        });
        until_waiting_for(&database, "transactionid");
        drop(holder);
        shrink.join().unwrap();
    });
}
