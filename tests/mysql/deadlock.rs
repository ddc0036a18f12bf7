//! A deadlock's victim loses its whole transaction.

use super::{is_serialization_failure, number, run, with_semaphore};
use diesel::{Connection, MysqlConnection};
use diesel_dbsemaphore::{self as sem, Error, Request};
use std::{sync::Barrier, thread, time::Duration};

const LONG: Duration = Duration::from_secs(60);

/// Each of two transactions holds a ticket of one semaphore, and then needs that of the other one: `need` is called with its name.
/// Afterwards, `reuse` gets the connection, and the name of the first semaphore.
fn one_is_the_victim<T: std::fmt::Debug + Send>(
    need: impl Fn(&mut MysqlConnection, &str) -> sem::Result<T> + Sync,
    reuse: impl Fn(&mut MysqlConnection, &str) + Sync,
) {
    let (database, mut conn) = with_semaphore("one", 1);
    sem::make(&mut conn, "two", 1).unwrap();
    run(&mut conn, "CREATE TABLE work (name varchar(9))").unwrap();
    let both_hold = Barrier::new(2);
    let outcomes = thread::scope(|scope| {
        [("one", "two"), ("two", "one")]
            .map(|(first, second)| {
                let (database, both_hold) = (&database, &both_hold);
                let (need, reuse) = (&need, &reuse);
                scope.spawn(move || {
                    let mut conn = database.connect();
                    let outcome = conn.transaction::<_, Error, _>(|conn| {
                        run(conn, &format!("INSERT INTO work VALUES ('{first}')"))?;
                        sem::require(conn, first)?;
                        both_hold.wait();
                        let done = need(conn, second);
                        if done.is_err() {
                            // What a caller that ignores the error would do next.
                            let write = run(conn, "INSERT INTO work VALUES ('late')");
                            assert!(write.is_err());
                        }
                        done
                    });
                    reuse(&mut conn, first);
                    outcome
                })
            })
            .map(|thread| thread.join().unwrap())
    });
    let (victims, others): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_err);
    assert_eq!((victims.len(), others.len()), (1, 1));
    assert!(is_serialization_failure(&victims[0]), "{victims:?}");
    assert_eq!(number(&mut conn, "(SELECT COUNT(*) FROM work)"), 1);
}

#[test]
fn the_victim_can_neither_write_nor_keep_a_ticket() {
    one_is_the_victim(
        |conn, second| sem::require(conn, Request::new(second).wait(LONG)),
        // The connection can be used, and holds nothing.
        |conn, first| {
            assert_eq!(number(conn, "@@autocommit"), 1);
            conn.transaction::<_, Error, _>(|conn| {
                sem::require(conn, Request::new(first).wait(LONG))
            })
            .unwrap();
        },
    );
}

/// Each holds a ticket that the other one's resize needs.
#[test]
fn the_victim_of_a_resize_can_not_write() {
    one_is_the_victim(|conn, second| sem::make(conn, second, 0), |_, _| {});
}
