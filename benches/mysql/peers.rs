//! Beside ways by hand, on the same server and in the same rounds.
//!
//! * `SELECT .. ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED`, on a table with the index it needs. InnoDB locks rows that the
//!   statement only reads, so others may be refused although enough are available: these try again at once.
//! * `GET_LOCK(key, 0)` over n keys, from a place that differs between clients.
//!
//! `peers`: acquire and release when there are enough for all, and the share of refusals. `peers_queue`: workers that share tickets;
//! those by hand try again each 10 ms.

use crate::{
    acquire::compare,
    contestants::{
        Contestant, FLOORS, GUARD, LOW_LEVEL, LOW_LEVEL_COMMITTED, ROW_LOCK, SKIP_LOCKED,
        SKIP_LOCKED_COMMITTED, WAITING, contestant,
    },
    kit::{Client, Conn, Report, Section, Stage, rate, rates},
    options::Options,
    queue::{Crew, Load, contend},
};
use diesel::{
    prelude::*,
    sql_types::{Integer, Text},
};
use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

#[diesel::declare_sql_function]
extern "SQL" {
    #[sql_name = "GET_LOCK"]
    fn get_lock(name: Text, seconds: Integer) -> Nullable<BigInt>;
    #[sql_name = "RELEASE_LOCK"]
    fn release_lock(name: Text) -> Nullable<BigInt>;
}

const GET_LOCK: Contestant = contestant("GET_LOCK over n keys", ROW_LOCK, user_lock);

fn user_lock(client: &mut Client, work: &mut dyn FnMut()) -> bool {
    let tickets = client.tickets;
    let is_one = |query: QueryResult<Option<i64>>| query.unwrap() == Some(1);
    let conn: &mut Conn = &mut client.conn;
    for step in 0..tickets {
        let key = format!(
            "{} {}",
            client.semaphore,
            (client.number.unsigned_abs() + step) % tickets
        );
        if is_one(diesel::select(get_lock(&key, 0)).get_result(conn)) {
            work();
            return is_one(diesel::select(release_lock(&key)).get_result(conn));
        }
    }
    false
}

pub(crate) fn run(options: &Options, report: &mut Report) {
    let stage = Stage::new();
    stage.make("warm-up", 1000);
    enough(options, &stage, report);
    queue(options, &stage, report);
}

fn enough(options: &Options, stage: &Stage, report: &mut Report) {
    let contestants: Vec<Contestant> = FLOORS
        .into_iter()
        .take(3)
        .chain([GUARD, LOW_LEVEL, LOW_LEVEL_COMMITTED])
        .chain([SKIP_LOCKED, SKIP_LOCKED_COMMITTED, GET_LOCK])
        .collect();
    let names: Vec<_> = contestants
        .iter()
        .map(|one| (one.name, one.floor))
        .collect();
    let mut rows = Vec::new();
    for count in options.clients.iter().copied().filter(|&count| count <= 8) {
        let mut clients = stage.clients(count, "x");
        let turns: Vec<[AtomicU32; 2]> = contestants.iter().map(|_| <_>::default()).collect();
        let mut go = |number: usize, time| {
            let [asked, refused] = &turns[number];
            rate(&mut clients, time, |client| {
                asked.fetch_add(1, Ordering::Relaxed);
                while !(contestants[number].turn)(client, &mut || ()) {
                    asked.fetch_add(1, Ordering::Relaxed);
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        for number in 0..names.len() {
            go(number, options.slice / 4);
        }
        let rates = rates(options, names.len(), go);
        let compared = compare(count, &names, &rates).into_iter().zip(&turns);
        rows.extend(compared.map(|(row, turns)| {
            let [asked, refused] = turns
                .each_ref()
                .map(|count| f64::from(count.load(Ordering::Relaxed)));
            row.number("refused_percent", refused / asked * 100.0)
        }));
    }
    let title = format!(
        "Acquire and release beside ways by hand; {}",
        options.rounds_of_slices()
    );
    let name = "peers";
    report.add(stage, Section { name, title, rows });
}

fn queue(options: &Options, stage: &Stage, report: &mut Report) {
    let load = Load {
        tickets: 3,
        workers: 16,
        hold: Duration::from_millis(20),
    };
    stage.make("x", load.tickets);
    let crews = [WAITING, SKIP_LOCKED, GET_LOCK]
        .map(|one| (one.name, Crew::threads(stage, load, one.turn)));
    let rows = contend(stage, options, load, crews.into());
    let title = format!(
        "Workers that share tickets; those that do not wait in the queue try again each 10 ms; {} s a round",
        options.time.as_secs()
    );
    let name = "peers_queue";
    report.add(stage, Section { name, title, rows });
}
