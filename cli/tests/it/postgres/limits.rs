//! Limits that libpq knows, too, and those behind a pooler.

use crate::{
    database::Database,
    server::limits::{SLACK, assert_within, run, silent_server},
    tool::{Running, database_with, tool_at, until_waiting},
};
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stand::{Bouncer, PoolMode, Server, eventually};
use std::{
    process::Stdio,
    time::{Duration, Instant},
};

#[test]
fn each_host_has_the_limit_of_connecting() {
    let (_listener, port) = silent_server();
    let url = format!("host=127.0.0.1,127.0.0.1 port={port},{port} user=ada connect_timeout=2");
    let (code, said, took) = run(&url, &["list"]);
    assert_eq!(code, 1, "{said}");
    // libpq counts whole seconds.
    assert_within(took + Duration::from_secs(1), Duration::from_secs(4), &said);
    let (code, said, took) = run(&url, &["run", "x", "--wait", "3s", "--", "true"]);
    assert_eq!(code, 75, "{said}");
    assert_within(took, Duration::from_secs(3), &said);
}

#[test]
fn the_limit_of_connecting_can_be_set_by_the_environment() {
    let (_listener, port) = silent_server();
    let began = Instant::now();
    let mut tool = tool_at(format!("postgres://ada@127.0.0.1:{port}/x"));
    let mut tool = Running::start(tool.arg("list").env("PGCONNECT_TIMEOUT", "2"));
    assert_eq!(tool.end(), 1);
    assert!(began.elapsed() < Duration::from_secs(2) + SLACK);
}

/// The pooler has taken it, and lets it wait, be it for a connection or for the answer.
#[test]
fn wait_limit_holds_behind_a_paused_pooler() {
    let database = database_with(1);
    for mode in [PoolMode::Session, PoolMode::Transaction] {
        let bouncer = Bouncer::start_on(&database.url(), mode, &[]);
        let url = bouncer.url(database.postgres().name());
        // So that it knows the server by now.
        assert_eq!(run(&url, &["list"]).0, 0);
        bouncer.pause();
        let waits = ["run", "x", "--wait", "1s", "--", "true"];
        eventually("it is paused", || run(&url, &waits).0 == 75);
        let (code, said, took) = run(&url, &waits);
        assert_eq!(code, 75, "{said}");
        assert_within(took, Duration::from_secs(1), &said);
        let named = format!("{url}?connect_timeout=2");
        let (code, said, took) = run(&named, &["run", "x", "--", "true"]);
        assert_eq!(code, 125, "{said}");
        assert_within(took, Duration::from_secs(2), &said);
        bouncer.resume();
        eventually("it goes on", || run(&url, &waits).0 == 0);
    }
}

/// As one whose clock was set back: its timers stand still.
#[test]
fn wait_limit_holds_if_the_server_stands_still() {
    let server = Server::start();
    let database = Database::from(server.create_database());
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, "x", 1).unwrap();
    let guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let began = Instant::now();
    let mut tool = tool_at(database.url());
    tool.args(["run", "x", "--wait", "2s", "--", "true"]);
    let mut tool = Running::start(tool.stderr(Stdio::piped()));
    until_waiting(&database, 1);
    let waiter = sem::waiters(&mut conn, "x").unwrap().remove(0);
    let process = Pid::from_raw(waiter.session.pid.unwrap());
    kill(process, Signal::SIGSTOP).unwrap();
    let code = tool.end_within(Duration::from_secs(60));
    let took = began.elapsed();
    kill(process, Signal::SIGCONT).unwrap();
    let said = tool.said();
    assert_eq!(code, 75, "{said}");
    assert!(said.contains("within 2s"), "{said}");
    assert_within(took, Duration::from_secs(2), &said);
    until_waiting(&database, 0);
    drop(guard);
}
