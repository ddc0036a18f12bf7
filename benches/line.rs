//! Waiting in line beside polling every 10 ms: W threads share N tickets, each takes one, holds it for about H
//! milliseconds (half to one and a half), and comes back for the next.
//!
//! `cargo bench --bench line -- [SECONDS] [N,W,H ..]`. For each: the share of time that tickets were in use, the wait's
//! p50 and p99, Jain's index of acquisitions per worker (1 is perfectly fair), the server's CPU in per cent of one core,
//! and the p99 of a simulated perfect line with the same hold times and 1 ms of hand-off.

#![allow(clippy::unwrap_used)]

use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use stand::{Database, Server};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    env, fs,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

#[derive(Clone, Copy)]
struct Load {
    tickets: u32,
    workers: u32,
    hold: Duration,
}

#[derive(Clone, Copy, PartialEq)]
enum Strategy {
    Line,
    Poll,
}

/// The same numbers in each run.
struct Dice(u64);

impl Dice {
    fn hold(&mut self, mean: Duration) -> Duration {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        mean.mul_f64(0.5 + (self.0 >> 33) as f64 / f64::from(1u32 << 31))
    }
}

struct Outcome {
    in_use: f64,
    waits: Vec<Duration>,
    fairness: f64,
    server: f64,
}

fn run(
    server: &Server,
    database: &Database,
    load: Load,
    strategy: Strategy,
    time: Duration,
) -> Outcome {
    sem::make(&mut database.connect(), "x", load.tickets).unwrap();
    let start = Barrier::new(load.workers as usize + 1);
    let (waits, turns, held, cpu) = thread::scope(|scope| {
        let workers: Vec<_> = (0..load.workers)
            .map(|number| {
                let start = &start;
                let mut conn = database.connect();
                scope.spawn(move || {
                    let mut dice = Dice(u64::from(number) + 1);
                    let request = match strategy {
                        Strategy::Line => Request::new("x").wait_forever(),
                        Strategy::Poll => Request::new("x"),
                    };
                    let (mut waits, mut turns, mut held) = (Vec::new(), 0u32, Duration::ZERO);
                    start.wait();
                    let end = Instant::now() + time;
                    while Instant::now() < end {
                        let asked = Instant::now();
                        let guard = loop {
                            match SemaphoreTicket::acquire(&mut conn, request).unwrap() {
                                Some(guard) => break guard,
                                None => thread::sleep(Duration::from_millis(10)),
                            }
                        };
                        let got = Instant::now();
                        waits.push(got - asked);
                        thread::sleep(dice.hold(load.hold));
                        held += got.elapsed().min(end.saturating_duration_since(got));
                        drop(guard);
                        turns += 1;
                    }
                    (waits, turns, held)
                })
            })
            .collect();
        start.wait();
        let before = cpu_of(server);
        thread::sleep(time);
        let cpu = cpu_of(server) - before;
        let mut all = (Vec::new(), Vec::new(), Duration::ZERO);
        for worker in workers {
            let (waits, turns, held) = worker.join().unwrap();
            all.0.extend(waits);
            all.1.push(f64::from(turns));
            all.2 += held;
        }
        (all.0, all.1, all.2, cpu)
    });
    let (sum, squares) = turns.iter().fold((0.0, 0.0), |(sum, squares), turns| {
        (sum + turns, squares + turns * turns)
    });
    Outcome {
        in_use: held.as_secs_f64() / (time.as_secs_f64() * f64::from(load.tickets)),
        waits,
        fairness: sum * sum / (squares * turns.len() as f64),
        server: cpu.as_secs_f64() / time.as_secs_f64(),
    }
}

/// User and system time of the postmaster's children that are there.
fn cpu_of(server: &Server) -> Duration {
    let ticks: u64 = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
        .filter_map(|stat| {
            let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
            (fields[1] == server.pid().to_string())
                .then(|| fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
        })
        .sum();
    // Linux counts in hundredths of a second.
    Duration::from_millis(ticks * 10)
}

/// The waits of a line in which a ticket that comes back is with the next in line 1 ms later.
fn perfect(load: Load, time: Duration) -> Vec<Duration> {
    let hand_off = Duration::from_millis(1);
    let mut free: BinaryHeap<Reverse<Duration>> =
        (0..load.tickets).map(|_| Reverse(Duration::ZERO)).collect();
    let mut dice: Vec<Dice> = (0..load.workers)
        .map(|number| Dice(u64::from(number) + 1))
        .collect();
    let mut line: BinaryHeap<Reverse<(Duration, usize)>> = (0..dice.len())
        .map(|number| Reverse((Duration::ZERO, number)))
        .collect();
    let mut waits = Vec::new();
    while let (Some(Reverse((joined, worker))), Some(Reverse(at))) = (line.pop(), free.pop()) {
        if joined > time {
            break;
        }
        let got = if at > joined { at + hand_off } else { joined };
        waits.push(got - joined);
        let done = got + dice[worker].hold(load.hold);
        free.push(Reverse(done));
        line.push(Reverse((done, worker)));
    }
    waits
}

fn percentile(waits: &mut [Duration], share: f64) -> f64 {
    waits.sort_unstable();
    waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0
}

fn main() {
    let mut seconds = 10;
    let mut loads = Vec::new();
    for word in env::args().skip(1).filter(|word| !word.starts_with('-')) {
        let numbers: Vec<u32> = word
            .split(',')
            .map(|number| number.parse().unwrap())
            .collect();
        match numbers[..] {
            [tickets, workers, hold] => loads.push(Load {
                tickets,
                workers,
                hold: Duration::from_millis(hold.into()),
            }),
            _ => seconds = numbers[0],
        }
    }
    if loads.is_empty() {
        loads = [(1, 8, 20), (3, 16, 20), (3, 100, 20), (100, 110, 50)]
            .map(|(tickets, workers, hold)| Load {
                tickets,
                workers,
                hold: Duration::from_millis(hold),
            })
            .to_vec();
    }
    let time = Duration::from_secs(seconds.into());
    let server = Server::start_with(&[]);
    let database = server.create_database();
    sem::run_migrations(&mut database.connect()).unwrap();
    println!(
        "{:>7} {:>7} {:>7} {:<8} {:>6} {:>8} {:>8} {:>9} {:>6} {:>6}",
        "tickets",
        "workers",
        "hold ms",
        "",
        "in use",
        "p50 ms",
        "p99 ms",
        "perfect",
        "Jain",
        "CPU %"
    );
    for load in loads {
        for (strategy, label) in [(Strategy::Line, "line"), (Strategy::Poll, "polling")] {
            let mut outcome = run(&server, &database, load, strategy, time);
            println!(
                "{:>7} {:>7} {:>7} {:<8} {:>6.3} {:>8.1} {:>8.1} {:>9.1} {:>6.3} {:>6.1}",
                load.tickets,
                load.workers,
                load.hold.as_millis(),
                label,
                outcome.in_use,
                percentile(&mut outcome.waits, 0.5),
                percentile(&mut outcome.waits, 0.99),
                percentile(&mut perfect(load, time), 0.99),
                outcome.fairness,
                outcome.server * 100.0
            );
        }
    }
}
