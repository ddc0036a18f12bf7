//! Measures whether finding an available ticket costs more with many tickets, many held ones, or many semaphores.
//!
//! `scale`: a guard's acquire and release, by one client, beside the same with 3 available tickets. Held are a block of
//! neighbours or tickets at random; where all are, what is measured is the refusal. One session for everything, whose
//! statement was prepared when each semaphore had 3 tickets, with nobody else at work. The largest semaphores don't fit
//! into a processor's cache, but do into the server's memory: no disk is in this, and no checkpoint, after which the first
//! lock in a page logs all of it.
//!
//! `semaphores`: the same with so many semaphores of 3 tickets, one of which is taken at random each time.

use crate::{
    case::{self, Case},
    contestants::GUARD,
    kit::{Client, Dice, Report, Row, Section, Spread, Stage, rate, rates, ratios},
    options::Options,
};
use diesel::{PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore as sem;
use stand::Database;
use std::{sync::Mutex, thread};

pub(crate) fn run(options: &Options, report: &mut Report) {
    tickets(options, report);
    semaphores(options, report);
}

fn tickets(options: &Options, report: &mut Report) {
    // No ANALYZE but ours.
    let stage = Stage::with(&["autovacuum=off", "checkpoint_timeout=1h"]);
    let cases = Case::all(options.many);
    let mut session = [stage.client(0, cases[0].name, 3)];
    for case in &cases {
        sem::make(&mut session[0].conn, case.name, 3).unwrap();
    }
    session[0].conn.batch_execute("ANALYZE").unwrap();
    let mut turn = |name, is_full: bool, time| {
        session[0].semaphore = name;
        rate(&mut session, time, |client| {
            assert_eq!((GUARD.turn)(client, &mut || ()), !is_full);
        })
    };
    for case in &cases {
        turn(case.name, false, options.slice / 20);
    }

    // By another session: the first session keeps its plans.
    let mut other = stage.database.connect();
    for case in &cases {
        sem::make(&mut other, case.name, case.tickets).unwrap();
    }
    touch(&mut other);
    other.batch_execute("BEGIN").unwrap();
    for case in &cases {
        let order = if case.at_random { "random()" } else { "id" };
        let hold = format!(
            "DO $$ BEGIN PERFORM FROM dbsemaphore.ticket WHERE id IN ( \
                 SELECT t.id FROM dbsemaphore.ticket t JOIN dbsemaphore.semaphore s ON s.id = t.semaphore_id \
                 WHERE s.name = '{}' ORDER BY t.{order} LIMIT {}) FOR UPDATE; END $$",
            case.name, case.held
        )
        .replace("t.random()", "random()");
        other.batch_execute(&hold).unwrap();
    }

    let mut floors = [stage.client(0, "", 0)];
    let rates = rates(options, cases.len() + 1, |number, time| {
        match cases.get(number) {
            Some(case) => turn(case.name, case.is_full(), time),
            None => crate::acquire::rate_of(&case::floor(), &mut floors, time),
        }
    });
    case::add(report, &stage, options, &cases, &rates);
}

fn semaphores(options: &Options, report: &mut Report) {
    let stage = Stage::with(&["autovacuum=off", "checkpoint_timeout=1h"]);
    let counts = [1, 1000.min(options.many), options.many];
    // A database each: what is not asked for must not be in the way.
    let databases = counts.map(|count| with_semaphores(&stage, count));
    let mut clients = databases.each_ref().map(|database| {
        [Client {
            conn: database.connect(),
            ..stage.client(0, "", 3)
        }]
    });
    let dice = Mutex::new(Dice::new(0));
    let mut turn = |number: usize, time| {
        rate(&mut clients[number], time, |client| {
            let name = dice.lock().unwrap().below(counts[number]).to_string();
            let ticket = sem::SemaphoreTicket::require(&mut client.conn, &name).unwrap();
            ticket.release().unwrap();
        })
    };
    for number in 0..counts.len() {
        turn(number, options.slice);
    }
    let rates = rates(options, counts.len(), turn);
    let rows = counts.iter().zip(&rates).map(|(&count, each)| {
        Row::default()
            .number("semaphores", count)
            .spread("time_of_1", ratios(&rates[0], each))
            .spread("us", Spread::of(each.iter().map(|rate| 1e6 / rate)))
    });
    let rows = rows.collect();
    let title = "A guard's acquire and release, of a semaphore at random".to_owned();
    let name = "semaphores";
    report.add(&stage, Section { name, title, rows });
}

fn with_semaphores(stage: &Stage, count: u32) -> Database {
    const HANDS: usize = 4;
    let database = stage.server.create_database();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    thread::scope(|scope| {
        for hand in 0..HANDS {
            let database = &database;
            scope.spawn(move || {
                let mut conn = database.connect();
                conn.batch_execute("SET synchronous_commit = off").unwrap();
                for number in (0..count).skip(hand).step_by(HANDS) {
                    sem::ensure(&mut conn, &number.to_string(), 3).unwrap();
                }
            });
        }
    });
    conn.batch_execute("VACUUM ANALYZE").unwrap();
    touch(&mut conn);
    database
}

/// So that no page is locked for the first time since the last checkpoint, which costs whoever does so.
fn touch(conn: &mut PgConnection) {
    let lock_all = "BEGIN; SELECT FROM dbsemaphore.ticket FOR UPDATE; ROLLBACK";
    conn.batch_execute(lock_all).unwrap();
}
