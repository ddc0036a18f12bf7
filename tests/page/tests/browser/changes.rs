//! Changes by the page.

use crate::browser::{Browser, Look};
use diesel_dbsemaphore::{self as sem, Request};
use page::{Crowd, Served, database_with};
use stand::{Database, eventually};

/// Enters the token.
pub(crate) fn log_in(browser: &Browser, served: &Served) {
    browser.fill("//input[@name='token']", served.token());
    browser.click("//button[.='Make changes']");
    browser.until("Stop making changes", true);
}

fn size(database: &Database, name: &str) -> u32 {
    sem::usage_of(&mut database.connect(), name).unwrap().size
}

fn start(database: &Database) -> (Served, Browser) {
    let words = ["--interval", "100ms", "--allow-changes"];
    let served = Served::start(&[database.url()], &words);
    let browser = Browser::start(Look::default());
    browser.open(&served.url());
    (served, browser)
}

#[test]
fn an_operator_resizes_and_closes() {
    let database = database_with([("reports", 2), ("x \"<b>'&amp;", 1)]);
    let (served, browser) = start(&database);
    browser.until("reports", true);
    assert_eq!(
        browser.value("document.querySelectorAll('summary').length"),
        0
    );
    browser.fill("//input[@name='token']", "wrong");
    browser.click("//button[.='Make changes']");
    browser.until("the token is wrong", true);
    browser.open(&served.url());
    log_in(&browser, &served);

    browser.click("//tr[th='reports']//summary");
    browser.fill("//tr[th='reports']//input[@type='number']", "5");
    // The form stays while it is open.
    browser.until("paused while a form is open", true);
    browser.click("//tr[th='reports']//button[.='Resize']");
    browser.until("\"reports\": size set to 5", true);
    assert_eq!(size(&database, "reports"), 5);

    let hostile = "//tr[contains(th, '<b>')]";
    browser.click(&format!("{hostile}//summary"));
    browser.click(&format!("{hostile}//button[.='Close']"));
    eventually("closed", || size(&database, "x \"<b>'&amp;") == 0);
    browser.until("size set to 0", true);
    assert_eq!(size(&database, "reports"), 5);

    browser.click("//button[.='Stop making changes']");
    browser.until("Token for changes", true);
    assert_eq!(
        browser.value("document.querySelectorAll('summary').length"),
        0
    );
}

#[test]
fn an_operator_ends_a_holder() {
    let database = database_with([("reports", 1)]);
    let (served, browser) = start(&database);
    let mut crowd = Crowd::default();
    crowd.hold(
        database.connect(),
        Request::new("reports").label("it hangs"),
    );
    browser.until("it hangs", true);
    log_in(&browser, &served);
    browser.until("it hangs", true);
    browser.click("//tr[contains(., 'it hangs')]//summary");
    browser.click("//tr[contains(., 'it hangs')]//button");
    browser.until("it hangs", false);
    let holders = sem::holders(&mut database.connect(), "reports").unwrap();
    assert_eq!(holders, []);
}
