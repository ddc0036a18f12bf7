//! `[BACKEND=mysql] faults [SECONDS [SEED [KIND,KIND .. [SABOTAGE]]]]`: a fleet of processes works with a few semaphores while everything goes wrong
//! that can, drawn from a seed; a witness that doesn't use the library, and the workers' own logs, say whether more held
//! a ticket than there were, or one leaked. Exit code 1 if so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod arena;
mod backend;
mod fault;
mod fleet;
mod history;
mod inject;
mod judge;
mod kind;
mod log;
#[cfg(feature = "mysql")]
mod mysql;
mod order;
mod postgres;
mod report;
mod session;
mod witness;
mod worker;

use arena::Place;
use backend::Backend;
use fault::{Fault, Target};
use fleet::Fleet;
use inject::Injector;
use judge::{Judge, leftovers};
use kind::{Draws, Kind, LANES};
use postgres::Postgres;
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
    let backend = match words.first().map(String::as_str) {
        Some("worker") => words.get(1).cloned(),
        _ => env::var("BACKEND").ok().filter(|word| !word.is_empty()),
    };
    match backend.as_deref() {
        None | Some(Postgres::WORD) => start::<Postgres>(&words),
        #[cfg(feature = "mysql")]
        Some(mysql::Mysql::WORD) => start::<mysql::Mysql>(&words),
        Some(other) => panic!("this program has no faults for BACKEND={other}"),
    }
}

fn start<B: Backend>(words: &[String]) -> ExitCode {
    if let [role, _, folder, name, place, seed] = words
        && role == "worker"
    {
        let place = match place.as_str() {
            "here" => Place::Here,
            "pooler" => Place::BehindPooler,
            number => Place::Afar(number.parse().unwrap()),
        };
        worker::Worker::<B>::new(Path::new(folder), name, place, seed.parse().unwrap()).run();
        return ExitCode::SUCCESS;
    }
    let word = |position: usize| words.get(position).filter(|word| !word.is_empty());
    let seconds = word(0).map_or(60, |word| word.parse().expect("seconds"));
    let seed = word(1).map_or(1, |word| word.parse().expect("a seed"));
    let kinds: Vec<Kind> = match word(2).map(String::as_str) {
        None | Some("all") => Kind::ALL.map(|(kind, _)| kind).to_vec(),
        Some(words) => words.split(',').map(kind_named).collect(),
    };
    let sabotage = word(3).map(String::as_str);
    if run::<B>(Duration::from_secs(seconds), seed, kinds, sabotage) {
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

/// Otherwise a panic of the main thread would wait for the others without end.
struct SetOnDrop<'a>([&'a AtomicBool; 2]);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.into_iter().for_each(|flag| flag.store(true, SeqCst));
    }
}

fn run<B: Backend>(
    time: Duration,
    seed: u64,
    mut kinds: Vec<Kind>,
    sabotage: Option<&str>,
) -> bool {
    let logs = tempfile::tempdir().unwrap();
    let folder = logs.path();
    let arena = B::open(sabotage);
    arena.urls().publish(folder);
    let idle_limit = arena.idle_limit();
    kinds.retain(|kind| {
        let known = arena.has(*kind);
        if !known {
            println!("this server has no {}", B::title(*kind));
        }
        known
    });
    let arena = RwLock::new(arena);
    let mut places = B::PLACES.to_vec();
    if nix::unistd::Uid::effective().is_root() {
        places.extend([Place::Afar(0), Place::Afar(1)]);
    } else {
        println!("not root: no link goes down");
        kinds.retain(|kind| *kind != Kind::LinkDown);
    }
    let fleet = Fleet::start(B::WORD, folder, seed, &places);
    let (over, all_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let constant = B::constant_faults().iter();
    let faults = Mutex::new(
        constant
            .map(|kind| Fault::begin(*kind, Target::LowLevel))
            .collect(),
    );
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
        let _ends_on_panic = SetOnDrop([&over, &all_over]);
        let witness = scope.spawn(|| {
            let url = || arena.read().unwrap_or_else(PoisonError::into_inner).url();
            witness::watch::<B>(idle_limit, url, &all_over)
        });
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
        // The client of MySQL waits for ever for a server that it can't reach.
        running.retain(|name| B::CUT_OFF.is_some() || places[name.worker as usize].is_near());
        for name in running {
            let log = log::read(&name.log(folder));
            let text = format!("{name:?} never returned from {:?}", log.last());
            violations.lock().unwrap().push(text);
        }
        all_over.store(true, SeqCst);
        witness.join().unwrap()
    });

    for fault in faults.lock().unwrap().iter_mut() {
        if B::constant_faults().contains(&fault.kind) {
            fault.end = log::now();
        }
    }
    let mut violations = violations.lock().unwrap().clone();
    violations.append(&mut sight.violations);
    let arena = arena.read().unwrap_or_else(PoisonError::into_inner);
    violations.extend(arena.violations());
    violations.extend(leftovers(&*arena));
    let judge = Judge {
        folder,
        fleet: &fleet,
        places: &places,
        faults: faults.lock().unwrap().clone(),
        sight,
        shows_most_held: idle_limit.is_some(),
    };
    let passed = judge.judge::<B>(violations);
    if !passed && env::var_os("DBSEMAPHORE_TEST_KEEP").is_some() {
        println!("what each process did is in {}", logs.keep().display());
    }
    passed
}
