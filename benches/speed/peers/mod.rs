//! Beside what people use instead, on the same server and in the same rounds.
//!
//! * django-dbsemaphore 0.1.1, from Python: its low-level call in a transaction, which commits, and its context manager,
//!   which starts a thread with a connection of its own for each ticket. Its time is Python's and Django's as well; that
//!   is what its users pay.
//! * `SELECT .. ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED` by hand, on a table with the index it needs, from Rust and
//!   Diesel as ours is; tried again each 10 ms.
//! * `pg_try_advisory_lock` over n keys, from a place that differs between clients; tried again each 10 ms. Held by
//!   the session, so not for those behind a pooler in transaction mode.
//! * For one ticket, `pg_advisory_xact_lock`, which waits: the least that PostgreSQL can do.
//!
//! `peers`: acquire and release when there are enough for all. `peers_queue`: workers that share tickets, as in the topic
//! `queue`. `peers_many`: one of many, and how fast each refuses if none is available; held are those with the lowest ids,
//! as they are where everybody acquires the first available one. `network`: as `peers`, through a proxy that delays each
//! direction, as the network of a data centre does. None of the others has a guard that survives timeouts, a number of
//! tickets that can be changed while they are in use, fencing, or several tickets at once: what is compared is speed.

mod python;

use crate::{
    acquire::{compare, rate_of},
    advisory::{ONE_ADVISORY, TRY_ADVISORY},
    contestants::{
        Contestant, FLOORS, GUARD, LOW_LEVEL, LOW_LEVEL_COMMITTED, ROUND_TRIPS, SKIP_LOCKED,
        SKIP_LOCKED_COMMITTED, WAITING,
    },
    kit::{Report, Row, Section, Spread, Stage, rate, rates, ratios},
    options::Options,
    queue::{Crew, Load, contend},
};
use diesel::connection::SimpleConnection;
use python::Python;
use std::time::{Duration, Instant};

const PYTHON: [(&str, &str); 2] = [
    ("django-dbsemaphore, low level", "low-level"),
    ("django-dbsemaphore, context manager", "context-manager"),
];

pub(crate) fn run(options: &Options, report: &mut Report) {
    let stage = Stage::new();
    stage.make("warm-up", 1000);
    let python = python(options, &stage);
    enough(options, &stage, python.as_ref(), "peers", report);
    queue(options, &stage, python.as_ref(), report);
    many(options, &stage, python.as_ref(), report);
}

/// Of the network, in each direction.
const DELAY: Duration = Duration::from_micros(250);

/// Acquire and release as in `peers`, over a network.
pub(crate) fn network(options: &Options, report: &mut Report) {
    let stage = Stage::new().behind_a_network(DELAY);
    let python = python(options, &stage);
    enough(options, &stage, python.as_ref(), "network", report);
}

fn python<'a>(options: &'a Options, stage: &Stage) -> Option<Python<'a>> {
    let python = options.python.as_ref();
    if python.is_none() {
        eprintln!("without --python, django-dbsemaphore is left out");
    }
    python.map(|program| Python::new(program, stage))
}

fn enough(
    options: &Options,
    stage: &Stage,
    python: Option<&Python<'_>>,
    name: &'static str,
    report: &mut Report,
) {
    let mut rows = Vec::new();
    for count in options.clients.iter().copied().filter(|&count| count <= 8) {
        let contestants: Vec<Contestant> = FLOORS
            .into_iter()
            .take(3)
            .chain([GUARD, LOW_LEVEL, LOW_LEVEL_COMMITTED])
            .chain([SKIP_LOCKED, SKIP_LOCKED_COMMITTED, TRY_ADVISORY])
            // Several would wait for each other.
            .chain((count == 1).then_some(ONE_ADVISORY))
            .collect();
        let mut clients = stage.clients(count, "x");
        let mut processes = Vec::new();
        let mut names: Vec<_> = contestants
            .iter()
            .map(|one| (one.name, one.floor))
            .collect();
        if let Some(python) = python {
            python.make("x", clients[0].tickets);
            for (name, how) in PYTHON {
                processes.push(python.clients(count, how, "x", "granted"));
                names.push((name, LOW_LEVEL_COMMITTED.floor));
            }
        }
        let mut go = |number: usize, time: Duration| match contestants.get(number) {
            Some(contestant) => rate_of(contestant, &mut clients, time),
            None => processes[number - contestants.len()].rate(time),
        };
        for number in 0..names.len() {
            go(number, options.slice / 4);
        }
        let rates = rates(options, names.len(), go);
        rows.extend(compare(count, &names, &rates));
    }
    let title = format!(
        "Acquire and release beside others, a round trip takes {:.2} ms; {}",
        round_trip(stage).as_secs_f64() * 1e3,
        options.rounds_of_slices()
    );
    report.add(stage, Section { name, title, rows });
}

/// Of a statement that does nothing, the median.
fn round_trip(stage: &Stage) -> Duration {
    let mut conn = stage.client(0, "x", 0).conn;
    let mut times: Vec<_> = (0..199)
        .map(|_| {
            let sent = Instant::now();
            conn.batch_execute("SELECT 1").unwrap();
            sent.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// So many tickets, of which the first so many are held.
const MANY: [(u32, u32); 4] = [
    (1000, 0),
    (1000, 1000),
    (100_000, 90_000),
    (100_000, 100_000),
];

fn many(options: &Options, stage: &Stage, python: Option<&Python<'_>>, report: &mut Report) {
    let mut rows = Vec::new();
    for (tickets, held) in MANY
        .into_iter()
        .filter(|&(tickets, _)| tickets <= options.many)
    {
        stage.make("many", tickets);
        let mut holder = stage.database.connect();
        let hold = |table: &str, those: &str| {
            format!(
                "SELECT FROM {table} WHERE id IN \
                     (SELECT id FROM {table} WHERE {those} ORDER BY id LIMIT {held}) FOR UPDATE;"
            )
        };
        let ours = "semaphore_id = (SELECT id FROM dbsemaphore.semaphore WHERE name = 'many')";
        let mut statements = format!(
            "BEGIN; {} {} SELECT pg_advisory_lock(key) FROM generate_series(0, least({held}, 1000) - 1) AS key;",
            hold("dbsemaphore.ticket", ours),
            hold("slots", "semaphore = 'many'")
        );
        let is_full = held == tickets;
        let contestants: Vec<Contestant> = [FLOORS[0], GUARD, LOW_LEVEL, SKIP_LOCKED]
            .into_iter()
            .chain([SKIP_LOCKED_COMMITTED])
            // A round trip for each that is held.
            .chain((tickets <= 1000).then_some(TRY_ADVISORY))
            .collect();
        let mut names: Vec<_> = contestants.iter().map(|one| one.name).collect();
        let mut processes = Vec::new();
        if let Some(python) = python {
            python.make("many", tickets);
            let (name, how) = PYTHON[0];
            let expected = if is_full { "refused" } else { "granted" };
            processes.push(python.clients(1, how, "many", expected));
            names.push(name);
            statements += &hold("dbsemaphore_ticket", "semaphore_name = 'many'");
        }
        holder.batch_execute(&statements).unwrap();

        let mut clients = [stage.client(0, "many", tickets)];
        let mut go = |number: usize, time: Duration| match contestants.get(number) {
            Some(contestant) => rate(&mut clients, time, |client| {
                let granted = (contestant.turn)(client, &mut || ());
                assert_eq!(granted, !is_full || contestant.name == ROUND_TRIPS);
            }),
            None => processes[number - contestants.len()].rate(time),
        };
        for number in 0..names.len() {
            go(number, options.slice / 4);
        }
        let rates = rates(options, names.len(), go);
        rows.extend(names.iter().zip(&rates).map(|(name, each)| {
            Row::new(name)
                .number("tickets", tickets)
                .number("held", held)
                .spread("time_of_guard", ratios(&rates[1], each))
                .spread("time_of_round_trips", ratios(&rates[0], each))
                .spread("us", Spread::of(each.iter().map(|rate| 1e6 / rate)))
        }));
        holder
            .batch_execute("ROLLBACK; SELECT pg_advisory_unlock_all()")
            .unwrap();
    }
    let title =
        "One of many tickets, when the first so many are held; a refusal, when all are".to_owned();
    let name = "peers_many";
    report.add(stage, Section { name, title, rows });
}

fn queue(options: &Options, stage: &Stage, python: Option<&Python<'_>>, report: &mut Report) {
    let mut rows = Vec::new();
    for (tickets, workers) in [(1, 8), (3, 16)] {
        let load = Load {
            tickets,
            workers,
            hold: Duration::from_millis(20),
        };
        stage.make("x", tickets);
        let contestants = [WAITING, SKIP_LOCKED, TRY_ADVISORY];
        let contestants = contestants
            .into_iter()
            .chain((tickets == 1).then_some(ONE_ADVISORY));
        let mut crews: Vec<_> = contestants
            .map(|one| (one.name, Crew::threads(stage, load, one.turn)))
            .collect();
        if let Some(python) = python {
            python.make("x", tickets);
            let crew = Crew::processes(load, |number| python.worker(number, load));
            crews.push((PYTHON[0].0, crew));
        }
        rows.extend(contend(stage, options, load, crews));
    }
    let title = format!(
        "Workers that share tickets; those that do not wait in the queue try again each 10 ms; {} s a round",
        options.time.as_secs()
    );
    let name = "peers_queue";
    report.add(stage, Section { name, title, rows });
}
