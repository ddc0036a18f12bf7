//! The commands that do one thing, and say so.

use crate::database::Database;
use crate::tool::{Running, code, database_with, tell, tool, until_waiting};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use serde_json::{Value, json};
use std::time::Duration;

fn json(database: &Database, words: &[&str]) -> Value {
    let told = tell(database, words);
    assert!(told.status.success(), "{told:?}");
    serde_json::from_slice(&told.stdout).unwrap()
}

#[test]
fn a_life() {
    let database = Database::create();
    for created in [true, false] {
        assert_eq!(
            json(&database, &["migrate", "--json"]),
            json!({ "migrated": true, "created": created })
        );
    }
    assert_eq!(json(&database, &["list", "--json"]), json!([]));
    let unknown = tell(&database, &["make", "x", "2", "--existing"]);
    assert_eq!(code(unknown.status), 1);
    let made = json(&database, &["make", "x", "2", "--json"]);
    assert_eq!(made, json!({ "name": "x", "size": 2, "created": true }));
    let made = json(&database, &["make", "x", "3", "--existing", "--json"]);
    assert_eq!(made, json!({ "name": "x", "size": 3, "created": false }));
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
    assert!(text.contains("1 of 1 ticket in use, 1 waiting"), "{text}");
    assert!(
        text.contains("for Ada") && text.contains("WAITED"),
        "{text}"
    );
    drop(guard);
    assert_eq!(waits.end(), 0);
}

#[test]
fn one_ticket_is_no_plural() {
    let database = database_with(1);
    for (words, expected) in [
        (
            &["make", "y", "1"][..],
            "semaphore \"y\": created with 1 ticket\n",
        ),
        (
            &["make", "z", "2"],
            "semaphore \"z\": created with 2 tickets\n",
        ),
        (&["show", "y"], "\"y\": 0 of 1 ticket in use, 0 waiting\n"),
        (&["destroy", "y"], "semaphore \"y\": deleted\n"),
    ] {
        let told = tell(&database, words);
        assert_eq!(String::from_utf8_lossy(&told.stdout), expected, "{told:?}");
    }
}

#[test]
fn a_size_beyond_the_maximum_is_refused() {
    let told = tell(&database_with(1), &["make", "x", "1000001"]);
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(
        said.contains("more than a semaphore can have (1000000)"),
        "{said}"
    );
}

#[test]
fn a_missing_subcommand_is_answered_with_those_of_the_help() {
    let told = tell(&database_with(1), &[]);
    let said = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(2));
    assert!(
        said.contains(" make, ") && !said.contains("become"),
        "{said}"
    );
}

#[test]
fn another_word_for_a_subcommand_is_answered_with_its_name() {
    let database = database_with(1);
    for (word, name) in [
        ("resize", "make"),
        ("create", "make"),
        ("delete", "destroy"),
        ("remove", "destroy"),
        ("kill", "terminate"),
    ] {
        let told = tell(&database, &[word, "x", "3"]);
        let said = String::from_utf8_lossy(&told.stderr);
        assert_eq!(told.status.code(), Some(2));
        assert!(
            said.contains(&format!("unrecognized subcommand '{word}'")),
            "{said}"
        );
        assert!(
            said.contains(&format!("subcommand exists: '{name}'")),
            "{said}"
        );
    }
}

#[test]
fn control_characters_in_names_are_not_printed() {
    let database = database_with(1);
    sem::make(&mut database.connect(), "\u{1b}[2J", 1).unwrap();
    let told = tell(&database, &["list"]);
    assert!(!told.stdout.contains(&0x1b), "{told:?}");
}

#[test]
fn a_shrink_waits_no_longer_than_it_may() {
    let database = database_with(1);
    let ticket = SemaphoreTicket::require(database.connect(), "x").unwrap();
    // Less than a second counts as one.
    let output = tell(&database, &["make", "x", "0", "--wait", "200ms"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.contains("within 1s, so the old size remains"),
        "{error}"
    );
    let usage = sem::usage_of(&mut database.connect(), "x").unwrap();
    assert_eq!((usage.size, usage.in_use), (1, 1));

    // The wait has left the queue.
    ticket.release().unwrap();
    let limit = Duration::from_secs(60);
    let request = Request::new("x").wait(limit);
    drop(SemaphoreTicket::require(database.connect(), request).unwrap());
    let output = tell(&database, &["make", "x", "0", "--wait", "30s"]);
    assert!(output.status.success());
}

#[test]
fn a_resize_that_needs_no_wait_succeeds_within_any_limit() {
    let database = database_with(1);
    for size in ["3", "2", "4", "1", "0", "5"] {
        let told = tell(&database, &["make", "x", size, "--wait", "0s"]);
        assert!(told.status.success(), "{size}: {told:?}");
    }
}
