//! Never more than there are tickets for, and 503 for the others.

use crate::{
    app::{App, eventually, read},
    waiting,
};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use stand::Database;
use std::{thread, time::Duration};

#[test]
fn a_closed_semaphore_is_503_and_an_open_one_200() {
    let database = Database::create();
    let mut conn = database.connect();
    let app = App::start(&database.url(), &[("WAIT_LIMIT_MS", "300")]);

    for (semaphore, path) in [("carrier", "/quotes/17"), ("reports", "/reports")] {
        sem::make(&mut conn, semaphore, 0).unwrap();
        let refused = app.post(path);
        assert!(refused.is_busy(), "{refused:?}");
        let waits = semaphore == "carrier";
        assert_eq!(refused.after > Duration::from_millis(300), waits);

        sem::make(&mut conn, semaphore, 1).unwrap();
        assert_eq!(app.post(path).status, 200);
    }
}

#[test]
fn no_more_than_three_are_at_the_carrier_and_everybody_gets_there() {
    let database = Database::create();
    let settings = [("TICKET_CONNECTIONS", "24"), ("WAIT_LIMIT_MS", "30000")];
    let app = App::start(&database.url(), &settings);

    let answers = app.post_many("/quotes/17", 24);
    assert!(answers.iter().all(|it| it.status == 200), "{answers:?}");
    assert_eq!(app.metric("most_inside{section=\"carrier\"}"), 3);

    // The carrier would have noticed.
    sem::make(&mut database.connect(), "carrier", 24).unwrap();
    app.post_many("/quotes/17", 24);
    assert!(app.metric("most_inside{section=\"carrier\"}") > 3);
}

#[test]
fn no_more_than_two_reports_are_written_at_once() {
    let database = Database::create();
    let settings = [("WORK_CONNECTIONS", "24"), ("REPORT_MS", "200")];
    let app = App::start(&database.url(), &settings);

    let answers = app.post_many("/reports", 24);
    let written = answers.iter().filter(|it| it.status == 200).count();
    assert!(written >= 2, "{answers:?}");
    assert!(
        answers.iter().all(|it| it.status == 200 || it.is_busy()),
        "{answers:?}"
    );
    assert_eq!(app.metric("most_inside{section=\"reports\"}"), 2);

    // That would have been noticed.
    sem::make(&mut database.connect(), "reports", 24).unwrap();
    app.post_many("/reports", 12);
    assert!(app.metric("most_inside{section=\"reports\"}") > 2);
}

#[test]
fn requests_without_room_to_wait_are_refused_at_once() {
    let database = Database::create();
    let mut conn = database.connect();
    let settings = [("TICKET_CONNECTIONS", "2"), ("WAIT_LIMIT_MS", "30000")];
    let app = App::start(&database.url(), &settings);

    let all = Request::new("carrier").tickets(3);
    let all = SemaphoreTicket::require(database.connect(), all).unwrap();
    let waits: Vec<_> = (0..2).map(|_| app.send("POST", "/quotes/17")).collect();
    eventually("two wait", || waiting(&mut conn, "carrier") == 2);

    let refused = app.post("/quotes/17");
    assert!(refused.is_busy(), "{refused:?}");
    assert!(refused.after < Duration::from_secs(10), "{refused:?}");
    assert_eq!(app.get("/").status, 200);
    assert_eq!(app.post("/reports").status, 200);

    all.release().unwrap();
    assert!(waits.into_iter().all(|it| read(it).status == 200));
}

#[test]
fn a_closed_client_occupies_its_connection_until_the_wait_ends() {
    let database = Database::create();
    let mut conn = database.connect();
    let settings = [("TICKET_CONNECTIONS", "1"), ("WAIT_LIMIT_MS", "30000")];
    let app = App::start(&database.url(), &settings);

    let all = Request::new("carrier").tickets(3);
    let all = SemaphoreTicket::require(database.connect(), all).unwrap();
    app.hang_up_on("/quotes/17", || {
        eventually("it waits", || waiting(&mut conn, "carrier") == 1);
    });
    thread::sleep(Duration::from_millis(300));
    let refused = app.post("/quotes/17");
    assert!(refused.is_busy(), "{refused:?}");
    assert!(refused.after < Duration::from_secs(10), "{refused:?}");
    assert_eq!(waiting(&mut conn, "carrier"), 1);

    all.release().unwrap();
    eventually("there is a place", || app.post("/quotes/17").status == 200);
}
