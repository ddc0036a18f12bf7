//! `faults [SECONDS [SEED [KIND,KIND ..]]]`: a fleet of processes works with a few semaphores while everything goes wrong
//! that can, drawn from a seed; a witness that doesn't use the library, and the workers' own logs, say whether more held
//! a ticket than there were, or one leaked. Exit code 1 if so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod arena;
mod fleet;
mod history;
mod inject;
mod log;
mod report;
mod witness;
mod worker;

use arena::{Arena, Place, SEMAPHORES};
use diesel::{QueryableByName, RunQueryDsl, sql_types::BigInt};
use fleet::Fleet;
use history::History;
use inject::{Injector, Kind, LANES};
use std::{
    env,
    path::Path,
    process::ExitCode,
    sync::{
        Mutex, RwLock,
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
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .map(|(kind, _)| kind)
        .filter(|kind| {
            word(2).is_none_or(|words| {
                words == "all" || words.split(',').any(|word| word == kind.word())
            })
        })
        .collect();
    if run(Duration::from_secs(seconds), seed, &kinds) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run(time: Duration, seed: u64, kinds: &[Kind]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let arena = RwLock::new(Arena::open(folder));
    let mut places = vec![Place::Here; 9];
    places.extend([Place::BehindPooler; 3]);
    if nix::unistd::Uid::effective().is_root() {
        places.extend([Place::Afar(0), Place::Afar(1)]);
    } else {
        println!("not root: no link goes down");
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
        let lanes: Vec<_> = (0..)
            .zip(&LANES)
            .map(|(number, lane)| {
                let injector = &injector;
                scope.spawn(move || injector.run(lane, number, seed, kinds))
            })
            .collect();
        let end = Instant::now() + time;
        while Instant::now() < end || lanes.iter().any(|lane| !lane.is_finished()) {
            if Instant::now() >= end {
                over.store(true, SeqCst);
            }
            fleet.look_after(true);
            thread::sleep(Duration::from_millis(5));
        }
        for lane in lanes {
            lane.join().unwrap();
        }
        std::fs::write(folder.join("stop"), "").unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while fleet.look_after(false) > 0 && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        let stuck = fleet.look_after(false);
        if stuck > 0 {
            violations
                .lock()
                .unwrap()
                .push(format!("{stuck} workers never came back"));
        }
        all_over.store(true, SeqCst);
        witness.join().unwrap()
    });

    let mut violations = violations.lock().unwrap().clone();
    violations.append(&mut sight.violations);
    violations.extend(leftovers(&arena.read().unwrap()));

    let mut operations = Vec::new();
    let mut own = Vec::new();
    for (name, died) in fleet.deaths() {
        let log = log::read(&name.log(folder));
        let last = !fleet
            .deaths()
            .iter()
            .any(|d| d.0.worker == name.worker && d.0.life > name.life);
        if last && !log.iter().any(|(_, event)| *event == log::Event::Healthy) {
            violations.push(format!(
                "{name:?} lost a connection of its pool: {:?}",
                log.last()
            ));
        }
        own.extend(log.iter().filter_map(|(time, event)| match event {
            log::Event::Does(what) if what == "panic" => Some((Kind::Panic, *time)),
            log::Event::Does(_) => Some((Kind::Crash, *time)),
            _ => None,
        }));
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
        (
            "rows of tickets written by holding them",
            "SELECT n_tup_upd AS count FROM pg_stat_user_tables WHERE relid = 'dbsemaphore.ticket'::regclass",
        ),
    ];
    let mut conn = arena.connect().expect("the server is up");
    let mut found = Vec::new();
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
