//! The end of sessions that hold a ticket.

use crate::tool::{
    Running, code, database_with, on_terminal, tell, tool, until_held, until_waiting,
};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use std::{io::Write, process::Stdio};

/// MySQL knows since when a guard holds its ticket if the guard has a label.
const REQUEST: Request<'_> = Request::new("x").label("test");

#[test]
fn terminate_asks_for_confirmation() {
    let database = database_with(1);
    let mut guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let ticket = guard.ticket().ids()[0].to_string();
    for (words, expected) in [
        (&["terminate", "x", &ticket][..], 1),
        (&["terminate", "x", "99", "--yes"], 1),
        (&["terminate", "y", &ticket, "--yes"], 1),
    ] {
        let told = tell(&database, words);
        assert_eq!(code(told.status), expected, "{told:?}");
        assert_eq!(String::from_utf8_lossy(&told.stderr).lines().count(), 1);
        guard.check().unwrap();
    }
    let told = tell(&database, &["terminate", "x", &ticket, "--yes"]);
    assert!(told.status.success(), "{told:?}");
    assert!(guard.check().is_err());
    until_held(&database, 0);
}

#[test]
fn terminate_spares_a_later_holder() {
    let database = database_with(1);
    let mut conn = database.connect();
    let mut other = database.connect();
    let guard = SemaphoreTicket::require(&mut conn, REQUEST).unwrap();
    let ticket = guard.ticket().ids()[0];
    let script = format!("\"$TOOL\" terminate x {ticket}");
    let ask = || {
        let mut terminal = Running::start(&mut on_terminal(&database, &script));
        // The question itself ends without a new line.
        assert!(terminal.line_with(".").starts_with("Ticket "));
        terminal
    };
    let answer = |mut terminal: Running, end: &str| {
        writeln!(terminal.0.stdin.as_mut().unwrap(), "y").unwrap();
        let said = terminal.line_with(end);
        (terminal.end(), said)
    };

    // Another transaction of the same session: behind a pooler, it would be another client's.
    let terminal = ask();
    drop(guard);
    let mut guard = SemaphoreTicket::require(&mut conn, REQUEST).unwrap();
    let (code, said) = answer(terminal, "who holds what");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no longer the same"), "{said}");
    guard.check().unwrap();

    // Another session.
    let terminal = ask();
    drop(guard);
    let mut guard = SemaphoreTicket::require(&mut other, REQUEST).unwrap();
    assert_eq!(answer(terminal, "who holds what").0, 1);
    guard.check().unwrap();

    let (code, said) = answer(ask(), "is released");
    assert_eq!(code, 0, "{said}");
    assert!(guard.check().is_err());
}

/// On MySQL, the age of a hold without a label.
#[test]
fn the_question_leaves_out_what_is_unknown() {
    let database = database_with(1);
    let guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let ticket = guard.ticket().ids()[0];
    let script = format!("\"$TOOL\" terminate x {ticket}");
    let mut terminal = Running::start(&mut on_terminal(&database, &script));
    let question = terminal.line_with(".");
    let begin = format!("Ticket {ticket} of \"x\" is held by session ");
    assert!(question.starts_with(&begin), "{question}");
    assert!(!question.contains("for )"), "{question}");
}

#[test]
fn a_request_whose_session_ends_fails_and_loses_no_ticket() {
    let database = database_with(1);
    let _guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut tool = tool(&database);
    tool.args(["run", "x", "--wait-forever", "--", "echo", "begun"]);
    let mut tool = Running::start(tool.stdout(Stdio::piped()).stderr(Stdio::piped()));
    until_waiting(&database, 1);
    let waiter = sem::waiters(&mut database.connect(), "x")
        .unwrap()
        .remove(0);
    database.end_session(waiter.session.pid.unwrap());
    assert_eq!(tool.end(), 125);
    assert_eq!(tool.line(), "", "the command is not started");
    let said = tool.said();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!said.contains("the ticket was lost"), "{said}");
    until_waiting(&database, 0);
}
