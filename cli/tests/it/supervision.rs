//! The command is never left alone: whatever happens to the ticket or to the tool.

use crate::database::Database;
use crate::tool::{Running, database_with, is_alive, send, state, tool, until_held};
use nix::sys::signal::Signal;
use stand::eventually;
use std::{os::unix::process::CommandExt, process::Stdio};

/// The tool, its command, and what that has started. All are killed when dropped.
struct Family {
    tool: Running,
    command: u32,
    child: u32,
}

impl Family {
    /// The child is this script for a shell, which prints a line once it has begun.
    fn start(database: &Database, words: &[&str], child: &str) -> Self {
        let mut tool = tool(database);
        tool.args(["run", "x", "--grace", "1500ms"])
            .args(words)
            .args(["--", "sh", "-c", "sh -c \"$CHILD\" & wait"])
            .env("CHILD", child)
            .stdout(Stdio::piped());
        let mut tool = Running::start(&mut tool);
        let line = tool.line();
        let (command, child) = line.split_once(' ').unwrap();
        Self {
            command: command.parse().unwrap(),
            child: child.parse().unwrap(),
            tool,
        }
    }

    fn alive(&self) -> (bool, bool) {
        (is_alive(self.command), is_alive(self.child))
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        for pid in [self.command, self.child] {
            if is_alive(pid) {
                send(pid, Signal::SIGKILL as i32);
            }
        }
    }
}

const SLEEPS: &str = "echo $PPID $$; exec sleep 1000 >/dev/null";

#[test]
fn a_loss_reaches_the_whole_group_only_if_told_so() {
    let database = database_with(1);
    let mut family = Family::start(&database, &[], SLEEPS);
    database.lose();
    assert_eq!(family.tool.end(), 76);
    assert_eq!(family.alive(), (false, true));

    let mut family = Family::start(&database, &["--process-group"], SLEEPS);
    database.lose();
    assert_eq!(family.tool.end(), 76);
    assert_eq!(family.alive(), (false, false));
}

/// The command ends at once, and what it has started takes its time, or doesn't want to.
#[test]
fn a_group_has_the_time_of_grace_and_no_more() {
    let database = database_with(1);
    let slow =
        "trap 'sleep 0.3; echo cleared; exit' TERM; echo $PPID $$; while :; do sleep 0.02; done";
    let mut family = Family::start(&database, &["--process-group"], slow);
    database.lose();
    assert_eq!(family.tool.line(), "cleared");
    assert_eq!(family.tool.end(), 76);
    assert_eq!(family.alive(), (false, false));

    let deaf = "trap '' TERM; echo $PPID $$; while :; do sleep 0.02; done";
    let mut family = Family::start(&database, &["--process-group"], deaf);
    database.lose();
    assert_eq!(family.tool.end(), 76);
    eventually("SIGKILL takes effect", || family.alive() == (false, false));
}

#[test]
fn signals_reach_the_whole_group() {
    let database = database_with(1);
    for words in [
        &["--process-group"][..],
        &["--process-group", "--kill-with-parent"],
    ] {
        let mut family = Family::start(&database, words, SLEEPS);
        family.tool.signal(Signal::SIGTERM);
        assert_eq!(family.tool.end(), 143);
        eventually("the rest of the group ends", || {
            family.alive() == (false, false)
        });
        until_held(&database, 0);
    }
}

#[test]
fn a_stopped_command_is_ended_as_well() {
    let database = database_with(1);
    let mut tool = tool(&database);
    tool.args(["run", "x", "--grace", "1h", "--", "sh", "-c"])
        .arg("echo $$; exec sleep 1000")
        .stdout(Stdio::piped());
    let mut tool = Running::start(&mut tool);
    let command = tool.line().parse().unwrap();
    send(command, Signal::SIGSTOP as i32);
    eventually("it is stopped", || state(command) == Some('T'));
    database.lose();
    assert_eq!(tool.end(), 76);
    assert!(!is_alive(command));
}

#[test]
fn job_control_stops_and_continues_both() {
    let database = database_with(1);
    for words in [&[][..], &["--process-group"]] {
        let mut tool = tool(&database);
        tool.args(["run", "x"]).args(words);
        tool.args(["--", "sh", "-c", "echo $$; exec cat"])
            // A group that has its parent outside: SIGTSTP does nothing in an orphaned one, as a test run by cron may be in.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut tool = Running::start(&mut tool);
        let command = tool.line().parse().unwrap();
        let both = [tool.0.id(), command];
        for _ in 0..3 {
            tool.signal(Signal::SIGTSTP);
            eventually("both are stopped", || both.map(state) == [Some('T'); 2]);
            tool.signal(Signal::SIGCONT);
            eventually("both go on", || both.map(state) == [Some('S'); 2]);
        }
        drop(tool.0.stdin.take());
        assert_eq!(tool.end(), 0);
        until_held(&database, 0);
    }
}
