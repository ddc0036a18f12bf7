use super::Load;
use crate::{
    contestants::{self, Turn},
    kit::{Client, Conn, Dice, Server, Stage, this_program},
};
use diesel::Connection;
use std::{
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

/// What one worker has seen.
pub(crate) struct Shift {
    pub(crate) waits: Vec<Duration>,
    pub(crate) held: Duration,
}

pub(crate) struct Worker {
    client: Client,
    dice: Dice,
    hold: Duration,
    turn: Turn,
}

impl Worker {
    /// Has had its turn once, of a semaphore with enough tickets for everybody, so that everything is prepared.
    fn new(mut client: Client, hold: Duration, turn: Turn) -> Self {
        let (semaphore, tickets) = (client.semaphore, client.tickets);
        (client.semaphore, client.tickets) = ("warm-up", 1000);
        assert!(turn(&mut client, &mut || ()));
        (client.semaphore, client.tickets) = (semaphore, tickets);
        let dice = Dice::new(client.number.unsigned_abs());
        Self {
            client,
            dice,
            hold,
            turn,
        }
    }

    fn work(&mut self, time: Duration) -> Shift {
        let mut shift = Shift {
            waits: Vec::new(),
            held: Duration::ZERO,
        };
        let end = Instant::now() + time;
        while Instant::now() < end {
            let asked = Instant::now();
            let hold = self.dice.about(self.hold);
            let mut work = || {
                let got = Instant::now();
                shift.waits.push(got - asked);
                thread::sleep(hold);
                shift.held += got.elapsed().min(end.saturating_duration_since(got));
            };
            while !(self.turn)(&mut self.client, &mut work) {
                thread::sleep(Duration::from_millis(10));
            }
        }
        shift
    }
}

/// A worker in a process of its own: says when it is ready, and for each line that it is told, of so many microseconds,
/// what it has seen.
pub(crate) struct Hand {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Drop for Hand {
    fn drop(&mut self) {
        // It ends when nobody can tell it anything any more.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Those who share the tickets, all in the same way.
pub(crate) enum Crew {
    Threads(Vec<Worker>),
    Processes(Vec<Hand>),
}

impl Crew {
    pub(crate) fn threads(stage: &Stage, load: Load, turn: Turn) -> Self {
        let workers = (0..load.workers as usize).map(|number| {
            let client = stage.client(number, "x", load.tickets);
            Worker::new(client, load.hold, turn)
        });
        Self::Threads(workers.collect())
    }

    pub(crate) fn processes(load: Load, command: impl Fn(u32) -> Command) -> Self {
        let mut hands: Vec<Hand> = (0..load.workers)
            .map(|number| {
                let mut child = command(number)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                let said = BufReader::new(child.stdout.take().unwrap()).lines();
                Hand { child, said }
            })
            .collect();
        for hand in &mut hands {
            assert_eq!(hand.said.next().expect("a worker").unwrap(), "ready");
        }
        Self::Processes(hands)
    }

    /// Returns what they have seen, and the CPU time that the server's sessions took meanwhile.
    pub(crate) fn work(&mut self, server: &Server, time: Duration) -> (Vec<Shift>, Duration) {
        let meanwhile = || {
            let before = server.cpu_time();
            thread::sleep(time);
            server.cpu_time().saturating_sub(before)
        };
        match self {
            Self::Threads(workers) => {
                let start = Barrier::new(workers.len() + 1);
                thread::scope(|scope| {
                    let at_work: Vec<_> = workers
                        .iter_mut()
                        .map(|worker| {
                            let start = &start;
                            scope.spawn(move || {
                                start.wait();
                                worker.work(time)
                            })
                        })
                        .collect();
                    start.wait();
                    let cpu = meanwhile();
                    let shifts = at_work.into_iter().map(|worker| worker.join().unwrap());
                    (shifts.collect(), cpu)
                })
            }
            Self::Processes(hands) => {
                for hand in &mut *hands {
                    let told = hand.child.stdin.as_mut().unwrap();
                    writeln!(told, "{}", time.as_micros()).unwrap();
                }
                let cpu = meanwhile();
                let shifts = hands
                    .iter_mut()
                    .map(|hand| parse(&hand.said.next().expect("a worker").unwrap()));
                (shifts.collect(), cpu)
            }
        }
    }
}

/// How long it held, and how long it waited each time, in microseconds.
fn parse(line: &str) -> Shift {
    let mut times = line
        .split_whitespace()
        .map(|word| Duration::from_micros(word.parse().unwrap()));
    Shift {
        held: times.next().unwrap(),
        waits: times.collect(),
    }
}

/// A process that takes its turns as a contestant of that name.
pub(crate) fn command(stage: &Stage, number: u32, load: Load, contestant: &str) -> Command {
    let mut command = this_program();
    command.args(["worker", &stage.database.url(), contestant]);
    command.args(
        [
            u128::from(number),
            u128::from(load.tickets),
            load.hold.as_micros(),
        ]
        .map(|word| word.to_string()),
    );
    command
}

/// What that process does.
pub(crate) fn be_a_worker(words: &[String]) -> ExitCode {
    let [url, contestant, number, tickets, hold] = words else {
        eprintln!("not for use by hand");
        return ExitCode::FAILURE;
    };
    let client = Client {
        number: number.parse().unwrap(),
        conn: Conn::establish(url).unwrap(),
        pool: None,
        semaphore: "x",
        tickets: tickets.parse().unwrap(),
    };
    let hold = Duration::from_micros(hold.parse().unwrap());
    let turn = contestants::OURS
        .into_iter()
        .find(|one| one.name == contestant)
        .unwrap()
        .turn;
    let mut worker = Worker::new(client, hold, turn);
    println!("ready");
    for time in std::io::stdin().lines() {
        let shift = worker.work(Duration::from_micros(time.unwrap().parse().unwrap()));
        let times = std::iter::once(shift.held).chain(shift.waits);
        let words: Vec<String> = times.map(|time| time.as_micros().to_string()).collect();
        println!("{}", words.join(" "));
    }
    ExitCode::SUCCESS
}
