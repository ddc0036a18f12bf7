//! Compares waiting in the queue with trying again every 10 ms. W workers share N tickets. Each acquires one, holds it for about
//! H milliseconds (half to one and a half), and requests the next one.
//!
//! For each: the share of time that tickets were in use; the p99 of waits beside that of a simulated perfect queue
//! with the same hold times, in which the next waiter has a ticket 1 ms after its release; Jain's index of turns per
//! worker (1 is perfectly fair); the CPU time of the server's sessions, in per cent of one core. Workers are threads or
//! processes, with a connection each on which everything is prepared before the clock starts; all of them come at once.
//!
//! The holders sleep: what real work does to the processors is not in here.

mod perfect;
mod worker;

use crate::{
    contestants::{Contestant, GUARD, WAITING},
    kit::{Report, Row, Section, Spread, Stage, interleave},
    options::Options,
};
use perfect::perfect;
use stand::percentile;
use std::{str::FromStr, time::Duration};
pub(crate) use worker::{Crew, Shift, be_a_worker};

/// Who wants what, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) tickets: u32,
    pub(crate) workers: u32,
    pub(crate) hold: Duration,
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Vec<u32> = text
            .split(',')
            .map_while(|number| number.parse().ok())
            .collect();
        match numbers[..] {
            [tickets, workers, hold] => Ok(Self {
                tickets,
                workers,
                hold: Duration::from_millis(hold.into()),
            }),
            _ => Err(format!("{text} is not of the form 3,16,20")),
        }
    }
}

const LOADS: [(u32, u32, u64); 7] = [
    (1, 8, 20),
    (3, 16, 20),
    (3, 100, 20),
    (100, 110, 50),
    // So short that the hand-over from head to head counts.
    (3, 16, 1),
    (10, 32, 1),
    (40, 80, 5),
];
const WAYS: [(&str, Contestant); 2] = [("queue", WAITING), ("polling", GUARD)];

pub(crate) fn run(options: &Options, report: &mut Report) {
    let stage = Stage::new();
    stage.make("warm-up", 1000);
    let loads = if options.loads.is_empty() {
        LOADS
            .map(|(tickets, workers, hold)| Load {
                tickets,
                workers,
                hold: Duration::from_millis(hold),
            })
            .to_vec()
    } else {
        options.loads.clone()
    };
    let rows = loads.into_iter().flat_map(|load| {
        stage.make("x", load.tickets);
        let crews = WAYS.map(|(name, contestant)| {
            let crew = if options.processes {
                Crew::processes(load, |number| {
                    worker::command(&stage, number, load, contestant.name)
                })
            } else {
                Crew::threads(&stage, load, contestant.turn)
            };
            (name, crew)
        });
        contend(&stage, options, load, crews.into())
    });
    let rows = rows.collect();
    let title = format!(
        "Waiting in the queue beside polling every 10 ms; {} rounds of {} s",
        options.rounds.min(ROUNDS),
        options.time.as_secs()
    );
    let name = "queue";
    report.add(&stage, Section { name, title, rows });
}

/// At most: they are long.
pub(crate) const ROUNDS: usize = 5;

/// Lets the crews work in turn, and says how they did.
pub(crate) fn contend(
    stage: &Stage,
    options: &Options,
    load: Load,
    mut crews: Vec<(&str, Crew)>,
) -> Vec<Row> {
    let time = options.time;
    let done = interleave(options.rounds.min(ROUNDS), crews.len(), |number| {
        let (shifts, cpu) = crews[number].1.work(&stage.server, time);
        Outcome::of(load, time, shifts, cpu)
    });
    let rows = crews.iter().zip(&done).map(|((name, _), outcomes)| {
        let spread = |figure: fn(&Outcome) -> f64| Spread::of(outcomes.iter().map(figure));
        Row::new(name)
            .number("tickets", load.tickets)
            .number("workers", load.workers)
            .number("hold_ms", load.hold.as_millis() as f64)
            .spread("in_use", spread(|outcome| outcome.in_use))
            .spread("p99_of_perfect", spread(|outcome| outcome.p99_of_perfect))
            .spread("fairness", spread(|outcome| outcome.fairness))
            .spread("server_cpu", spread(|outcome| outcome.server_cpu))
            .spread("p50_ms", spread(|outcome| outcome.p50 * 1e3))
            .spread("p99_ms", spread(|outcome| outcome.p99 * 1e3))
    });
    rows.collect()
}

/// What came of one crew's work.
struct Outcome {
    in_use: f64,
    p50: f64,
    p99: f64,
    p99_of_perfect: f64,
    fairness: f64,
    server_cpu: f64,
}

impl Outcome {
    fn of(load: Load, time: Duration, shifts: Vec<Shift>, cpu: Duration) -> Self {
        let turns = shifts.iter().map(|shift| shift.waits.len() as f64);
        let (sum, squares) = turns.fold((0.0, 0.0), |(sum, squares), turns| {
            (sum + turns, squares + turns * turns)
        });
        let held: Duration = shifts.iter().map(|shift| shift.held).sum();
        let workers = shifts.len() as f64;
        let mut waits: Vec<Duration> = shifts.into_iter().flat_map(|shift| shift.waits).collect();
        let p99 = percentile(&mut waits, 0.99).as_secs_f64();
        Self {
            in_use: held.as_secs_f64() / (time.as_secs_f64() * f64::from(load.tickets)),
            p50: percentile(&mut waits, 0.5).as_secs_f64(),
            p99,
            p99_of_perfect: p99 / percentile(&mut perfect(load, time), 0.99).as_secs_f64(),
            fairness: sum * sum / (squares * workers),
            server_cpu: cpu.as_secs_f64() / time.as_secs_f64() * 100.0,
        }
    }
}
