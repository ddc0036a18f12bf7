//! The page follows what happens.

use crate::browser::{Browser, Look};
use diesel_dbsemaphore::{self as sem, Request};
use page::{Crowd, Served, Work, database_with};
use stand::{Server, Stop, eventually};
use std::time::{Duration, Instant};

const QUICK: [&str; 2] = ["--interval", "100ms"];

#[test]
fn holders_and_waiters_appear_and_go() {
    let database = database_with([("reports", 2), ("idle", 1)]);
    let served = Served::start(&[database.url()], &QUICK);
    let browser = Browser::start(Look::default());
    browser.open(&served.url());
    browser.until("No holders and no waiters.", true);

    let mut crowd = Crowd::default();
    for label in ["one", "two"] {
        let request = Request::new("reports").label(label);
        crowd.hold(database.connect(), request);
    }
    browser.until("2 of 2 in use", true);
    for label in ["three", "four"] {
        crowd.wait(database.connect(), "reports", label);
        browser.until(label, true);
    }
    browser.until("2 of 2 in use, 2 waiting", true);
    let queue =
        "[...document.querySelectorAll('table.queue .label')].map(cell => cell.textContent)";
    assert_eq!(browser.value(queue), serde_json::json!(["three", "four"]));

    // Both waiters get the ticket, one after the other, and release it.
    crowd.release_first();
    browser.until("1 of 2 in use", true);
    let text = browser.text();
    assert!(text.contains("two") && !text.contains("three"), "{text}");
    crowd.end(&database);
    browser.until("No holders and no waiters.", true);
}

#[test]
fn the_page_stays_live_and_right_under_load() {
    let database = database_with([("jobs", 3)]);
    let served = Served::start(&[database.url()], &QUICK);
    let browser = Browser::start(Look::default());
    browser.open(&served.url());
    let work = Work::start(&database.url(), "jobs", 12, Duration::from_millis(20));
    let (mut was_full, mut had_queue) = (false, false);
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        let numbers = browser.value(
            "[...document.querySelectorAll('.all tbody .number')].map(cell => cell.textContent)",
        );
        let number = |index: usize| numbers[index].as_str().unwrap().parse::<u32>().unwrap();
        let (in_use, size, waiting) = (number(0), number(1), number(2));
        assert!(in_use <= 3 && size == 3 && waiting <= 12, "{numbers}");
        was_full |= in_use == 3;
        had_queue |= waiting > 0;
        assert_eq!(
            browser.value("document.getElementById('live').textContent"),
            "live"
        );
    }
    assert!(was_full && had_queue);
    drop(work);
    browser.until("No holders and no waiters.", true);
}

#[test]
fn a_lost_database_is_shown_and_comes_back() {
    let mut server = Server::start();
    let database = server.create_database();
    sem::run_migrations(&mut database.connect()).unwrap();
    sem::make(&mut database.connect(), "reports", 7).unwrap();
    let served = Served::start(&[database.url()], &QUICK);
    let browser = Browser::start(Look::default());
    browser.open(&served.url());
    let state = || browser.value("document.querySelector('.database .status').textContent");
    eventually("up", || state() == "up");

    server.stop(Stop::Fast);
    eventually("down", || state() == "down");
    browser.until("no connection to the database", true);
    browser.until("What is shown is", true);
    assert!(browser.text().contains("reports"));
    server.start_again();
    eventually("up again", || state() == "up");
    browser.until("What is shown is", false);
}

#[test]
fn without_scripts_the_page_reloads_and_changes_work() {
    let database = database_with([("reports", 2)]);
    let served = Served::start(
        &[database.url()],
        &["--interval", "100ms", "--allow-changes"],
    );
    let browser = Browser::start(Look {
        has_scripts: false,
        ..Look::default()
    });
    eventually("the semaphore", || served.get("/").contains("reports"));
    browser.open(&served.url());
    assert!(
        browser.text().contains("reloaded every 5 s"),
        "{}",
        browser.text()
    );
    let mut crowd = Crowd::default();
    crowd.hold(database.connect(), Request::new("reports").label("nightly"));
    browser.until("nightly", true);

    crate::changes::log_in(&browser, &served);
    browser.click("//tr[th='reports']//summary");
    browser.fill("//input[@type='number']", "5");
    browser.click("//button[.='Resize']");
    browser.until("size set to 5", true);
    crowd.end(&database);
}
