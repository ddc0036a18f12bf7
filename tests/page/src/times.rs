//! The time of an answer, with 200 semaphores, 1,000 tickets, 100 holders and 50 waiters. A connection of its own counts.

use diesel::{QueryableByName, RunQueryDsl, sql_query, sql_types::BigInt};
use page::{Served, crowd_database};
use stand::{eventually, percentile};
use std::time::{Duration, Instant};

const ROUNDS: usize = 500;

/// How long an answer may take, in milliseconds.
const LIMITS: [(&str, u64); 3] = [("/", 100), ("/metrics", 50), ("/api/semaphores", 100)];

/// How many connections there may be.
const CONNECTIONS: i64 = 2;

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

pub(crate) fn run() {
    let (database, mut crowd) = crowd_database();
    let mut conn = database.connect();
    let mut sessions = || {
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
        let Count { count } = sql_query(sessions).get_result(&mut conn).expect("a number");
        count
    };
    let before = sessions();
    let served = Served::start(&[database.url()], &[]);
    eventually("all are shown", || served.totals() == (100, 50));
    let mut connections = 0;
    for (path, limit) in LIMITS {
        let mut bytes = 0;
        let mut times: Vec<Duration> = (0..ROUNDS)
            .map(|round| {
                let began = Instant::now();
                bytes = served.get(path).len();
                let time = began.elapsed();
                if round % 50 == 0 {
                    connections = connections.max(sessions() - before);
                }
                time
            })
            .collect();
        let [half, most, all] = [0.5, 0.99, 1.0].map(|share| percentile(&mut times, share));
        println!(
            "{path}: {bytes} bytes; half of the answers within {half:.1?}, 99 % within {most:.1?}, all within {all:.1?}"
        );
        assert!(
            most < Duration::from_millis(limit),
            "the limit is {limit} ms"
        );
    }
    println!("connections: {connections}");
    assert!(
        (1..=CONNECTIONS).contains(&connections),
        "the limit is {CONNECTIONS}"
    );
    crowd.end(&database);
}
