//! The commands that do one thing, and say so.

use crate::tool::{
    Running, code, database_with, on_terminal, tell, tool, tool_at, until_held, until_waiting,
};
use diesel::connection::SimpleConnection;
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use serde_json::{Value, json};
use stand::{Database, Server};
use std::io::Write;

fn json(database: &Database, words: &[&str]) -> Value {
    let told = tell(database, words);
    assert!(told.status.success(), "{told:?}");
    serde_json::from_slice(&told.stdout).unwrap()
}

#[test]
fn a_life() {
    let database = Database::create();
    for _ in 0..2 {
        assert_eq!(
            json(&database, &["migrate", "--json"]),
            json!({ "migrated": true })
        );
    }
    assert_eq!(json(&database, &["list", "--json"]), json!([]));
    let made = json(&database, &["make", "x", "2", "--json"]);
    assert_eq!(made, json!({ "name": "x", "size": 2 }));
    json(&database, &["make", "x", "3", "--json"]);
    let _guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let x = json!({ "name": "x", "size": 3, "in_use": 1, "waiting": 0 });
    assert_eq!(json(&database, &["list", "--json"]), json!([x]));
    drop(_guard);
    let gone = json(&database, &["destroy", "x", "--json"]);
    assert_eq!(gone, json!({ "name": "x", "destroyed": true }));
    assert_eq!(code(tell(&database, &["destroy", "x"]).status), 1);
}

#[test]
fn show_lists_holders_and_waiters() {
    let database = database_with(1);
    let guard = SemaphoreTicket::require(database.connect(), Request::new("x").label("for Ada"));
    let guard = guard.unwrap();
    let mut waits = tool(&database);
    let mut waits = Running::start(waits.args(["run", "x", "--wait-forever", "--", "true"]));
    until_waiting(&database, 1);

    let seen = json(&database, &["show", "x", "--json"]);
    let (holder, waiter) = (&seen["holders"][0], &seen["waiters"][0]);
    assert_eq!(holder["ticket"], guard.ticket().ids()[0]);
    assert_eq!(holder["label"], "for Ada");
    assert!(holder["held_for_ms"].as_u64().unwrap() < 60_000);
    assert_eq!(
        (&waiter["position"], &waiter["label"]),
        (&json!(1), &json!("true"))
    );
    assert_eq!(waiter["tickets"], 1);

    let text = tell(&database, &["show", "x"]).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("1 of 1 tickets in use, 1 waiting"), "{text}");
    assert!(
        text.contains("for Ada") && text.contains("WAITED"),
        "{text}"
    );
    drop(guard);
    assert_eq!(waits.end(), 0);
}

#[test]
fn control_characters_in_names_are_not_printed() {
    let database = database_with(1);
    sem::make(&mut database.connect(), "\u{1b}[2J", 1).unwrap();
    let told = tell(&database, &["list"]);
    assert!(!told.stdout.contains(&0x1b), "{told:?}");
}

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
    let guard = SemaphoreTicket::require(&mut conn, "x").unwrap();
    let ticket = guard.ticket().ids()[0];
    let script = format!("\"$TOOL\" terminate x {ticket}");
    let ask = || {
        let mut terminal = Running::start(&mut on_terminal(&database, &script));
        // The question itself ends without a new line.
        assert!(terminal.line_with(".").starts_with("Session "));
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
    let mut guard = SemaphoreTicket::require(&mut conn, "x").unwrap();
    let (code, said) = answer(terminal, "who holds what");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no longer the same"), "{said}");
    guard.check().unwrap();

    // Another session.
    let terminal = ask();
    drop(guard);
    let mut guard = SemaphoreTicket::require(&mut other, "x").unwrap();
    assert_eq!(answer(terminal, "who holds what").0, 1);
    guard.check().unwrap();

    let (code, said) = answer(ask(), "is released");
    assert_eq!(code, 0, "{said}");
    assert!(guard.check().is_err());
}

#[test]
fn a_prepared_transaction_is_named_by_terminate() {
    let server = Server::start_with(&["max_prepared_transactions=1"]);
    let database = server.create_database();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, "x", 1).unwrap();
    conn.batch_execute("BEGIN").unwrap();
    conn.batch_execute(
        "SELECT dbsemaphore._try_acquire('x', 1, NULL, NULL); PREPARE TRANSACTION 'moving house'",
    )
    .unwrap();
    let ticket = sem::holders(&mut conn, "x").unwrap()[0].ticket.to_string();
    let told = tool_at(database.url())
        .args(["terminate", "x", &ticket, "--yes"])
        .output()
        .unwrap();
    assert_eq!(code(told.status), 1);
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("moving house"), "{told}");
    conn.batch_execute("ROLLBACK PREPARED 'moving house'")
        .unwrap();
}
