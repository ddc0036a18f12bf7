//! Signals while the tool waits for a ticket.

use crate::tool::{self, Running, TOOL, database_with, tool, until_waiting};
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use nix::sys::signal::Signal;
use std::{
    os::unix::process::CommandExt,
    process::Command,
    time::{Duration, Instant},
};

/// What is asked for are 200 ms.
const AT_ONCE: Duration = Duration::from_secs(2);

#[test]
fn they_end_it_at_once_and_nobody_is_left_in_line() {
    let database = database_with(1);
    let _guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut observer = database.connect();
    let mut left_at_once = 0;
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        for place in 1..=3 {
            // The head of the line sleeps on something else than those behind it.
            let mut line: Vec<Running> = (1..=place)
                .map(|place| {
                    let mut tool = tool(&database);
                    tool.args(["run", "x", "--wait-forever", "--", "false"]);
                    let tool = Running::start(&mut tool);
                    until_waiting(&database, place);
                    tool
                })
                .collect();
            let mut last = line.pop().unwrap();
            let sent = Instant::now();
            last.signal(signal);
            assert_eq!(last.end(), 128 + signal as i32);
            assert!(sent.elapsed() < AT_ONCE, "{signal}: {:?}", sent.elapsed());
            left_at_once += u32::from(sem::waiters(&mut observer, "x").unwrap().len() < place);
            for mut tool in line {
                tool.signal(Signal::SIGTERM);
                tool.end();
            }
            until_waiting(&database, 0);
        }
    }
    // By itself the server would notice within a second. On a machine that has no time for anything, it has to.
    assert!(left_at_once >= 5, "{left_at_once} of 9");
}

#[test]
fn what_nohup_ignores_stays_ignored() {
    let database = database_with(1);
    let guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
        .arg(TOOL)
        .args(["run", "x", "--wait-forever", "--"])
        .args(["sh", "-c", "kill -HUP $$; exit 5"])
        .env("DATABASE_URL", tool::url(&database))
        .process_group(0);
    let mut tool = Running::start(&mut shell);
    until_waiting(&database, 1);
    tool.signal(Signal::SIGHUP);
    drop(guard);
    assert_eq!(tool.end(), 5);
}
