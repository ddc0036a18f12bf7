//! Pictures of the page for people to look at, in target/screenshots.

use crate::browser::{Browser, Look};
use diesel::{Connection, PgConnection};
use diesel_dbsemaphore::Request;
use page::{Crowd, Served, Work, database_with};
use serde_json::json;
use std::{fs, path::Path, time::Duration};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/screenshots");

#[test]
fn pictures_wide_and_narrow_light_and_dark() {
    let database = database_with([
        ("reports", 3),
        ("imports", 1),
        ("licences", 20),
        ("idle", 10),
        ("maintenance", 0),
        ("<script>alert(1)</script>\"&{}", 2),
        (
            "a name of many words that somebody has chosen to say all there is to say of it",
            4,
        ),
    ]);
    let url = format!("{}&application_name=web", database.url());
    let web = || PgConnection::establish(&url).unwrap();
    let mut crowd = Crowd::default();
    for (name, label) in [
        ("reports", "GET /reports/monthly"),
        ("reports", "nightly export"),
        ("reports", "<b>by hand</b>"),
        ("imports", "import of customers, all countries, 2026"),
        ("licences", "renderer 1"),
        ("licences", "renderer 2"),
        (
            "<script>alert(1)</script>\"&{}",
            "\"><img src=x onerror=alert(1)>",
        ),
    ] {
        crowd.hold(web(), Request::new(name).label(label));
    }
    for number in 1..=3 {
        crowd.wait(
            database.connect(),
            "reports",
            &format!("GET /reports/weekly/{number}"),
        );
    }
    let down = "postgres://ada:secret@127.0.0.1:1/mail".to_owned();
    let served = Served::start(
        &[database.url(), down],
        &["--interval", "200ms", "--allow-changes"],
    );
    let work = Work::start(&database.url(), "licences", 9, Duration::from_millis(700));
    fs::create_dir_all(FOLDER).unwrap();
    for (is_dark, scheme) in [(false, "light"), (true, "dark")] {
        for (width, height) in [(1500, 1400), (420, 2600)] {
            let browser = Browser::start(Look {
                width,
                height,
                is_dark,
                has_scripts: true,
            });
            let save = |name: &str| {
                let is_too_wide =
                    browser.value("document.documentElement.scrollWidth > innerWidth");
                let path = Path::new(FOLDER).join(format!("{name}-{scheme}-{width}.png"));
                fs::write(&path, browser.picture()).unwrap();
                assert_eq!(is_too_wide, json!(false), "{}", path.display());
            };
            browser.open(&served.url());
            browser.until("3 waiting", true);
            browser.until("no connection to the database", true);
            assert_eq!(browser.value("innerWidth"), width);
            let dark = "matchMedia('(prefers-color-scheme: dark)').matches";
            assert_eq!(browser.value(dark), is_dark);
            save("page");
            crate::changes::log_in(&browser, &served);
            browser.until("3 waiting", true);
            browser.click("//tr[th='reports']//summary");
            browser.click("//tr[contains(., 'nightly export')]//summary");
            save("changes");
        }
    }
    drop(work);
    crowd.end(&database);
}
