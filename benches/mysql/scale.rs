//! Measures whether finding an available ticket costs more with many tickets or many held ones: a guard's acquire and release, by one
//! client. Held are the tickets of the lowest slots, or tickets at random. Where all are, what is measured is the refusal.

use crate::{
    case::{self, Case},
    contestants::GUARD,
    kit::{Client, Conn, Dice, Report, Stage, rate, rates},
    options::Options,
};
use diesel::connection::SimpleConnection;
use diesel_dbsemaphore as sem;

/// Locks single rows, as the library does.
fn hold(case: &Case, conn: &mut Conn) {
    let mut slots: Vec<u32> = (0..case.tickets).collect();
    if case.at_random {
        let mut dice = Dice::new(0);
        for last in (1..case.tickets).rev() {
            slots.swap(last as usize, dice.below(last + 1) as usize);
        }
    }
    for slots in slots[..case.held as usize].chunks(500) {
        let slots: Vec<String> = slots.iter().map(u32::to_string).collect();
        conn.batch_execute(&format!(
            "DO (SELECT COUNT(*) FROM (SELECT t.id FROM JSON_TABLE('[{}]', '$[*]' COLUMNS (slot int PATH '$')) AS c \
                 STRAIGHT_JOIN dbsemaphore_semaphore AS s ON s.name = '{}' \
                 STRAIGHT_JOIN dbsemaphore_ticket AS t FORCE INDEX (PRIMARY) ON t.semaphore_id = s.id AND t.slot = c.slot \
                 FOR UPDATE) AS held)",
            slots.join(", "),
            case.name
        ))
        .unwrap();
    }
}

pub(crate) fn run(options: &Options, report: &mut Report) {
    let stage = Stage::new();
    let cases = Case::all(options.many);
    let mut holder = stage.database.connect();
    for case in &cases {
        sem::make(&mut holder, case.name, case.tickets).unwrap();
    }
    holder
        .batch_execute("ANALYZE TABLE dbsemaphore_ticket; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; BEGIN")
        .unwrap();
    for case in &cases {
        hold(case, &mut holder);
    }
    let mut clients = [stage.client(0, "", 0)];
    let mut turn = |number: usize, time| match cases.get(number) {
        Some(case) => {
            clients[0].semaphore = case.name;
            rate(&mut clients, time, |client: &mut Client| {
                let acquired = (GUARD.turn)(client, &mut || ());
                assert_eq!(acquired, !case.is_full(), "{}", case.name);
            })
        }
        None => crate::acquire::rate_of(&case::floor(), &mut clients, time),
    };
    for number in 0..=cases.len() {
        turn(number, options.slice / 20);
    }
    let rates = rates(options, cases.len() + 1, turn);
    case::add(report, &stage, options, &cases, &rates);
}
