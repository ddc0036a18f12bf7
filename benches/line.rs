//! Waiting in line beside polling every 10 ms: W workers share N tickets, each takes one, holds it for about H
//! milliseconds (half to one and a half), and comes back for the next.
//!
//! `cargo bench --bench line -- [--processes] [SECONDS] [N,W,H ..]`. For each: the share of time that tickets were in use,
//! the wait's p50 and p99, Jain's index of acquisitions per worker (1 is perfectly fair), the server's CPU in per cent of
//! one core, and the p99 of a simulated perfect line with the same hold times and 1 ms of hand-off. Workers are threads,
//! or processes, with a connection each that has served one request before the clock starts.

#![allow(clippy::unwrap_used, clippy::panic)]

use diesel::{Connection, PgConnection};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use stand::{Database, Server, percentile};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    env,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
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

/// What one worker has seen.
struct Shift {
    waits: Vec<Duration>,
    held: Duration,
}

struct Worker {
    conn: PgConnection,
    dice: Dice,
    hold: Duration,
    strategy: Strategy,
    time: Duration,
}

impl Worker {
    fn new(url: &str, number: u32, hold: Duration, strategy: Strategy, time: Duration) -> Self {
        let mut conn = PgConnection::establish(url).unwrap();
        let request = Request::new("warm-up").wait_forever();
        drop(SemaphoreTicket::require(&mut conn, request).unwrap());
        let dice = Dice(u64::from(number) + 1);
        Self {
            conn,
            dice,
            hold,
            strategy,
            time,
        }
    }

    fn work(mut self) -> Shift {
        let request = match self.strategy {
            Strategy::Line => Request::new("x").wait_forever(),
            Strategy::Poll => Request::new("x"),
        };
        let mut shift = Shift {
            waits: Vec::new(),
            held: Duration::ZERO,
        };
        let end = Instant::now() + self.time;
        while Instant::now() < end {
            let asked = Instant::now();
            let guard = loop {
                match SemaphoreTicket::acquire(&mut self.conn, request).unwrap() {
                    Some(guard) => break guard,
                    None => thread::sleep(Duration::from_millis(10)),
                }
            };
            let got = Instant::now();
            shift.waits.push(got - asked);
            thread::sleep(self.dice.hold(self.hold));
            shift.held += got.elapsed().min(end.saturating_duration_since(got));
            drop(guard);
        }
        shift
    }
}

/// Starts the workers, and when they are ready the clock; returns their shifts and the server's CPU time meanwhile.
fn employ(
    server: &Server,
    load: Load,
    time: Duration,
    hire: impl Fn(u32) -> Worker + Sync,
) -> (Vec<Shift>, Duration) {
    let start = Barrier::new(load.workers as usize + 1);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..load.workers)
            .map(|number| {
                let (start, hire) = (&start, &hire);
                scope.spawn(move || {
                    let worker = hire(number);
                    start.wait();
                    worker.work()
                })
            })
            .collect();
        start.wait();
        let before = server.cpu_time();
        thread::sleep(time);
        let cpu = server.cpu_time() - before;
        let shifts = workers.into_iter().map(|worker| worker.join().unwrap());
        (shifts.collect(), cpu)
    })
}

/// The same with processes: each says when it is ready, starts when told, and says at the end what it has seen.
fn employ_processes(
    server: &Server,
    load: Load,
    time: Duration,
    words: impl Fn(u32) -> Vec<String>,
) -> (Vec<Shift>, Duration) {
    let mut workers: Vec<_> = (0..load.workers)
        .map(|number| {
            let mut child = Command::new(env::current_exe().unwrap())
                .arg("worker")
                .args(words(number))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut said = BufReader::new(child.stdout.take().unwrap());
            said.read_line(&mut String::new()).unwrap();
            (child, said)
        })
        .collect();
    for (child, _) in &mut workers {
        writeln!(child.stdin.as_mut().unwrap(), "go").unwrap();
    }
    let before = server.cpu_time();
    thread::sleep(time);
    let cpu = server.cpu_time() - before;
    let shifts = workers.iter_mut().map(|(child, said)| {
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        child.wait().unwrap();
        let mut times = line
            .split_whitespace()
            .map(|micros| Duration::from_micros(micros.parse().unwrap()));
        Shift {
            held: times.next().unwrap(),
            waits: times.collect(),
        }
    });
    (shifts.collect(), cpu)
}

/// The other end of `employ_processes`.
fn be_a_worker(words: &[String]) {
    let [url, number, hold, strategy, time] = words else {
        panic!("not for use by hand")
    };
    let micros = |word: &str| Duration::from_micros(word.parse().unwrap());
    let strategy = if strategy == "line" {
        Strategy::Line
    } else {
        Strategy::Poll
    };
    let worker = Worker::new(
        url,
        number.parse().unwrap(),
        micros(hold),
        strategy,
        micros(time),
    );
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let shift = worker.work();
    print!("{}", shift.held.as_micros());
    for wait in shift.waits {
        print!(" {}", wait.as_micros());
    }
    println!();
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
    processes: bool,
) -> Outcome {
    sem::make(&mut database.connect(), "x", load.tickets).unwrap();
    let (shifts, cpu) = if processes {
        let label = if strategy == Strategy::Line {
            "line"
        } else {
            "poll"
        };
        employ_processes(server, load, time, |number| {
            let (hold, time) = (load.hold.as_micros(), time.as_micros());
            vec![
                database.url(),
                number.to_string(),
                hold.to_string(),
                label.to_owned(),
                time.to_string(),
            ]
        })
    } else {
        let hire = |number| Worker::new(&database.url(), number, load.hold, strategy, time);
        employ(server, load, time, hire)
    };
    let turns = shifts.iter().map(|shift| shift.waits.len() as f64);
    let (sum, squares) = turns.fold((0.0, 0.0), |(sum, squares), turns| {
        (sum + turns, squares + turns * turns)
    });
    let held: Duration = shifts.iter().map(|shift| shift.held).sum();
    Outcome {
        in_use: held.as_secs_f64() / (time.as_secs_f64() * f64::from(load.tickets)),
        fairness: sum * sum / (squares * shifts.len() as f64),
        waits: shifts.into_iter().flat_map(|shift| shift.waits).collect(),
        server: cpu.as_secs_f64() / time.as_secs_f64(),
    }
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

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "worker") {
        return be_a_worker(&words[1..]);
    }
    let processes = words.iter().any(|word| word == "--processes");
    let mut seconds = 10;
    let mut loads = Vec::new();
    for word in words.iter().filter(|word| !word.starts_with('-')) {
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
    sem::make(&mut database.connect(), "warm-up", 1000).unwrap();
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
            let mut outcome = run(&server, &database, load, strategy, time, processes);
            let millis = |time: Duration| time.as_secs_f64() * 1000.0;
            println!(
                "{:>7} {:>7} {:>7} {:<8} {:>6.3} {:>8.1} {:>8.1} {:>9.1} {:>6.3} {:>6.1}",
                load.tickets,
                load.workers,
                load.hold.as_millis(),
                label,
                outcome.in_use,
                millis(percentile(&mut outcome.waits, 0.5)),
                millis(percentile(&mut outcome.waits, 0.99)),
                millis(percentile(&mut perfect(load, time), 0.99)),
                outcome.fairness,
                outcome.server * 100.0
            );
        }
    }
}
