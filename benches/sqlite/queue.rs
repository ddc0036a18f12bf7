//! Waiting in the queue: how much of the time tickets are in use, how long waits are beside a perfect queue, how fair it is, and
//! how much processor time it costs.

use crate::{Database, cpu_time};
use diesel_dbsemaphore::{Request, SemaphoreTicket};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

const TIME: Duration = Duration::from_secs(10);

pub(crate) fn run() {
    println!("queue: tickets, workers: in use, p99 of perfect, fairness, % of a core");
    for (tickets, workers) in [(1, 8), (3, 16), (3, 100)] {
        contend(tickets, workers);
    }
    idle(20);
}

/// How long a worker holds its ticket the next time: 10 to 30 ms.
struct Holds(u64);

impl Iterator for Holds {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Some(Duration::from_micros(10_000 + (self.0 >> 33) % 20_000))
    }
}

fn contend(tickets: u32, workers: u64) {
    let database = Database::with(tickets);
    let start = Barrier::new(usize::try_from(workers).unwrap() + 1);
    let (began, done) = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|number| {
                scope.spawn({
                    let (database, start) = (&database, &start);
                    move || work(database, start, Holds(number))
                })
            })
            .collect();
        start.wait();
        let began = (cpu_time(), Instant::now());
        let done: Vec<_> = workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect();
        (began, done)
    });
    let cpu = (cpu_time() - began.0).as_secs_f64() / began.1.elapsed().as_secs_f64() * 100.0;
    let held: Duration = done.iter().map(|(held, _)| *held).sum();
    let turns: Vec<f64> = done.iter().map(|(_, waits)| waits.len() as f64).collect();
    let (sum, squares): (f64, f64) = (
        turns.iter().sum(),
        turns.iter().map(|turns| turns * turns).sum(),
    );
    let waits: Vec<Duration> = done.into_iter().flat_map(|(_, waits)| waits).collect();
    println!(
        "{tickets:>3}, {workers:>3}: {:.3}, {:.2}, {:.4}, {cpu:.1} %; p99 {:?}",
        held.as_secs_f64() / TIME.as_secs_f64() / f64::from(tickets),
        p99(waits.clone()).as_secs_f64() / p99(perfect(tickets, workers)).as_secs_f64(),
        sum * sum / squares / turns.len() as f64,
        p99(waits),
    );
}

/// For how long the tickets were held, and each wait.
fn work(database: &Database, start: &Barrier, mut holds: Holds) -> (Duration, Vec<Duration>) {
    let mut conn = database.connect();
    drop(SemaphoreTicket::require(&mut conn, Request::new("x").wait_forever()).unwrap());
    let (mut held, mut waits) = (Duration::ZERO, Vec::new());
    start.wait();
    let end = Instant::now() + TIME;
    while Instant::now() < end {
        let joined = Instant::now();
        let ticket = SemaphoreTicket::require(&mut conn, Request::new("x").wait_forever()).unwrap();
        waits.push(joined.elapsed());
        let acquired = Instant::now();
        thread::sleep(holds.next().unwrap());
        held += acquired
            .elapsed()
            .min(end.saturating_duration_since(acquired));
        drop(ticket);
    }
    (held, waits)
}

/// The waits of a queue in which the next waiter has a ticket at once.
fn perfect(tickets: u32, workers: u64) -> Vec<Duration> {
    let mut available: BinaryHeap<_> = (0..tickets).map(|_| Reverse(Duration::ZERO)).collect();
    let mut holds: Vec<Holds> = (0..workers).map(Holds).collect();
    let mut queue: BinaryHeap<_> = (0..holds.len())
        .map(|worker| Reverse((Duration::ZERO, worker)))
        .collect();
    let mut waits = Vec::new();
    while let (Some(Reverse((joined, worker))), Some(Reverse(at))) = (queue.pop(), available.pop())
    {
        if joined > TIME {
            break;
        }
        let acquired = at.max(joined);
        waits.push(acquired - joined);
        let released = acquired + holds[worker].next().unwrap();
        available.push(Reverse(released));
        queue.push(Reverse((released, worker)));
    }
    waits
}

fn p99(mut waits: Vec<Duration>) -> Duration {
    waits.sort_unstable();
    waits[waits.len() * 99 / 100]
}

/// What waiters cost while nothing is released.
fn idle(waiters: u32) {
    let database = Database::with(1);
    let ticket = SemaphoreTicket::require(database.connect(), "x").unwrap();
    thread::scope(|scope| {
        for _ in 0..waiters {
            scope.spawn(|| {
                drop(
                    SemaphoreTicket::require(database.connect(), Request::new("x").wait_forever())
                        .unwrap(),
                )
            });
        }
        thread::sleep(Duration::from_secs(1));
        let began = cpu_time();
        thread::sleep(TIME);
        let cpu = (cpu_time() - began).as_secs_f64() / TIME.as_secs_f64() * 100.0;
        println!("{waiters} waiters, nothing is released: {cpu:.1} % of a core");
        drop(ticket);
    });
}
