//! `faults [SECONDS [SEED [KIND,KIND .. [SABOTAGE]]]]`: a fleet of processes works with a few semaphores while everything goes wrong
//! that can, drawn from a seed; a witness that doesn't use the library, and the workers' own logs, say whether more held
//! a ticket than there were, or one leaked. Exit code 1 if so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod arena;
mod fleet;
mod history;
mod inject;
mod kind;
mod log;
mod order;
mod report;
mod sabotage;
mod session;
mod witness;
mod worker;

use arena::{Arena, Place, SEMAPHORES};
use diesel::{QueryableByName, RunQueryDsl, sql_types::BigInt};
use fleet::Fleet;
use history::History;
use inject::Injector;
use kind::{Draws, Kind, LANES};
use log::{Event, Time};
use report::Own;
use sabotage::Sabotage;
use std::{
    env,
    path::Path,
    process::ExitCode,
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [role, folder, name, place, seed] = &words[..]
        && role == "worker"
    {
        let place = match place.as_str() {
            "here" => Place::Here,
            "pooler" => Place::BehindPooler,
            number => Place::Afar(number.parse().unwrap()),
        };
        worker::Worker::new(Path::new(folder), name, place, seed.parse().unwrap()).run();
        return ExitCode::SUCCESS;
    }
    let word = |position: usize| words.get(position).filter(|word| !word.is_empty());
    let seconds = word(0).map_or(60, |word| word.parse().expect("seconds"));
    let seed = word(1).map_or(1, |word| word.parse().expect("a seed"));
    let kinds: Vec<Kind> = match word(2).map(String::as_str) {
        None | Some("all") => Kind::ALL.map(|(kind, _)| kind).to_vec(),
        Some(words) => words.split(',').map(kind_named).collect(),
    };
    let sabotage = word(3).map(|word| Sabotage::named(word).expect("a sabotage of that name"));
    if run(Duration::from_secs(seconds), seed, kinds, sabotage) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn kind_named(word: &str) -> Kind {
    let all = Kind::ALL.iter().map(|(kind, _)| *kind);
    let found = all.clone().find(|kind| kind.word() == word);
    found.unwrap_or_else(|| {
        let known: Vec<String> = all.map(Kind::word).collect();
        panic!("no fault {word:?}; there are {}", known.join(", "))
    })
}

fn run(time: Duration, seed: u64, mut kinds: Vec<Kind>, sabotage: Option<Sabotage>) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let arena = Arena::open(folder, sabotage);
    kinds.retain(|kind| {
        let known = arena.knows(*kind);
        if !known {
            println!("this server has no {}", kind.title());
        }
        known
    });
    let arena = RwLock::new(arena);
    let mut places = vec![Place::Here; 9];
    places.extend([Place::BehindPooler; 3]);
    if nix::unistd::Uid::effective().is_root() {
        places.extend([Place::Afar(0), Place::Afar(1)]);
    } else {
        println!("not root: no link goes down");
        kinds.retain(|kind| *kind != Kind::LinkDown);
    }
    let fleet = Fleet::start(folder, seed, &places);
    let (over, all_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let faults = Mutex::new(Vec::new());
    let violations = Mutex::new(Vec::new());
    let injector = Injector {
        folder,
        fleet: &fleet,
        arena: &arena,
        faults: &faults,
        violations: &violations,
        over: &over,
    };
    println!("{} workers, seed {seed}, {time:?}", places.len());

    let mut sight = thread::scope(|scope| {
        let witness = scope.spawn(|| witness::watch(folder, &all_over));
        let lanes: Vec<_> = (0..LANES.len())
            .filter_map(|lane| Draws::new(seed, lane, &kinds).map(|draws| (lane, draws)))
            .map(|(lane, draws)| {
                let injector = &injector;
                scope.spawn(move || injector.run(lane, draws))
            })
            .collect();
        let end = Instant::now() + time;
        while lanes.iter().any(|lane| !lane.is_finished()) {
            // A lane that ends by itself has panicked: then there is nothing more to be learned.
            if Instant::now() >= end || lanes.iter().any(|lane| lane.is_finished()) {
                over.store(true, SeqCst);
            }
            fleet.look_after(true);
            thread::sleep(Duration::from_millis(5));
        }
        for lane in lanes {
            if lane.join().is_err() {
                let failed = "the suite itself failed, see above".to_owned();
                violations.lock().unwrap().push(failed);
            }
        }
        std::fs::write(folder.join("stop"), "").unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        let mut running = fleet.look_after(false);
        while !running.is_empty() && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
            running = fleet.look_after(false);
        }
        for name in running {
            let log = log::read(&name.log(folder));
            let text = format!("{name:?} never returned from {:?}", log.last());
            violations.lock().unwrap().push(text);
        }
        all_over.store(true, SeqCst);
        witness.join().unwrap()
    });

    let mut violations = violations.lock().unwrap().clone();
    violations.append(&mut sight.violations);
    {
        let arena = arena.read().unwrap_or_else(PoisonError::into_inner);
        violations.extend(arena.rearranged());
        violations.extend(leftovers(&arena));
    }

    let mut operations = Vec::new();
    let mut own = Vec::new();
    let present = fleet.present();
    for (name, died) in fleet.deaths() {
        let log = log::read(&name.log(folder));
        // Those that were there at the end: did they end well?
        let is_last = present.iter().any(|(last, _)| *last == name);
        let crashed = matches!(log.last(), Some((_, Event::Does(_))));
        if is_last && !crashed && !log.iter().any(|(_, event)| *event == Event::Healthy) {
            violations.push(format!(
                "{name:?} lost a connection of its pool: {:?}",
                log.last()
            ));
        }
        own.extend(done_by_itself(&log));
        operations.extend(history::operations(name, &log, died));
    }
    let history = History {
        operations,
        faults: faults.lock().unwrap().clone(),
        pauses: fleet.pauses(),
        barred: sight.barred,
        sizes: SEMAPHORES
            .iter()
            .filter(|(name, _)| *name != "many")
            .map(|(name, size)| ((*name).to_owned(), *size as usize))
            .collect(),
    };
    violations.extend(history.violations());
    println!(
        "the witness looked {} times; most held at once: {:?}",
        sight.looks, sight.most_held
    );
    report::print(&history, &own, &violations);
    violations.is_empty()
}

/// A panic gives the ticket back while it unwinds; after a crash there is nobody to write down when.
fn done_by_itself(log: &[(Time, Event)]) -> impl Iterator<Item = Own> {
    log.iter()
        .enumerate()
        .filter_map(|(position, (at, event))| {
            let Event::Does(what) = event else {
                return None;
            };
            let back = log[position..]
                .iter()
                .find(|(_, event)| *event == Event::Left);
            Some(if what == "panic" {
                Own {
                    kind: Kind::Panic,
                    free_after: back.map(|(back, _)| *back - *at),
                }
            } else {
                Own {
                    kind: Kind::Crash,
                    free_after: None,
                }
            })
        })
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// What is still held, or locked, when all have ended.
fn leftovers(arena: &Arena) -> Vec<String> {
    let questions = [
        (
            "tickets leaked",
            "SELECT (SELECT count(*) FROM dbsemaphore.ticket) \
             - (SELECT count(*) FROM (SELECT FROM dbsemaphore.ticket FOR UPDATE SKIP LOCKED) AS free) AS count",
        ),
        (
            "locks left behind",
            "SELECT count(*) AS count FROM pg_locks WHERE pid <> pg_backend_pid() \
             AND (locktype = 'advisory' OR relation IN ('dbsemaphore.ticket'::regclass, 'dbsemaphore.semaphore'::regclass))",
        ),
    ];
    let Some(mut conn) = arena.connect() else {
        return vec!["the server is down".to_owned()];
    };
    let mut found = Vec::new();
    if arena.has_new_versions() != Some(false) {
        found.push("tickets were written by holding them".to_owned());
    }
    for (what, sql) in questions {
        let end = Instant::now() + Duration::from_secs(10);
        let mut count = 1;
        while count != 0 && Instant::now() < end {
            count = diesel::sql_query(sql)
                .get_result::<Count>(&mut conn)
                .unwrap()
                .count;
            thread::sleep(Duration::from_millis(20));
        }
        if count != 0 {
            found.push(format!("{what}: {count}"));
        }
    }
    found
}
