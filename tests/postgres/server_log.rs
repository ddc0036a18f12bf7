//! What waiters write into the server's log where `log_lock_waits` is on.

use crate::kit::{ServerDatabase, TestDatabase, eventually, rounds};
use crate::postgres::number;
use diesel::{PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use stand::Database;
use stand::Server;
use std::thread;

const WAITERS: usize = 40;

/// What a session wrote: how often that it is still waiting, and how many bytes in all.
fn logged(server: &Server, pid: i64) -> (usize, usize) {
    let log = server.log();
    let start = format!("[{pid}] ");
    // The lines of a session begin with the time and its process id. What continues a line begins with a tab.
    let mut is_its_own = false;
    let lines = log.lines().filter(|line| {
        if !line.starts_with('\t') {
            is_its_own = line.contains(&start);
        }
        is_its_own
    });
    lines.fold((0, 0), |(waits, bytes), line| {
        let waits = waits + usize::from(line.contains("still waiting"));
        (waits, bytes + line.len() + 1)
    })
}

fn most_and_bytes(server: &Server, pids: &[i64]) -> (usize, usize) {
    let all = pids.iter().map(|pid| logged(server, *pid));
    all.fold((0, 0), |(most, sum), (waits, bytes)| {
        (most.max(waits), sum + bytes)
    })
}

/// A session that looks after its client each second writes each second, and so it tells how long the others have waited.
/// `DBSEMAPHORE_TEST_ROUNDS=20` makes it 20 seconds. docs/guide/in_production.md quotes what is printed.
#[test]
fn a_waiter_logs_as_much_as_one_of_a_plain_lock() {
    let server = Server::start_with(&["fsync=off", "log_lock_waits=on", "deadlock_timeout=1s"]);
    let database = server.create_database();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, "x", 1).unwrap();
    let interval = "SELECT extract(epoch FROM dbsemaphore._enable_client_check()::interval)";
    assert_eq!(number(&mut conn, interval), 60);
    conn.batch_execute("SET client_connection_check_interval = '7s'")
        .unwrap();
    assert_eq!(number(&mut conn, interval), 7);
    conn.batch_execute("RESET client_connection_check_interval")
        .unwrap();
    let holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    conn.batch_execute("SELECT pg_advisory_lock(42)").unwrap();
    let connect = |pids: &mut Vec<i64>| -> PgConnection {
        let mut conn = database.connect();
        pids.push(Database::session_id(&mut conn));
        conn
    };
    let plain = |mut conn: PgConnection| {
        conn.batch_execute("SELECT pg_advisory_lock_shared(42); SELECT pg_advisory_unlock_all()")
            .unwrap();
    };
    let (mut waiters, mut plain_ones, mut clock) = (Vec::new(), Vec::new(), Vec::new());
    thread::scope(|scope| {
        for number in 0..WAITERS {
            let waiter = connect(&mut waiters);
            scope.spawn(|| {
                let request = Request::new("x").wait_forever();
                SemaphoreTicket::require(waiter, request).map(drop).unwrap();
            });
            let other = connect(&mut plain_ones);
            scope.spawn(move || plain(other));
            database.until_queued(i64::try_from(number).unwrap() + 1);
        }
        let mut ticking = connect(&mut clock);
        ticking
            .batch_execute("SET client_connection_check_interval = '1s'")
            .unwrap();
        scope.spawn(move || plain(ticking));
        let seconds = rounds(8);
        eventually("the clock has ticked so often", || {
            logged(&server, clock[0]).0 >= seconds
        });

        let (head, behind) = (&waiters[..1], &waiters[1..]);
        let figures = [head, behind, &plain_ones].map(|pids| most_and_bytes(&server, pids));
        println!(
            "{seconds} s, messages of one and bytes of all: head, {} behind it, {WAITERS} of a plain lock: {figures:?}",
            WAITERS - 1
        );
        let [(head, _), (behind, _), (plain, _)] = figures;
        drop(holder);
        conn.batch_execute("SELECT pg_advisory_unlock(42)").unwrap();
        // A machine that is busy may be late to end a sleep.
        assert!(plain >= 1 && head <= 4, "{figures:?}");
        assert!(behind <= plain + 2, "{figures:?}");
    });
}
