//! Looks for false refusals: 8 clients share the last 8 available tickets of a semaphore, so that a request is refused only if its
//! search overlooks one.

use crate::{
    kit::{Report, Row, Section, Stage},
    options::Options,
};
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use std::thread;

const TICKETS: u32 = 80;
const CLIENTS: u32 = 8;

pub(crate) fn run(options: &Options, report: &mut Report) {
    let stage = Stage::new();
    stage.make("x", TICKETS);
    let held = Request::new("x").tickets(TICKETS - CLIENTS);
    let _held = SemaphoreTicket::require(stage.database.connect(), held).unwrap();
    let levels = ["READ COMMITTED", "REPEATABLE READ"];
    let turns = options.operations / CLIENTS / levels.len() as u32;
    let refused = levels.map(|level| refused(&stage, level, turns));
    let calls = f64::from(turns * CLIENTS);
    let rows = levels.into_iter().zip(refused).map(|(level, refused)| {
        Row::new(level)
            .number("calls", calls)
            .number("refused", refused)
    });
    let title = format!(
        "Refusals of {CLIENTS} clients in transactions, while {} of {TICKETS} tickets are held by another",
        TICKETS - CLIENTS
    );
    report.add(
        &stage,
        Section {
            name: "refusals",
            title,
            rows: rows.collect(),
        },
    );
    assert_eq!(refused, [0, 0], "a ticket was available each time");
}

fn refused(stage: &Stage, level: &str, turns: u32) -> u32 {
    let client = || {
        let mut conn = stage.database.connect();
        conn.batch_execute(&format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}"))
            .unwrap();
        let mut is_refused = || {
            let acquired = conn.transaction::<_, Error, _>(|conn| sem::acquire(conn, "x"));
            acquired.unwrap().is_none()
        };
        (0..turns).map(|_| u32::from(is_refused())).sum::<u32>()
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    })
}
