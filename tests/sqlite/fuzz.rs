//! Processes that acquire tickets, at random, while others are killed, stopped and resized. Afterwards, `history.rs` looks for what
//! must not have happened.
//!
//! `DBSEMAPHORE_TEST_SECONDS` and `DBSEMAPHORE_TEST_SEED` in the environment change how long this runs and what happens.

mod history;
mod worker;

use super::{Database, dice::Dice};
use crate::kit::TestDatabase;
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use history::{History, Size, Snapshot};
use nix::{
    sys::signal::{Signal, kill},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use std::{
    fs,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};
use worker::Worker;

const WORKERS: usize = 8;

/// What happens beside kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Resizes, and processes that stop for a while.
    Resizes,
    /// Semaphores that are destroyed and created again, and a deleted folder. Then the order in the queue is lost.
    Deletions,
}

#[test]
fn kills_and_resizes() {
    run(Kind::Resizes);
}

#[test]
fn deletions() {
    run(Kind::Deletions);
}

fn run(kind: Kind) {
    let seconds = environment("DBSEMAPHORE_TEST_SECONDS", 5);
    let seed = environment("DBSEMAPHORE_TEST_SEED", 1);
    let database = Database::with("x", 3);
    let end = Instant::now() + Duration::from_secs(seconds);
    let is_over = AtomicBool::new(false);
    let mut history = thread::scope(|scope| {
        let fleet = scope.spawn(|| fleet(&database, kind, end, &is_over, Dice::new(seed)));
        let sizes = scope.spawn(|| match kind {
            Kind::Resizes => resize(&database, &is_over, Dice::new(seed + 1)),
            Kind::Deletions => delete(&database, &is_over, Dice::new(seed + 1)),
        });
        let snapshots = scope.spawn(|| match kind {
            Kind::Resizes => observe(&database, &is_over),
            Kind::Deletions => Vec::new(),
        });
        let kills = fleet.join().unwrap();
        History {
            kills,
            sizes: sizes.join().unwrap(),
            snapshots: snapshots.join().unwrap(),
            calls: Vec::new(),
        }
    });
    let left = kind == Kind::Deletions;
    history.calls = history::read_calls(&database.folder.path().join("logs"), &history.kills, left);
    println!("{kind:?}, {seconds} s, seed {seed}: {}", history.summary());
    let violations = history.violations();
    for violation in violations.iter().take(20) {
        println!("VIOLATION {violation}");
    }
    assert_eq!(violations.len(), 0);
    // Each killed worker had finished a call, however slow the machine is.
    let killed = history.kills.len() - WORKERS;
    assert!(
        10 * history.grants() > killed,
        "hardly any ticket was acquired"
    );
    check_leaks(&database);
}

/// Runs the workers, and kills one after another. Returns when each was killed, by its seed: the system uses numbers of processes
/// again. The last ones are those that ran at the end.
fn fleet(
    database: &Database,
    kind: Kind,
    end: Instant,
    is_over: &AtomicBool,
    mut dice: Dice,
) -> Vec<(u64, i64)> {
    let start = |dice: &mut Dice| Worker::start(database, dice.next());
    fs::create_dir(database.folder.path().join("logs")).unwrap();
    let mut workers: Vec<Worker> = (0..WORKERS).map(|_| start(&mut dice)).collect();
    let mut kills = Vec::new();
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(dice.within(0..25)));
        let victim = &mut workers[dice.index(WORKERS)];
        if kind == Kind::Resizes && dice.one_in(4) {
            let pid = Pid::from_raw(i32::try_from(victim.pid()).unwrap());
            kill(pid, Signal::SIGSTOP).unwrap();
            thread::sleep(Duration::from_millis(dice.within(1..30)));
            kill(pid, Signal::SIGCONT).unwrap();
        } else if victim.has_finished_a_call() {
            kills.push((victim.seed, now_us()));
            victim.kill();
            *victim = start(&mut dice);
        }
    }
    is_over.store(true, SeqCst);
    for mut worker in workers {
        kills.push((worker.seed, now_us()));
        worker.kill();
    }
    kills
}

fn resize(database: &Database, is_over: &AtomicBool, mut dice: Dice) -> Vec<Size> {
    let mut sizes = Vec::new();
    let conn = &mut database.connect();
    while !is_over.load(SeqCst) {
        let size = u32::try_from(dice.within(1..5)).unwrap();
        let began = now_us();
        sem::make(conn, "x", size).unwrap();
        sizes.push(Size {
            during: began..now_us(),
            size,
        });
        thread::sleep(Duration::from_millis(dice.within(0..20)));
    }
    sizes
}

fn delete(database: &Database, is_over: &AtomicBool, mut dice: Dice) -> Vec<Size> {
    let mut sizes = Vec::new();
    let conn = &mut database.connect();
    let change = |sizes: &mut Vec<Size>, size: u32, change: &mut dyn FnMut()| {
        let began = now_us();
        change();
        sizes.push(Size {
            during: began..now_us(),
            size,
        });
    };
    while !is_over.load(SeqCst) {
        if dice.one_in(4) {
            change(&mut sizes, 0, &mut || _ = sem::destroy(conn, "x").unwrap());
            change(&mut sizes, 3, &mut || sem::make(conn, "x", 3).unwrap());
        } else {
            // Others may create files in it meanwhile.
            database.delete_lock_folder();
        }
        thread::sleep(Duration::from_millis(dice.within(0..20)));
    }
    sizes
}

/// Records who waits, all the time.
fn observe(database: &Database, is_over: &AtomicBool) -> Vec<Snapshot> {
    let conn = &mut database.connect();
    let mut snapshots = Vec::new();
    while !is_over.load(SeqCst) {
        let began = now_us();
        let waiters = sem::waiters(conn, "x").unwrap();
        let during: Range<i64> = began..now_us();
        let pids: Vec<i32> = waiters
            .iter()
            .filter_map(|waiter| waiter.session.pid)
            .collect();
        if !pids.is_empty() {
            snapshots.push(Snapshot { during, pids });
        }
        thread::sleep(Duration::from_millis(1));
    }
    snapshots
}

/// All tickets are available, and nobody is in the queue.
fn check_leaks(database: &Database) {
    let conn = &mut database.connect();
    let size = sem::list(conn).unwrap()["x"];
    let all = Request::new("x").tickets(size);
    let guard = SemaphoreTicket::require(database.connect(), all).unwrap();
    assert_eq!(guard.ticket().count(), size);
    // Whoever is killed in the queue of a semaphore that is just destroyed may leave a file there, which nobody locks.
    assert_eq!(Database::queued(conn), 0);
}

/// A number from the environment.
fn environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |number| number.parse().unwrap())
}

/// Microseconds by a clock that all processes share, and that nobody sets back.
fn now_us() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000
}
