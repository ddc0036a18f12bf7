//! Commands that run while a ticket is held.

use crate::{
    command::Worker,
    database::Database,
    tool::{
        self, Running, TOOL, code, database_with, is_alive, tell, tool, until_held, until_waiting,
    },
};
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use nix::sys::signal::Signal;
use stand::{Witness, eventually};
use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Shells, as `cron` starts them.
#[test]
fn twenty_shells_at_once() {
    const WAYS: [(&str, bool, i32); 5] = [
        ("exit 0", false, 0),
        ("exit 3", false, 3),
        ("signal 9", false, 137),
        ("signal 15", false, 143),
        ("exit 7", true, 7),
    ];
    let database = database_with(3);
    let mut witness = Witness::new();
    thread::scope(|scope| {
        let shells: Vec<_> = (0..20)
            .map(|number| {
                let (way, deaf, expected) = WAYS[number % WAYS.len()];
                let worker = Worker::new(&witness, way, deaf);
                let url = tool::url(&database);
                scope.spawn(move || {
                    let status = Command::new("sh")
                        .args(["-c", "\"$@\"; exit $?", "sh"])
                        .arg(TOOL)
                        .args(["run", "x", "--wait", "60s", "--"])
                        .args(&worker.words)
                        .envs(worker.env)
                        .env("DATABASE_URL", url)
                        .stdin(Stdio::null())
                        .status()
                        .unwrap();
                    assert_eq!(code(status), expected, "{way}");
                })
            })
            .collect();
        while !shells.iter().all(|shell| shell.is_finished()) {
            witness.listen(Duration::from_millis(20));
            assert!(witness.doubles().is_empty());
        }
    });
    assert_eq!(witness.take_most(), 3);
    until_held(&database, 0);
}

#[test]
fn no_available_ticket_has_its_own_exit_code() {
    let database = database_with(1);
    let guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let busy = tell(&database, &["run", "x", "--", "true"]);
    assert_eq!(code(busy.status), 75);
    assert_eq!(String::from_utf8_lossy(&busy.stderr).lines().count(), 1);
    let quiet = [
        "run",
        "-q",
        "x",
        "--busy-code",
        "0",
        "--wait",
        "10ms",
        "--",
        "false",
    ];
    let busy = tell(&database, &quiet);
    assert_eq!(code(busy.status), 0);
    assert!(busy.stderr.is_empty());
    drop(guard);
    assert_eq!(code(tell(&database, &quiet).status), 1);
}

#[test]
fn failures_have_the_usual_exit_codes() {
    let database = database_with(1);
    for (words, expected) in [
        (&["run", "x", "--", "/nowhere/nothing"][..], 127),
        (&["run", "x", "--", "/dev/null"], 126),
        (
            &["run", "x", "--kill-with-parent", "--", "/nowhere/nothing"],
            127,
        ),
        (
            &["run", "x", "--kill-with-parent", "--", "sh", "-c", "exit 9"],
            9,
        ),
        (&["run", "y", "--", "true"], 125),
        (&["run", "x", "--tickets", "2", "--", "true"], 125),
        (&["run", "x", "--tickets", "0", "--", "true"], 125),
        (&["run", "x"], 125),
        (&["run", "x", "--unknown", "--", "true"], 125),
        (&["run", "--tickets", "x", "x", "--", "true"], 125),
        // Semaphores of that name.
        (&["show", "run"], 1),
        (&["make", "run"], 2),
        (&["list", "become"], 2),
        (&["list", "x"], 2),
    ] {
        let told = tell(&database, words);
        assert_eq!(code(told.status), expected, "{words:?} {told:?}");
        until_held(&database, 0);
    }
}

#[test]
fn signals_are_passed_on() {
    let database = database_with(1);
    for (signal, way, deaf, expected) in [
        (Signal::SIGTERM, "exit 0", false, 143),
        (Signal::SIGHUP, "exit 0", false, 129),
        (Signal::SIGINT, "exit 0", false, 130),
        (Signal::SIGTERM, "exit 6", true, 6),
    ] {
        let mut witness = Witness::new();
        let worker = Worker::new(&witness, way, deaf);
        let mut tool = tool(&database);
        tool.args(["run", "x", "--"]).args(&worker.words);
        let mut tool = Running::start(tool.envs(worker.env).stdin(Stdio::piped()));
        eventually("the command runs", || {
            witness.listen(Duration::from_millis(1));
            witness.inside() == 1
        });
        tool.signal(signal);
        // Otherwise the command might end by itself before it gets the signal.
        if deaf {
            drop(tool.0.stdin.take());
        }
        assert_eq!(tool.end(), expected, "{signal} {deaf}");
        until_held(&database, 0);
    }
}

/// `sh` and `cat`: their first line is the process id of the command.
fn run_until_told(database: &Database, words: &[&str]) -> (Running, u32) {
    let mut tool = tool(database);
    tool.args(["run", "x"]).args(words);
    tool.args(["--", "sh", "-c", "trap '' TERM; echo $$; exec cat"]);
    let mut tool = Running::start(tool.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let command = tool.line().parse().unwrap();
    (tool, command)
}

#[test]
fn a_lost_ticket_ends_the_command() {
    let database = database_with(1);
    let (mut tool, command) = run_until_told(&database, &["--grace", "300ms"]);
    until_held(&database, 1);
    database.lose();
    assert_eq!(tool.end(), 76);
    assert!(!is_alive(command));
}

#[test]
fn a_loss_detected_at_the_end_is_reported() {
    let database = database_with(1);
    let mut tool = tool(&database);
    let script = "trap '' TERM; echo begun; read -r line; exit 0";
    tool.args(["run", "x", "--grace", "1h", "--", "sh", "-c", script]);
    tool.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut tool = Running::start(tool.stderr(Stdio::piped()));
    // A ticket has a holder before the request is answered. A session that ends in between is no loss.
    assert_eq!(tool.line(), "begun");
    database.lose();
    writeln!(tool.0.stdin.take().unwrap()).unwrap();
    assert_eq!(tool.end(), 76);
    let said = tool.said();
    assert!(said.contains("lost"), "{said}");
}

#[test]
fn a_killed_tool_releases_its_ticket() {
    let database = database_with(1);
    for words in [&[][..], &["--kill-with-parent"]] {
        let (mut tool, command) = run_until_told(&database, words);
        until_held(&database, 1);
        // The command has the other end, so that it doesn't end for want of input.
        let _stdin = tool.0.stdin.take();
        tool.signal(Signal::SIGKILL);
        assert_eq!(tool.end(), -9);
        let killed = Instant::now();
        until_held(&database, 0);
        // MySQL itself ends a session that says nothing after six seconds.
        assert!(killed.elapsed() < Duration::from_secs(3));
        if words.is_empty() {
            assert!(is_alive(command));
        } else {
            eventually("the command is killed", || !is_alive(command));
        }
    }
}

#[test]
fn background_processes_of_the_command_keep_no_ticket() {
    let database = database_with(1);
    let mut tool = tool(&database);
    // In the background, with all that it inherits.
    tool.args(["run", "x", "--", "sh", "-c", "exec 3<&0; cat <&3 & exit 0"]);
    let mut tool = Running::start(tool.stdin(Stdio::piped()));
    let _stdin = tool.0.stdin.take();
    assert_eq!(tool.end(), 0);
    let acquired = SemaphoreTicket::acquire(database.connect(), "x");
    assert!(acquired.unwrap().is_some());
}

#[test]
fn a_label_tells_the_command() {
    let database = database_with(1);
    let (mut tool, _) = run_until_told(&database, &["--wait-forever"]);
    let holder = sem::holders(&mut database.connect(), "x")
        .unwrap()
        .remove(0);
    let application = format!("dbsemaphore[{}]", tool.0.id());
    match &database {
        Database::Postgres(_) => assert_eq!(holder.session.application, Some(application)),
        #[cfg(feature = "mysql")]
        Database::Mysql(_) => {}
        Database::Sqlite(_) => assert_eq!(holder.session.pid, Some(tool.0.id() as i32)),
    }
    assert_eq!(holder.session.label.as_deref(), Some("sh"), "no arguments");
    let mut waits = tool::tool(&database);
    waits.args([
        "run",
        "x",
        "--wait-forever",
        "--label",
        "nightly",
        "--",
        "true",
    ]);
    let mut waits = Running::start(&mut waits);
    until_waiting(&database, 1);
    let waiters = sem::waiters(&mut database.connect(), "x").unwrap();
    assert_eq!(waiters[0].session.label.as_deref(), Some("nightly"));
    drop(tool.0.stdin.take());
    assert_eq!((tool.end(), waits.end()), (0, 0));
}
