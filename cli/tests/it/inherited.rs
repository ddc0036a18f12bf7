//! What the tool inherits, and hands on to its command.

use crate::tool::{self, Running, database_with, tool_from, until_held, until_waiting};
use diesel_dbsemaphore::SemaphoreTicket;
use nix::sys::signal::Signal;
use stand::eventually;
use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

/// What it takes on a machine that is busy. Never is what goes wrong.
const SOON: Duration = Duration::from_secs(10);

const LAUNCHERS: [&[&str]; 8] = [
    &["env", "--default-signal", "--block-signal=CHLD"],
    &["env", "--default-signal", "--ignore-signal=CHLD"],
    &[
        "env",
        "--default-signal",
        "--block-signal=CHLD",
        "--ignore-signal=CHLD",
    ],
    &["env", "--default-signal", "--ignore-signal=PIPE"],
    &[
        "env",
        "--default-signal",
        "--block-signal=TERM,INT,HUP,QUIT,USR1,ALRM",
    ],
    // Each signal that can be blocked.
    &["env", "--default-signal", "--block-signal"],
    &["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"],
    &["sh", "-c", "ulimit -c 0 -n 32; exec \"$@\"", "sh"],
];

#[test]
fn the_tool_ends_with_its_command_whatever_it_inherits() {
    let database = database_with(1);
    for launcher in LAUNCHERS {
        for words in [&[][..], &["--kill-with-parent"], &["--process-group"]] {
            let check = |command: &[&str], expected| {
                let mut tool = tool_from(launcher, tool::url(&database));
                tool.args(["run", "x"]).args(words).arg("--").args(command);
                let mut tool = Running::start(tool.stderr(Stdio::null()));
                assert_eq!(
                    tool.end_within(SOON),
                    expected,
                    "{launcher:?} {words:?} {command:?}"
                );
                until_held(&database, 0);
            };
            check(&["sh", "-c", "sleep 0.02; exit 7"], 7);
            check(&["sh", "-c", "kill -KILL $$"], 137);
            check(&["/nowhere/nothing"], 127);
        }
    }
}

#[test]
fn blocked_signals_are_heard_and_passed_on() {
    let database = database_with(1);
    for launcher in [LAUNCHERS[4], LAUNCHERS[5]] {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1] {
            let guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
            let mut tool = tool_from(launcher, tool::url(&database));
            tool.args(["run", "x", "--wait-forever", "--", "true"]);
            let mut tool = Running::start(&mut tool);
            until_waiting(&database, 1);
            tool.signal(signal);
            assert_eq!(tool.end_within(SOON), 128 + signal as i32);
            drop(guard);

            // The command has it blocked, too: there it waits.
            let mut tool = tool_from(launcher, tool::url(&database));
            tool.args(["run", "x", "--", "sh", "-c"])
                .arg("echo $$; read -r _; exit 5")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            let mut tool = Running::start(&mut tool);
            let command = tool.line();
            tool.signal(signal);
            eventually("the command has it", || is_pending(&command, signal));
            drop(tool.0.stdin.take());
            assert_eq!(tool.end_within(SOON), 5);
        }
    }
}

fn is_pending(pid: &str, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    mask(&status, "ShdPnd:") >> (signal as i32 - 1) & 1 == 1
}

fn mask(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
}

/// The masks in /proc/self/status of a command that is run by these programs: blocked, ignored, caught.
fn masks(launcher: &[&str], tool: Option<(&str, &[&str])>) -> [u64; 3] {
    let read = ["cat", "/proc/self/status"];
    let mut command = match tool {
        None => {
            let mut command = Command::new(launcher[0]);
            command.args(&launcher[1..]);
            command
        }
        Some((url, words)) => {
            let mut tool = tool_from(launcher, url);
            tool.args(["run", "x"]).args(words).arg("--");
            tool
        }
    };
    let told = command.args(read).output().unwrap();
    let status = String::from_utf8(told.stdout).unwrap();
    ["SigBlk:", "SigIgn:", "SigCgt:"].map(|name| mask(&status, name))
}

#[test]
fn the_command_inherits_what_the_tool_was_given() {
    const CHLD_AND_PIPE: u64 =
        1 << (Signal::SIGCHLD as i32 - 1) | 1 << (Signal::SIGPIPE as i32 - 1);
    let database = database_with(1);
    let url = tool::url(&database);
    let given: [&[&str]; 4] = [
        &["env", "--default-signal"],
        &["env", "--default-signal", "--block-signal=TERM,CHLD,RTMIN"],
        &["env", "--ignore-signal"],
        &[
            "env",
            "--default-signal",
            "--ignore-signal=HUP,USR2,TSTP,CONT",
            "--block-signal",
        ],
    ];
    for launcher in given {
        for words in [&[][..], &["--kill-with-parent"], &["--process-group"]] {
            let [blocked, ignored, _] = masks(launcher, None);
            // As with timeout and flock, it can learn how its own children end. Rust's programs can't know whether SIGPIPE
            // was ignored when they started.
            let expected = [blocked, ignored & !CHLD_AND_PIPE, 0];
            assert_eq!(
                masks(launcher, Some((&url, words))),
                expected,
                "{launcher:?} {words:?}"
            );
        }
    }
}

/// The socket to the database would be taken for one of them.
#[test]
fn closed_descriptors_are_not_reused() {
    let database = database_with(1);
    let file = tempfile::NamedTempFile::new().unwrap();
    let closed = ["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"];
    // A shell may redirect its own output for the program that it runs.
    let script = "three() { readlink /proc/$1/fd/0 /proc/$1/fd/1 /proc/$1/fd/2; }; \
                  seen=$(three $PPID; three $$); echo \"$seen\" >\"$SEEN\"";
    let mut tool = tool_from(&closed, tool::url(&database));
    tool.args(["run", "x", "--", "sh", "-c", script])
        .env("SEEN", file.path());
    assert_eq!(Running::start(&mut tool).end_within(SOON), 0);
    let seen = fs::read_to_string(file.path()).unwrap();
    assert_eq!(seen, "/dev/null\n".repeat(6));
}

/// With the socket to the database, a command could use the session, and would keep the ticket of a tool that was killed.
#[cfg(target_os = "linux")]
#[test]
fn the_command_has_no_files_but_those_that_the_tool_was_given() {
    let database = database_with(1);
    // Without those of the tests.
    let close = "for file in /proc/$$/fd/*; do fd=${file##*/}; [ $fd -lt 3 ] || exec {fd}>&-; done";
    let script = format!("{close}; exec 7</dev/null; exec \"$@\"");
    let list = "for file in /proc/$$/fd/*; do [ ! -e $file ] || echo ${file##*/}; done";
    for words in [&[][..], &["--kill-with-parent"]] {
        let mut tool = tool_from(&["bash", "-c", &script, "bash"], tool::url(&database));
        tool.args(["run", "x"]).args(words);
        let told = tool.args(["--", "sh", "-c", list]).output().unwrap();
        let listed = String::from_utf8(told.stdout).unwrap();
        assert_eq!(listed, "0\n1\n2\n7\n", "{words:?}");
    }
}
