//! Output that can't be written.

mod sink;

use crate::database::Database;
use crate::tool::{
    self, Running, code, database_with, on_terminal, tool, tool_from, until_waiting,
};
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd::pipe,
};
use sink::{SINKS, Sink, full_disk};
use std::{
    fs::{self, File},
    io::{Read, Write},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

/// Less than the time that the end of the tool gives to messages that nobody reads, and what is slow on a machine.
pub(crate) const SOON: Duration = Duration::from_secs(8);

#[test]
fn exit_codes_hold_whatever_standard_error_is() {
    let database = database_with(1);
    let guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let check = |sink: Sink, words: &[&str], expected| {
        let (mut tool, _reader) = sink.stderr(&database);
        let mut tool = Running::start(tool.args(words));
        assert_eq!(tool.end_within(SOON), expected, "{sink:?} {words:?}");
    };
    for sink in SINKS {
        for (words, expected) in [
            (&["run", "x", "--", "true"][..], 75),
            (&["run", "x", "--wait", "20ms", "--", "true"], 75),
            (&["run", "nobody", "--", "true"], 125),
            (&["run", "x"], 125),
            (&["show", "nobody"], 1),
            (&["list", "x"], 2),
            (&["become", "1", "--", "true"], 137),
        ] {
            check(sink, words, expected);
        }
    }
    drop(guard);
    for sink in SINKS {
        check(sink, &["run", "x", "--", "/nowhere/nothing"], 127);
        let with_parent = ["run", "x", "--kill-with-parent", "--", "/nowhere/nothing"];
        check(sink, &with_parent, 127);
    }
}

#[test]
fn a_loss_ends_the_command_whatever_standard_error_is() {
    for sink in SINKS {
        let database = database_with(1);
        let (mut tool, _reader) = sink.stderr(&database);
        tool.args(["run", "x", "--grace", "1h", "--", "sh", "-c"])
            .arg("trap 'echo told; exit 0' TERM; echo begun; while :; do sleep 0.02; done 2>/dev/null");
        let mut tool = Running::start(tool.stdout(Stdio::piped()));
        assert_eq!(tool.line(), "begun");
        database.lose();
        assert_eq!(tool.line(), "told", "{sink:?}");
        assert_eq!(tool.end_within(SOON), 76, "{sink:?}");
    }
}

#[test]
fn signals_are_passed_on_while_a_message_waits_for_its_reader() {
    let database = database_with(1);
    let (mut tool, _reader) = Sink::Unread.stderr(&database);
    // Deaf to the SIGTERM of the loss: the message is under way when the next signal comes.
    tool.args(["run", "x", "--grace", "1h", "--", "sh", "-c"])
        .arg("trap 'echo told' TERM; trap 'echo hurt; exit 0' USR1; echo begun; while :; do sleep 0.02; done 2>/dev/null");
    let mut tool = Running::start(tool.stdout(Stdio::piped()));
    assert_eq!(tool.line(), "begun");
    database.lose();
    assert_eq!(tool.line(), "told");
    tool.signal(nix::sys::signal::Signal::SIGUSR1);
    assert_eq!(tool.line(), "hurt");
    assert_eq!(tool.end_within(SOON), 76);
}

#[test]
fn unwritable_output_is_an_error_and_an_ended_reader_is_not() {
    let database = database_with(1);
    for words in [
        &["list"][..],
        &["list", "--json"],
        &["show", "x"],
        &["--help"],
        &["--version"],
    ] {
        let told = tool(&database)
            .args(words)
            .stdout(full_disk())
            .output()
            .unwrap();
        assert_eq!(code(told.status), 1, "{words:?} {told:?}");
        let said = String::from_utf8_lossy(&told.stderr);
        assert!(said.contains("standard output can't be written"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");

        let ended = pipe().unwrap().1;
        let told = tool(&database).args(words).stdout(ended).output().unwrap();
        assert_eq!(
            (code(told.status), &*told.stderr),
            (0, &b""[..]),
            "{words:?}"
        );
    }
    // All three are closed.
    let shell = ["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"];
    let status = tool_from(&shell, tool::url(&database)).arg("list").status();
    assert_eq!(code(status.unwrap()), 0);
}

#[test]
fn a_slow_reader_gets_all_output() {
    let database = database_with(0);
    let mut conn = database.connect();
    for number in 0..400 {
        sem::make(&mut conn, &format!("{number:0200}"), 0).unwrap();
    }
    let (reader, writer) = pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    // Without this end of the pipe.
    let mut tool = Running::start(tool(&database).arg("list").stdout(writer));
    // Full by then.
    thread::sleep(Duration::from_millis(300));
    let mut text = String::new();
    File::from(reader).read_to_string(&mut text).unwrap();
    assert_eq!(tool.end_within(SOON), 0);
    // A head, and "x".
    assert_eq!(text.lines().count(), 402);
}

/// On a terminal, after these keys: the exit code, and what it showed.
fn shown(database: &Database, script: &str, keys: &str) -> (i32, String) {
    let mut terminal = Running::start(&mut on_terminal(database, script));
    let mut stdin = terminal.0.stdin.take().unwrap();
    stdin.write_all(keys.as_bytes()).unwrap();
    let mut shown = String::new();
    let stdout = terminal.0.stdout.as_mut().unwrap();
    stdout.read_to_string(&mut shown).unwrap();
    (terminal.end_within(SOON), shown)
}

#[test]
fn terminate_without_a_terminal_ends_nobody() {
    let database = database_with(1);
    let mut guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let ticket = guard.ticket().ids()[0];
    let script = format!("\"$TOOL\" terminate x {ticket} >/dev/full");
    let (code, shown) = shown(&database, &script, "y\n");
    assert_eq!(code, 1, "{shown}");
    assert!(
        shown.contains("standard output can't be written"),
        "{shown}"
    );
    guard.check().unwrap();
}

#[test]
fn top_ends_in_order_where_it_cannot_draw() {
    let database = database_with(1);
    for script in [
        "\"$TOOL\" top >/dev/full",
        "\"$TOOL\" top >/dev/full 2>/dev/full",
    ] {
        assert_eq!(shown(&database, script, "").0, 1, "{script}");
    }
    let (code, shown) = shown(&database, "\"$TOOL\" top 2>/dev/full", "q");
    assert_eq!(code, 0, "{shown}");
    // Without a terminal.
    let told = tool(&database).arg("top").output().unwrap();
    assert_eq!(code_and_lines(&told), (1, 1), "{told:?}");
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(said.contains("top needs a terminal"), "{said}");
}

fn code_and_lines(told: &std::process::Output) -> (i32, usize) {
    let said = String::from_utf8_lossy(&told.stderr);
    (code(told.status), said.lines().count())
}

/// A terminal whose other end reads nothing.
#[test]
fn top_obeys_sigterm_while_its_terminal_blocks() {
    let database = database_with(0);
    let mut conn = database.connect();
    for number in 0..100 {
        sem::make(&mut conn, &format!("{number:0200}"), 0).unwrap();
    }
    let (_reader, writer) = pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let script = "stty rows 500 columns 400; echo $$ >\"$PID\"; exec \"$TOOL\" top";
    let pid = tempfile::NamedTempFile::new().unwrap();
    let mut terminal = on_terminal(&database, script);
    terminal.env("PID", pid.path()).stdout(writer);
    let terminal = Running::start(&mut terminal);
    let mut top = 0;
    stand::eventually("top waits for its terminal", || {
        let text = fs::read_to_string(pid.path()).unwrap_or_default();
        top = text.trim().parse().unwrap_or_default();
        let place = fs::read_to_string(format!("/proc/{top}/wchan")).unwrap_or_default();
        place.contains("tty") || place.contains("wait_woken")
    });
    let sent = Instant::now();
    tool::send(top, nix::libc::SIGTERM);
    stand::eventually("top ends", || !tool::is_alive(top));
    assert!(sent.elapsed() < SOON);
    drop(terminal);
}

/// A terminal may stop whoever writes to it from the background.
#[test]
fn messages_in_the_background_do_not_stop_the_tool() {
    let database = database_with(1);
    let script = "set -m; stty tostop; \"$TOOL\" run nobody -- true & wait $!; echo \"code $?\"";
    let mut terminal = Running::start(&mut on_terminal(&database, script));
    assert!(terminal.line_with("125").ends_with("code 125"));
    terminal.end();
}

/// While nobody reads its message, the tool does not end at once.
#[test]
fn a_shrink_that_has_failed_is_not_made_later() {
    let database = database_with(1);
    let ticket = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let (mut tool, _reader) = Sink::Unread.stderr(&database);
    let mut tool = Running::start(tool.args(["make", "x", "0", "--wait", "1s"]));
    until_waiting(&database, 1);
    thread::sleep(Duration::from_millis(1400));
    ticket.release().unwrap();
    let size = match tool.end() {
        0 => 0,
        1 => 1,
        other => panic!("exit code {other}"),
    };
    let usage = sem::usage_of(&mut database.connect(), "x").unwrap();
    assert_eq!(usage.size, size);
}
