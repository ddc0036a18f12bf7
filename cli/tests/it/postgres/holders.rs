//! What `holders` says, beside what is true: fifty holders of all kinds, while they come and go.

mod stage;

use diesel::{
    Connection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_query,
    sql_types::{BigInt, Nullable, Text},
};
use diesel_dbsemaphore::{self as sem, Error, SemaphoreTicket};
use stage::Stage;
use stand::eventually;
use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::Ordering,
    thread,
};

const LOOKS: usize = 60;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Guard,
    Plain,
    Nested,
    Waiting,
    WaitingNested,
    Several,
    Pooled,
    PooledNested,
    Tool,
}

const KINDS: [(Kind, usize); 9] = [
    (Kind::Guard, 8),
    (Kind::Plain, 8),
    (Kind::Nested, 8),
    (Kind::Waiting, 6),
    (Kind::WaitingNested, 4),
    (Kind::Several, 2),
    (Kind::Pooled, 6),
    (Kind::PooledNested, 4),
    (Kind::Tool, 4),
];

#[test]
fn holders_match_actual_locks() {
    let stage = Stage::new();
    let clients = KINDS.iter().filter(|(kind, _)| !matches!(kind, Kind::Tool));
    let clients: usize = clients.map(|(_, times)| times).sum();
    thread::scope(|scope| {
        let kinds = KINDS
            .iter()
            .flat_map(|(kind, times)| std::iter::repeat_n(*kind, *times));
        for (number, kind) in kinds.enumerate() {
            let stage = &stage;
            scope.spawn(move || {
                let churned = catch_unwind(AssertUnwindSafe(|| {
                    stage.churn(kind, number);
                }));
                stage.over.store(true, Ordering::SeqCst);
                churned.unwrap_or_else(|panic| resume_unwind(panic));
            });
        }
        let mut observer = stage.database.connect();
        let looked = catch_unwind(AssertUnwindSafe(|| {
            // Behind the pooler, one that still connects gives its name to a session that somebody else has just used.
            eventually("each has connected", || {
                stage.is_over() || stage.count() == clients
            });
            for _ in 0..LOOKS {
                stage.look(&mut observer);
                assert!(!stage.is_over(), "a holder has failed");
            }
        }));
        stage.over.store(true, Ordering::SeqCst);
        looked.unwrap_or_else(|panic| resume_unwind(panic));
    });
    assert_eq!(
        sem::holders(&mut stage.database.connect(), "x").unwrap(),
        []
    );
}

/// Locks of this kind only keep tables from being altered.
#[test]
fn holders_and_waiters_take_no_blocking_lock() {
    #[derive(QueryableByName, Debug, PartialEq, Eq)]
    struct Lock {
        #[diesel(sql_type = Text)]
        locktype: String,
        #[diesel(sql_type = Text)]
        mode: String,
        #[diesel(sql_type = Nullable<BigInt>)]
        xid: Option<i64>,
    }
    let database = crate::tool::database_with(2);
    let database = database.postgres();
    let _guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut observer = database.connect();
    observer
        .transaction::<_, Error, _>(|c| {
            sem::holders(c, "x")?;
            sem::waiters(c, "x")?;
            sem::usage(c)?;
            c.batch_execute("SET application_name = 'observer'")?;
            let locks: Vec<Lock> = sql_query(
                "SELECT locktype, mode, backend_xid::text::bigint AS xid FROM pg_locks JOIN pg_stat_activity USING (pid) \
                 WHERE application_name = 'observer' AND locktype <> 'virtualxid'",
            )
            .load(&mut database.connect())?;
            assert!(!locks.is_empty());
            for lock in locks {
                assert_eq!((lock.locktype.as_str(), lock.mode.as_str()), ("relation", "AccessShareLock"));
                assert_eq!(lock.xid, None);
            }
            Ok(())
        })
        .unwrap();
}
