//! Deadlocks through the queue of a semaphore of one ticket, whatever order they come about in.

use crate::kit::{TestDatabase, eventually};
use crate::postgres::number;
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::Database;
use std::{sync::Barrier, thread, time::Duration};

const LONG: Duration = Duration::from_secs(60);

/// The head of a line of one ticket sleeps for less than `deadlock_timeout`, but for its first sleep and a few others. So it is
/// the last to join a cycle who has to find it, whatever it waits for.
#[test]
fn a_deadlock_is_found_by_the_last_to_join() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Last {
        Head,
        BehindAHead,
        Elsewhere,
    }
    let run = |last: Last| {
        let database = &Database::with_size(1);
        sem::make(&mut database.connect(), "y", 1).unwrap();
        let first_holds = &Barrier::new(2);
        let outcomes = thread::scope(|scope| {
            let first = scope.spawn(move || {
                database.connect().transaction::<_, Error, _>(|c| {
                    sem::require(c, "x")?;
                    c.batch_execute("SELECT pg_advisory_xact_lock(42)")?;
                    first_holds.wait();
                    first_holds.wait();
                    sem::require(c, Request::new("y").wait(LONG)).map(drop)
                })
            });
            first_holds.wait();
            let mut heads = vec!["y"];
            let head = (last == Last::BehindAHead).then(|| {
                let request = Request::new("x").wait(LONG);
                let head = scope
                    .spawn(move || SemaphoreTicket::require(database.connect(), request).map(drop));
                heads.push("x");
                head
            });
            let mut conn = database.connect();
            let second = conn.transaction::<_, Error, _>(|c| {
                sem::require(c, "y")?;
                first_holds.wait();
                // By then their first sleeps are over.
                eventually("the heads have slept for long", || {
                    heads.iter().all(|name| {
                        sem::waiters(&mut database.connect(), name)
                            .unwrap()
                            .first()
                            .is_some_and(|head| head.waited > Some(Duration::from_secs(2)))
                    })
                });
                match last {
                    Last::Elsewhere => Ok(c.batch_execute("SELECT pg_advisory_xact_lock(42)")?),
                    _ => sem::require(c, Request::new("x").wait(LONG)).map(drop),
                }
            });
            let first = first.join().unwrap();
            if let Some(head) = head {
                head.join().unwrap().unwrap();
            }
            [first, second]
        });
        let failed: Vec<_> = outcomes
            .iter()
            .filter_map(|one| one.as_ref().err())
            .collect();
        assert_eq!(failed.len(), 1, "{last:?}: {outcomes:?}");
        assert!(
            failed[0].to_string().contains("deadlock"),
            "{last:?}: {}",
            failed[0]
        );
        assert_eq!(database.available(), 1);
        database.assert_no_queue();
    };
    thread::scope(|scope| {
        for last in [Last::Head, Last::BehindAHead, Last::Elsewhere] {
            scope.spawn(move || run(last));
        }
    });
}

/// A transaction without tickets causes a deadlock by a lock of its own: the holder of the ticket waits for it, and has looked
/// for deadlocks already.
#[test]
fn a_waiter_that_causes_deadlocks_by_another_lock_fails() {
    let database = &Database::with_size(1);
    let lock = "SELECT pg_advisory_xact_lock(42)";
    let mut waiter = database.connect();
    let held = &Barrier::new(2);
    thread::scope(|scope| {
        let holder = scope.spawn(move || {
            database.connect().transaction::<_, Error, _>(|c| {
                sem::require(c, "x")?;
                held.wait();
                Ok(c.batch_execute(lock)?)
            })
        });
        let failed = waiter.transaction::<_, Error, _>(|c| {
            c.batch_execute(lock)?;
            held.wait();
            eventually(
                "the holder has waited for longer than deadlock_timeout",
                || {
                    number(
                        &mut database.connect(),
                        "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' \
                         AND waitstart < now() - 2 * current_setting('deadlock_timeout')::interval",
                    ) > 0
                },
            );
            sem::require(c, Request::new("x").wait(LONG)).map(drop)
        });
        let failed = failed.unwrap_err();
        assert!(failed.to_string().contains("deadlock"), "{failed}");
        holder.join().unwrap().unwrap();
    });
    assert_eq!(database.available(), 1);
    database.assert_no_queue();
}
