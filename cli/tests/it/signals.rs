//! Signals, while the tool waits for a ticket and while its command runs.

use crate::tool::{
    self, Running, TOOL, database_with, is_alive, on_terminal, send, tool, tool_from, until_held,
    until_waiting,
};
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use nix::sys::signal::Signal;
use std::{
    io::Write,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// What is asked for are 200 ms.
const AT_ONCE: Duration = Duration::from_secs(2);

#[test]
fn signals_end_a_waiting_tool_and_empty_the_queue() {
    let database = database_with(1);
    let _guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut observer = database.connect();
    let mut left_at_once = 0;
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        for place in 1..=3 {
            // The head of the queue sleeps on another lock than the waiters behind it.
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
    assert!(left_at_once >= 3, "{left_at_once} of 9");
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

/// Those whose default action ends a process, but for SIGKILL, and for those by which the kernel reports a fault of the
/// process itself. The C library keeps 32 and 33 for its own use.
fn fatal() -> impl Iterator<Item = i32> {
    use nix::libc::*;
    let others = [
        SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGPIPE, SIGCHLD, SIGCONT, SIGTSTP,
        SIGTTIN, SIGTTOU, SIGURG, SIGWINCH, 32, 33,
    ];
    (1..=64).filter(move |number| !others.contains(number))
}

/// Without the files that some signals leave behind.
const NO_CORE: [&str; 6] = [
    "env",
    "--default-signal",
    "sh",
    "-c",
    "ulimit -c 0; exec \"$@\"",
    "sh",
];

#[test]
fn each_fatal_signal_ends_a_waiting_tool_with_its_code() {
    let database = database_with(1);
    let _guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    for signal in fatal() {
        let mut tool = tool_from(&NO_CORE, tool::url(&database));
        tool.args(["run", "x", "--wait-forever", "--", "true"]);
        let mut tool = Running::start(&mut tool);
        until_waiting(&database, 1);
        send(tool.0.id(), signal);
        assert_eq!(tool.end(), 128 + signal);
        until_waiting(&database, 0);
    }
}

#[test]
fn each_fatal_signal_is_passed_on() {
    let database = database_with(1);
    for words in [&[][..], &["--process-group"]] {
        for signal in fatal() {
            let mut tool = tool_from(&NO_CORE, tool::url(&database));
            tool.args(["run", "x"])
                .args(words)
                .args(["--", "sh", "-c", "echo $$; exec cat"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            let mut tool = Running::start(&mut tool);
            let command = tool.line().parse().unwrap();
            send(tool.0.id(), signal);
            assert_eq!(tool.end(), 128 + signal);
            assert!(!is_alive(command));
            until_held(&database, 0);
        }
    }
}

/// The old way to limit the time of a program that doesn't know it.
#[test]
fn an_inherited_alarm_ends_the_command() {
    let database = database_with(1);
    let perl = [
        "env",
        "--default-signal",
        "perl",
        "-e",
        "alarm 1; exec @ARGV",
    ];
    let mut tool = tool_from(&perl, tool::url(&database));
    tool.args(["run", "x", "--", "sleep", "1000"]);
    assert_eq!(
        Running::start(&mut tool).end(),
        128 + Signal::SIGALRM as i32
    );
    until_held(&database, 0);
}

/// The terminal sends what its keys mean to all that run in its foreground, or, in a process group of its own, the
/// command gets it from the tool. In either case once.
#[test]
fn keys_on_the_terminal_reach_the_command_once() {
    const SCRIPT: &str = "n=0; trap 'n=$((n + 1)); echo got' INT QUIT; trap 'echo \"$n times\"; exit 3' USR1; \
                          echo $PPID; while kill -0 $PPID; do sleep 0.02; done";
    let database = database_with(1);
    for words in ["", "--process-group"] {
        for key in [b"\x03", b"\x1c"] {
            let run = format!("ulimit -c 0; exec \"$TOOL\" run x {words} -- sh -c \"$SCRIPT\"");
            let mut terminal = on_terminal(&database, &run);
            terminal.env("SCRIPT", SCRIPT);
            let mut terminal = Running::start(&mut terminal);
            let tool = terminal.line().parse().unwrap();
            terminal.0.stdin.as_mut().unwrap().write_all(key).unwrap();
            // The key itself is shown, too.
            terminal.line_with("got");
            // Passed on after all that the tool has heard before.
            send(tool, Signal::SIGUSR1 as i32);
            let line = terminal.line_with("times");
            assert_eq!(line, "1 times", "{words} {key:?}");
            assert_eq!(terminal.end(), 3);
            until_held(&database, 0);
        }
    }
}
