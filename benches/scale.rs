//! Does finding a free ticket cost more when there are many, and nearly all of them are held?
//!
//! `cargo bench --bench scale -- [ROUNDS]`: a guard's acquire and release at 3 free tickets, and at 100,000 of which
//! 90 % are held, once a block of neighbours and once at random, in a session whose statement was prepared when there
//! were 3 analysed tickets. Interleaved rounds on one server; the ratio of each to the first within its round.

use diesel::{PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use stand::{Database, Server};
use std::{
    env,
    time::{Duration, Instant},
};

const LARGE: u32 = 100_000;
const CALLS: u32 = 500;

struct Case {
    label: &'static str,
    database: Database,
    session: PgConnection,
    /// Its transaction holds the tickets.
    holder: PgConnection,
    times: Vec<Duration>,
}

impl Case {
    /// `held` is a condition on the tickets, in SQL.
    fn new(server: &Server, label: &'static str, size: u32, held: &str) -> Self {
        let database = server.create_database();
        let mut session = database.connect();
        sem::run_migrations(&mut session).unwrap();
        sem::make(&mut session, "x", 3).unwrap();
        session.batch_execute("ANALYZE").unwrap();
        let mut case = Self {
            label,
            session,
            holder: database.connect(),
            database,
            times: Vec::new(),
        };
        // Plans are kept from the sixth execution on.
        case.run(10);
        sem::make(&mut case.database.connect(), "x", size).unwrap();
        case.holder
            .batch_execute(&format!(
                "BEGIN; SELECT FROM dbsemaphore.ticket WHERE {held} FOR UPDATE"
            ))
            .unwrap();
        case
    }

    fn run(&mut self, calls: u32) -> Duration {
        let began = Instant::now();
        for _ in 0..calls {
            SemaphoreTicket::require(&mut self.session, "x")
                .unwrap()
                .release()
                .unwrap();
        }
        began.elapsed() / calls
    }
}

fn median<T: PartialOrd + Copy>(values: &[T]) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap());
    sorted[sorted.len() / 2]
}

fn main() {
    let rounds: usize = env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(11);
    // No ANALYZE but ours.
    let server = Server::start_with(&["autovacuum=off"]);
    let mut cases = [
        Case::new(&server, "3 tickets, all free", 3, "false"),
        Case::new(&server, "100,000 tickets, all free", LARGE, "false"),
        Case::new(
            &server,
            "100,000 tickets, the first 90 % held",
            LARGE,
            "slot < 90000",
        ),
        Case::new(
            &server,
            "100,000 tickets, 90 % held at random",
            LARGE,
            "id IN (SELECT id FROM dbsemaphore.ticket ORDER BY random() LIMIT 90000)",
        ),
    ];
    for _ in 0..rounds {
        for case in &mut cases {
            let time = case.run(CALLS);
            case.times.push(time);
        }
    }
    println!("acquire and release with a guard, {rounds} rounds of {CALLS} calls, medians");
    println!("{:<40} {:>9} {:>7}", "", "us a call", "ratio");
    for case in &cases {
        let ratios: Vec<f64> = case
            .times
            .iter()
            .zip(&cases[0].times)
            .map(|(time, base)| time.as_secs_f64() / base.as_secs_f64())
            .collect();
        println!(
            "{:<40} {:>9.0} {:>7.2}",
            case.label,
            median(&case.times).as_secs_f64() * 1e6,
            median(&ratios)
        );
    }
}
