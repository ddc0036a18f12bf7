//! The tool behind PgBouncer, where each transaction may get another session of the server's. The whole suite runs there,
//! too: see `make test-pooler`.

use crate::database::Database;
use crate::tool::{
    self, Running, code, database_with, rounds, send, tool_at, tool_from, until_held, until_waiting,
};
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use nix::{sys::signal::Signal, unistd::Uid};
use stand::{Bouncer, PoolMode, eventually};
use std::{
    fs,
    process::{Command, Stdio},
    sync::Barrier,
    thread,
};

/// In transaction mode, with as many sessions.
fn pooled(database: &Database, sessions: u32) -> (Bouncer, String) {
    let size = format!("default_pool_size = {sessions}");
    let bouncer = Bouncer::start_on(&database.url(), PoolMode::Transaction, &[&size]);
    let url = bouncer.url(database.postgres().name());
    (bouncer, url)
}

#[test]
fn each_subcommand_works_again_and_again() {
    let database = Database::create();
    // All share one session, which sees each statement twice.
    let (_bouncer, url) = pooled(&database, 1);
    for _ in 0..3 {
        for (words, expected) in [
            (&["migrate"][..], 0),
            (&["make", "x", "2"], 0),
            (&["make", "x", "1"], 0),
            (&["list", "--json"], 0),
            (&["show", "x"], 0),
            (&["run", "x", "--", "sh", "-c", "exit 3"], 3),
            (
                &["run", "x", "--wait", "5s", "--label", "y", "--", "true"],
                0,
            ),
            (&["run", "x", "--tickets", "2", "--", "true"], 125),
            (&["terminate", "x", "1", "--yes"], 1),
            (&["show", "nobody"], 1),
            (&["destroy", "x"], 0),
        ] {
            let told = tool_at(&url).args(words).output().unwrap();
            assert_eq!(code(told.status), expected, "{words:?}: {told:?}");
        }
    }
}

#[test]
fn many_tools_share_few_sessions() {
    let database = database_with(2);
    let (_bouncer, url) = pooled(&database, 6);
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let told = tool_at(&url)
                        .args(["run", "x", "--wait", "60s", "--", "true"])
                        .output()
                        .unwrap();
                    assert!(told.status.success(), "{told:?}");
                    let told = tool_at(&url).args(["list"]).output().unwrap();
                    assert!(told.status.success(), "{told:?}");
                }
            });
        }
    });
    until_held(&database, 0);
}

/// The tool in a container, where it is process 1, as are all others in theirs.
fn contained(url: &str, words: &[&str]) -> Command {
    let container = [
        "env",
        "--default-signal",
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
    ];
    let mut tool = tool_from(&container, url);
    tool.args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    tool
}

/// The process id of the tool, here and not in its container.
fn pid(container: &Running) -> u32 {
    let unshare = container.0.id();
    let mut pid = None;
    eventually("the container has a process", || {
        let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children"));
        pid = children.unwrap().trim().parse().ok();
        pid.is_some()
    });
    pid.unwrap()
}

#[test]
fn leaving_the_queue_cancels_no_other_waiter() {
    if !Uid::effective().is_root() {
        return eprintln!("not run: process namespaces are for root");
    }
    let database = database_with(1);
    let (_bouncer, url) = pooled(&database, 3);
    let mut observer = database.connect();
    let words = [
        "run",
        "x",
        "--wait-forever",
        "--",
        "sh",
        "-c",
        "echo begun; read -r _; exit 4",
    ];
    for _ in 0..rounds(20) {
        // Both come at once, so that one may get a session that the other has had.
        let mut both = [0, 1].map(|_| Running::start(&mut contained(&url, &words)));
        until_held(&database, 1);
        until_waiting(&database, 1);
        eventually("a command runs", || both.iter().any(Running::has_printed));
        let held = sem::holders(&mut observer, "x").unwrap().remove(0);
        assert_eq!(held.session.application.as_deref(), Some("dbsemaphore[1]"));
        if both[1].has_printed() {
            both.reverse();
        }
        let [mut holder, mut waiter] = both;
        send(pid(&waiter), Signal::SIGTERM as i32);
        assert_eq!(waiter.end(), 128 + Signal::SIGTERM as i32);
        until_waiting(&database, 0);

        let still = sem::holders(&mut observer, "x").unwrap();
        let still = still.first().map(|still| (still.ticket, &still.session));
        assert_eq!(still, Some((held.ticket, &held.session)));
        drop(holder.0.stdin.take());
        assert_eq!(holder.end(), 4, "76 is a loss");
    }
}

#[test]
fn a_ticket_acquired_at_the_last_moment_is_released() {
    let database = database_with(1);
    let (_bouncer, url) = pooled(&database, 4);
    for url in [&tool::url(&database), &url] {
        for _ in 0..rounds(15) {
            let guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
            let mut tool = tool_at(url);
            let mut tool = Running::start(tool.args(["run", "x", "--wait-forever", "--", "true"]));
            until_waiting(&database, 1);
            let barrier = Barrier::new(2);
            thread::scope(|scope| {
                scope.spawn(|| {
                    barrier.wait();
                    drop(guard);
                });
                barrier.wait();
                tool.signal(Signal::SIGTERM);
            });
            let ended = tool.end();
            assert!(
                [0, 128 + Signal::SIGTERM as i32].contains(&ended),
                "{ended}"
            );
            until_held(&database, 0);
            until_waiting(&database, 0);
        }
    }
}
