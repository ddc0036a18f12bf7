//! How long a ticket takes from hand to hand, and what a long line costs.
//!
//! `cargo bench --bench hand_off -- [KILLS]`. One ticket: from the return of `release` to the return of the waiter's
//! acquire, and the same from `kill -9` of the holder's process. Then the server's CPU while 200 wait for 10 seconds.

#![allow(clippy::unwrap_used)]

use diesel::{Connection, PgConnection, RunQueryDsl, sql_query};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use stand::{Database, Server, percentile};
use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

const WAIT: Request<'_> = Request::new("x").wait_forever();

/// Returns once so many stand in line, and their head has looked.
fn until_in_line(conn: &mut PgConnection, waiters: usize) {
    // The barrier is one more lock.
    let locks = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'";
    while sql_query(locks).execute(conn).unwrap() != waiters + 1 {
        thread::yield_now();
    }
}

/// The time from `let_go`, which returns when it had an effect, until a waiter has the ticket; that many times.
fn hand_offs<H>(
    database: &Database,
    times: usize,
    mut hold: impl FnMut() -> H,
    let_go: impl Fn(H) -> Instant,
) -> Vec<Duration> {
    let (go, goes) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut conn = database.connect();
            for () in goes {
                let guard = SemaphoreTicket::require(&mut conn, WAIT).unwrap();
                let got = Instant::now();
                drop(guard);
                tell.send(got).unwrap();
            }
        });
        let mut observer = database.connect();
        let hand_offs = (0..times)
            .map(|_| {
                let holder = hold();
                go.send(()).unwrap();
                until_in_line(&mut observer, 1);
                let gone = let_go(holder);
                told.recv().unwrap().saturating_duration_since(gone)
            })
            .collect();
        drop(go);
        hand_offs
    })
}

fn after_release(database: &Database, times: usize) -> Vec<Duration> {
    let mut conn = Some(database.connect());
    let (back, returned) = mpsc::channel();
    let hold = || {
        let conn = conn.take().unwrap_or_else(|| returned.recv().unwrap());
        SemaphoreTicket::require(conn, "x").unwrap()
    };
    hand_offs(database, times, hold, |guard| {
        let conn = guard.release().unwrap();
        let gone = Instant::now();
        back.send(conn).unwrap();
        gone
    })
}

fn after_kill(database: &Database, times: usize) -> Vec<Duration> {
    let hold = || {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["holder", &database.url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut String::new())
            .unwrap();
        child
    };
    hand_offs(database, times, hold, |mut child: Child| {
        child.kill().unwrap();
        let gone = Instant::now();
        child.wait().unwrap();
        gone
    })
}

/// The process that `after_kill` kills.
fn be_a_holder(url: &str) {
    let conn = PgConnection::establish(url).unwrap();
    let _guard = SemaphoreTicket::require(conn, "x").unwrap();
    println!("held");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// The share of one core that the server uses.
fn cost_of_a_long_line(server: &Server, database: &Database, waiters: usize) -> f64 {
    const TIME: Duration = Duration::from_secs(10);
    let holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    thread::scope(|scope| {
        for _ in 0..waiters {
            scope.spawn(|| drop(SemaphoreTicket::require(database.connect(), WAIT).unwrap()));
        }
        // Kept until the end, so that no session ends meanwhile, whose time would be missing then.
        let mut observer = database.connect();
        until_in_line(&mut observer, waiters);
        let before = server.cpu_time();
        thread::sleep(TIME);
        let used = server.cpu_time().saturating_sub(before);
        drop(holder);
        used.as_secs_f64() / TIME.as_secs_f64()
    })
}

fn main() {
    let words: Vec<String> = env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    if let [role, url] = &words[..]
        && role == "holder"
    {
        return be_a_holder(url);
    }
    let kills = words.first().map_or(200, |kills| kills.parse().unwrap());
    let server = Server::start_with(&[]);
    let database = server.create_database();
    sem::run_migrations(&mut database.connect()).unwrap();
    sem::make(&mut database.connect(), "x", 1).unwrap();
    for (what, mut times) in [
        ("after release", after_release(&database, 2000)),
        ("after kill -9", after_kill(&database, kills)),
    ] {
        let [p50, p99] = [0.5, 0.99].map(|share| percentile(&mut times, share).as_secs_f64() * 1e3);
        println!(
            "{what}: p50 {p50:.2} ms, p99 {p99:.2} ms, of {}",
            times.len()
        );
    }
    let cost = cost_of_a_long_line(&server, &database, 200) * 100.0;
    println!("200 waiters for 10 s: the server uses {cost:.1} % of a core");
}
