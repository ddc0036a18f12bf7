//! Does finding a free ticket cost more when there are many, and nearly all of them are held?
//!
//! `cargo bench --bench scale -- [ROUNDS]`: a guard's acquire and release at 3 free tickets, and at 100,000 of which
//! 90 % are held, once a block of neighbours and once at random, in a session whose statement was prepared when there
//! were 3 analysed tickets. Interleaved rounds on one server; the ratio of each to the first within its round.

#![allow(clippy::unwrap_used)]

use diesel::{PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use stand::Server;
use std::{
    env,
    time::{Duration, Instant},
};

const LARGE: u32 = 100_000;
const CALLS: u32 = 500;

struct Case {
    semaphore: &'static str,
    tickets: u32,
    /// Which tickets are held, in SQL; `s` is the semaphore's id.
    held: &'static str,
    times: Vec<Duration>,
}

impl Case {
    fn new(semaphore: &'static str, tickets: u32, held: &'static str) -> Self {
        Self {
            semaphore,
            tickets,
            held,
            times: Vec::new(),
        }
    }

    fn time(&self, session: &mut PgConnection, calls: u32) -> Duration {
        let began = Instant::now();
        for _ in 0..calls {
            SemaphoreTicket::require(&mut *session, self.semaphore)
                .unwrap()
                .release()
                .unwrap();
        }
        began.elapsed() / calls
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let rounds: usize = env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(21);
    // No ANALYZE but ours.
    let server = Server::start_with(&["autovacuum=off"]);
    let database = server.create_database();
    let mut cases = [
        Case::new("3, all free", 3, "false"),
        Case::new("100,000, all free", LARGE, "false"),
        Case::new("100,000, the first 90 % held", LARGE, "slot < 90000"),
        Case::new(
            "100,000, 90 % held at random",
            LARGE,
            "id IN (SELECT id FROM dbsemaphore.ticket t WHERE t.semaphore_id = s.id ORDER BY random() LIMIT 90000)",
        ),
    ];

    // One session for all, so that the system's choice of processors for it is the same for all.
    let mut session = database.connect();
    sem::run_migrations(&mut session).unwrap();
    for case in &cases {
        sem::make(&mut session, case.semaphore, 3).unwrap();
    }
    session.batch_execute("ANALYZE").unwrap();
    for case in &cases {
        case.time(&mut session, 10);
    }
    // By another session: no plan of the first is made anew.
    let mut other = database.connect();
    for case in &cases {
        sem::make(&mut other, case.semaphore, case.tickets).unwrap();
    }
    other.batch_execute("BEGIN").unwrap();
    for case in &cases {
        let hold = format!(
            "DO $$ DECLARE s dbsemaphore.semaphore; BEGIN \
                 SELECT * INTO s FROM dbsemaphore.semaphore WHERE name = '{}'; \
                 PERFORM FROM dbsemaphore.ticket WHERE semaphore_id = s.id AND {} FOR UPDATE; \
             END $$",
            case.semaphore, case.held
        );
        other.batch_execute(&hold).unwrap();
    }

    for _ in 0..rounds {
        for case in &mut cases {
            let time = case.time(&mut session, CALLS);
            case.times.push(time);
        }
    }
    println!(
        "acquire and release with a guard, {rounds} interleaved rounds of {CALLS} calls, medians"
    );
    println!("{:<32} {:>9} {:>7}", "tickets", "us a call", "ratio");
    for case in &cases {
        let micros = case.times.iter().map(|time| time.as_secs_f64() * 1e6);
        let ratios = case
            .times
            .iter()
            .zip(&cases[0].times)
            .map(|(time, base)| time.as_secs_f64() / base.as_secs_f64());
        println!(
            "{:<32} {:>9.0} {:>7.2}",
            case.semaphore,
            median(micros.collect()),
            median(ratios.collect())
        );
    }
}
