//! Each way out of the queue, at its head and behind it: no lock remains, the next waiters move up, and a connection that is
//! not broken can wait again.

use crate::kit::{ServerDatabase, eventually, on_each_server, rounds, transaction_depth};
use diesel::{
    Connection,
    connection::{AnsiTransactionManager, SimpleConnection},
};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket, TransactionConnection};
use stand::Backend;
use std::{
    num::NonZeroU32,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

on_each_server!(every_way_at_every_place);

pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Long enough for the others to join the queue.
const SHORT: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    TimeOut,
    /// One of the limits of your own session.
    Limit(usize),
    Cancel(u32),
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Guard,
    Transaction,
}

pub(crate) fn wait<C>(conn: &mut C, kind: Kind, request: Request<'_>) -> sem::Result<()>
where
    C: TransactionConnection + Connection<TransactionManager = AnsiTransactionManager>,
{
    match kind {
        Kind::Guard => SemaphoreTicket::require(conn, request)?.release().map(drop),
        Kind::Transaction => conn.transaction(|c| {
            let outcome = sem::require(c, request).map(drop);
            let is_dead = c.batch_execute("SELECT 1").is_err();
            let depth = transaction_depth(c).unwrap_or_default();
            assert!(
                is_dead || depth == NonZeroU32::new(1),
                "a wait has ended the transaction: {depth:?}"
            );
            outcome
        }),
    }
}

/// Diesel has given it up. It does so, too, when its own COMMIT or ROLLBACK is cancelled.
pub(crate) fn is_broken<C>(conn: &mut C) -> bool
where
    C: Connection<TransactionManager = AnsiTransactionManager>,
{
    transaction_depth(conn).is_err()
}

pub(crate) fn cancel<B: Backend>(conn: &mut B::Connection, session: i64, times: u32) {
    for _ in 0..times {
        B::cancel_statement(conn, session);
    }
}

/// The last of several cancels may hit what comes next.
pub(crate) fn assert_can_wait<C>(conn: &mut C, kind: Kind)
where
    C: TransactionConnection + Connection<TransactionManager = AnsiTransactionManager>,
{
    eventually("the connection waits again", || {
        let again = Request::new("x").wait(Duration::from_millis(1));
        matches!(
            wait(conn, kind, again),
            Ok(()) | Err(Error::Unavailable { .. })
        )
    });
}

fn every_way_at_every_place<D: ServerDatabase>() {
    let mut ways = vec![
        Way::TimeOut,
        Way::Cancel(1),
        Way::Cancel(2),
        Way::Cancel(3),
        Way::Kill,
    ];
    ways.extend((0..D::limits(SHORT).len()).map(Way::Limit));
    let ways = &ways;
    thread::scope(|scope| {
        for kind in [Kind::Guard, Kind::Transaction] {
            scope.spawn(move || {
                let database = D::with_size(1);
                for &way in ways {
                    // A guard has no limits but its own.
                    let applies = kind == Kind::Transaction || !matches!(way, Way::Limit(_));
                    for round in 0..if applies { rounds(1) } else { 0 } {
                        for place in 0..3 {
                            leave_once(&database, kind, way, place, round);
                        }
                    }
                }
            });
        }
    });
}

fn leave_once<D: ServerDatabase>(database: &D, kind: Kind, way: Way, place: usize, round: usize) {
    // Shown if it fails.
    eprintln!("{kind:?} {way:?} at {place}, round {round}");
    let holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        let mut waiters = Vec::new();
        let mut pids = Vec::new();
        for number in 0..3 {
            let tell = tell.clone();
            let leaves = number == place;
            waiters.push(scope.spawn(move || {
                let mut conn = database.connect();
                let limit = match way {
                    Way::TimeOut if leaves => SHORT,
                    _ => LONG,
                };
                match way {
                    Way::Limit(number) if leaves => {
                        conn.batch_execute(&D::limits(SHORT)[number]).unwrap();
                    }
                    _ => {}
                }
                tell.send(D::session_id(&mut conn)).unwrap();
                let began = Instant::now();
                let outcome = wait(&mut conn, kind, Request::new("x").wait(limit));
                if leaves && way == Way::TimeOut {
                    assert!(began.elapsed() >= SHORT);
                }
                if !(leaves && way == Way::Kill) {
                    conn.batch_execute(D::NO_LIMITS)
                        .or_else(|_| conn.batch_execute(D::NO_LIMITS))
                        .unwrap();
                    assert_can_wait(&mut conn, kind);
                }
                outcome
            }));
            pids.push(told.recv().unwrap());
            database.until_queued(number as i64 + 1);
        }
        match way {
            Way::Cancel(times) => {
                cancel::<D::Backend>(&mut database.connect(), pids[place], times);
            }
            Way::Kill => database.kill_session(pids[place]),
            _ => {}
        }
        let mut observer = database.connect();
        let mut cancel_again = Instant::now() + SHORT;
        eventually("the waiter has left", || {
            let cancels = matches!(way, Way::Cancel(_)) && !D::SERVER_DRIVES_QUEUE;
            if cancels && Instant::now() > cancel_again {
                cancel::<D::Backend>(&mut observer, pids[place], 1);
                cancel_again = Instant::now() + SHORT;
            }
            D::queued(&mut observer) == 2
        });
        drop(holder);
        for (number, waiter) in waiters.into_iter().enumerate() {
            let outcome = waiter.join().unwrap();
            let as_expected = match (number == place, way) {
                (false, _) => outcome.is_ok(),
                (true, Way::TimeOut) => matches!(outcome, Err(Error::Unavailable { .. })),
                (true, _) => matches!(outcome, Err(Error::Database(_))),
            };
            assert!(
                as_expected,
                "{kind:?} {way:?} at {place}, round {round}: {outcome:?}"
            );
        }
    });
    assert_eq!(
        database.available(),
        1,
        "{kind:?} {way:?} at {place}, round {round}"
    );
    database.assert_no_queue();
}
