//! Limits by the tool's own clock: of connecting, and of waiting.

use crate::tool::{Running, database_with, tool_at, until_waiting};
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stand::{Bouncer, PoolMode, Server, eventually};
use std::{
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

/// On a machine that is busy.
const SLACK: Duration = Duration::from_secs(3);

/// Takes connections, and never says a word.
fn silent_server() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// The exit code, what it said, and how long it took.
fn run(url: &str, words: &[&str]) -> (i32, String, Duration) {
    let began = Instant::now();
    let mut tool = tool_at(url);
    let mut tool = Running::start(tool.args(words).stderr(Stdio::piped()));
    let code = tool.end_within(Duration::from_secs(60));
    (code, tool.said(), began.elapsed())
}

fn assert_within(took: Duration, limit: Duration, what: &str) {
    assert!(took >= limit && took < limit + SLACK, "{what}: {took:?}");
}

#[test]
fn a_limit_of_waiting_counts_connecting() {
    let (_listener, port) = silent_server();
    let url = format!("postgres://ada@127.0.0.1:{port}/x");
    let (code, said, took) = run(&url, &["run", "x", "--wait", "1s", "--", "true"]);
    assert_eq!(code, 75, "{said}");
    assert!(
        said.contains("no connection") && said.contains("1s"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_within(took, Duration::from_secs(1), &said);

    let quiet = [
        "run",
        "x",
        "-q",
        "--wait",
        "1s",
        "--busy-code",
        "9",
        "--",
        "true",
    ];
    let (code, said, _) = run(&url, &quiet);
    assert_eq!((code, said.as_str()), (9, ""));
}

#[test]
fn connecting_is_bounded() {
    let (_listener, port) = silent_server();
    let one = format!("postgres://ada@127.0.0.1:{port}/x");
    let two = format!("host=127.0.0.1,127.0.0.1 port={port},{port} user=ada connect_timeout=2");
    let named = format!("{one}?connect_timeout=2");
    let long = Duration::from_secs(10);
    let short = Duration::from_secs(2);
    std::thread::scope(|scope| {
        for (url, words, code, limit) in [
            (&one, &["run", "x", "--", "true"][..], 125, long),
            (
                &one,
                &["run", "x", "--wait-forever", "--", "true"],
                125,
                long,
            ),
            (&one, &["run", "x", "--wait", "1h", "--", "true"], 125, long),
            (&one, &["list"], 1, long),
            (&one, &["top"], 1, long),
            (&one, &["terminate", "x", "1", "--yes"], 1, long),
            (&named, &["run", "x", "--", "true"], 125, short),
            (&named, &["list"], 1, short),
            (&two, &["list"], 1, short * 2),
            (
                &two,
                &["run", "x", "--wait", "3s", "--", "true"],
                75,
                Duration::from_secs(3),
            ),
        ] {
            scope.spawn(move || {
                let (ended, said, took) = run(url, words);
                assert_eq!(ended, code, "{words:?}: {said}");
                assert!(said.contains("no connection to the database"), "{said}");
                // libpq counts whole seconds.
                assert!(took + Duration::from_secs(2) > limit, "{words:?}: {took:?}");
                assert!(took < limit + SLACK, "{words:?}: {took:?}");
            });
        }
    });
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
        let url = bouncer.url(database.name());
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
    let database = server.create_database();
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
