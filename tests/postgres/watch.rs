//! Tickets that are checked in the background.

use crate::kit::{ServerDatabase, TestDatabase, eventually};
use crate::postgres::number;
use diesel_dbsemaphore::{Error, SemaphoreTicket, WATCH_GRACE};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use stand::{Database, Server};
use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

const OFTEN: Duration = Duration::from_millis(20);

const LONG: Duration = Duration::from_secs(60);

/// The server process is stopped, so the check never returns.
#[test]
fn no_answer_is_a_loss_after_the_documented_time() {
    let server = Server::start();
    let database = server.create_database();
    diesel_dbsemaphore::run_migrations(&mut database.connect()).unwrap();
    diesel_dbsemaphore::make(&mut database.connect(), "x", 1).unwrap();
    let pool = database.pool(1);
    let mut conn = pool.get().unwrap();
    let pid = Database::session_id(&mut conn);
    let backend = Pid::from_raw(pid.try_into().unwrap());
    let ticket = SemaphoreTicket::require(conn, "x").unwrap().watch(OFTEN);
    let (tell, told) = mpsc::channel();
    ticket.on_lost(move || tell.send(Instant::now()).unwrap());
    assert!(!ticket.wait_lost(Duration::from_millis(100)));
    kill(backend, Signal::SIGSTOP).unwrap();
    let stopped = Instant::now();
    assert!(ticket.wait_lost(LONG));
    assert!(ticket.is_lost());
    let called = told.recv_timeout(LONG).unwrap() - stopped;
    assert!(called >= WATCH_GRACE - Duration::from_secs(1), "{called:?}");
    // The bound is ten times what is promised.
    assert!(called < (OFTEN + WATCH_GRACE) * 10, "{called:?}");

    let before = Instant::now();
    assert!(matches!(ticket.release(), Err(Error::TicketLost { .. })));
    assert!(before.elapsed() < LONG, "it doesn't wait for an answer");
    kill(backend, Signal::SIGCONT).unwrap();
    eventually("the connection has been closed", || {
        number(
            &mut database.connect(),
            &format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}"),
        ) == 0
    });
    let mut next = pool.get().unwrap();
    assert_ne!(
        Database::session_id(&mut next),
        pid,
        "the pool never reuses the connection"
    );
    drop(SemaphoreTicket::require(next, "x").unwrap());
}
