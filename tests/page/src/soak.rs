//! What `dbsemaphore serve` uses before and after many restarts of its database.

use diesel_dbsemaphore as sem;
use page::{Served, Work};
use stand::{Server, Stop, eventually};
use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// How much more memory it may use at the end than after the first restart, in KiB. A leak grows with each restart.
const MORE_MEMORY: u64 = 4096;

#[derive(Debug)]
struct Use {
    memory_kib: u64,
    threads: u64,
    descriptors: u64,
}

impl Use {
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("serve runs");
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.expect("a number")
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("/proc");
        Self {
            memory_kib: number("VmRSS:"),
            threads: number("Threads:"),
            descriptors: descriptors.count() as u64,
        }
    }
}

pub(crate) fn run(all: Duration, every: Duration) {
    let mut server = Server::start();
    let database = server.create_database();
    sem::run_migrations(&mut database.connect()).expect("tables");
    sem::make(&mut database.connect(), "jobs", 3).expect("a semaphore");
    let served = Served::start(&[database.url()], &[]);
    let _work = Work::start(&database.url(), "jobs", 6, Duration::from_millis(5));
    let began = Instant::now();
    let mut first = None;
    let mut restarts = 0;
    loop {
        let next = Instant::now() + every;
        let mut requests = 0;
        while Instant::now() < next {
            for path in ["/", "/metrics", "/api/semaphores"] {
                served.get(path);
                requests += 1;
            }
            // As three browsers do.
            thread::sleep(Duration::from_millis(100));
        }
        eventually("it is up", || served.is_healthy());
        let used = Use::of(served.pid());
        println!(
            "{:4} s, {restarts} restarts, {requests} requests: {used:?}",
            began.elapsed().as_secs()
        );
        if restarts > 0 {
            first.get_or_insert(used);
        }
        if began.elapsed() >= all {
            break;
        }
        // In turn: in good order, without a farewell, and killed.
        let how = [Stop::Fast, Stop::Immediate, Stop::Kill][restarts % 3];
        server.stop(how);
        eventually("it is down", || !served.is_healthy());
        server.start_again();
        restarts += 1;
    }
    let (first, last) = (first.expect("a restart"), Use::of(served.pid()));
    println!("after the first restart: {first:?}\nat the end:              {last:?}");
    assert!(
        last.memory_kib <= first.memory_kib + MORE_MEMORY,
        "the memory grows"
    );
    assert!(last.threads <= first.threads, "threads remain");
    assert!(last.descriptors <= first.descriptors, "descriptors remain");
}
