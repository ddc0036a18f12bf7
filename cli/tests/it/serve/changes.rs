//! Changes.

use super::client::{Answer, Served};
use crate::database::{Database, backend};
use crate::tool::{Running, database_with, tool, until_held, url};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use nix::sys::signal::Signal;
use stand::eventually;
use std::{thread, time::Duration};

/// An operator's browser.
pub(crate) struct Browser {
    pub(crate) served: Served,
    pub(crate) cookie: String,
    /// The text in each form.
    pub(crate) form: String,
}

impl Browser {
    pub(crate) fn log_in(database: &Database) -> Self {
        Self::log_in_at(&url(database))
    }

    pub(crate) fn log_in_at(url: &str) -> Self {
        let served = Served::start(&[url.to_owned()], &["--allow-changes"]);
        let token = served.token.clone();
        Self::log_in_to(served, &token)
    }

    pub(crate) fn log_in_to(served: Served, token: &str) -> Self {
        served.until_healthy(true);
        let answer = served.post("/log-in", &[], &format!("token={token}"));
        assert_eq!(answer.status, 303);
        let cookie = answer
            .head
            .lines()
            .find_map(|line| line.strip_prefix("set-cookie: "));
        let cookie = cookie.unwrap();
        assert!(
            cookie.contains("httponly") && cookie.contains("samesite=strict"),
            "{cookie}"
        );
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let page = served.get_with("/", &[("Cookie", &cookie)]).body;
        let (_, form) = page.split_once("name=\"form\" value=\"").unwrap();
        let form = form.split('"').next().unwrap().to_owned();
        Self {
            served,
            cookie,
            form,
        }
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], fields: &str) -> u16 {
        self.answer(path, headers, fields).status
    }

    /// The fields of the form that ends the holder which the page shows.
    pub(crate) fn form_to_end(&self) -> String {
        self.served.until("in_use", 1);
        let page = self.served.get_with("/", &[("Cookie", &self.cookie)]).body;
        let (_, form) = page.split_once("action=\"/end\"").unwrap();
        let (form, _) = form.split_once("</form>").unwrap();
        let field = |name: &str| {
            let (_, value) = form
                .split_once(&format!("name=\"{name}\" value=\""))
                .unwrap();
            value.split('"').next().unwrap().replace(' ', "+")
        };
        format!("ticket={}&proof={}", field("ticket"), field("proof"))
    }

    fn answer(&self, path: &str, headers: &[(&str, &str)], fields: &str) -> Answer {
        let headers = [&[("Cookie", self.cookie.as_str())], headers].concat();
        let form = format!("form={}&database=0&semaphore=x&{fields}", self.form);
        self.served.post(path, &headers, &form)
    }
}

pub(crate) fn size(database: &Database) -> u32 {
    sem::usage_of(&mut database.connect(), "x").unwrap().size
}

#[test]
fn an_operator_resizes_and_closes() {
    let database = database_with(2);
    let mut browser = Browser::log_in(&database);
    assert_eq!(browser.post("/resize", &[], "size=5"), 303);
    assert_eq!(size(&database), 5);
    browser.served.until("size", 5);
    let page = browser.served.get("/").body;
    assert!(page.contains("size set to 5"), "{page}");
    assert_eq!(browser.post("/resize", &[], "size=0"), 303);
    assert_eq!(size(&database), 0);
    for size in ["", "-1", "x1", "4294967296"] {
        let answer = browser.answer("/resize", &[], &format!("size={size}"));
        assert_eq!(answer.status, 400);
        let named = format!("the size {size:?} is not a whole number");
        assert!(answer.body.contains(&named), "{}", answer.body);
    }
    assert_eq!(browser.post("/resize", &[], "database=9&size=1"), 400);
    assert_eq!(browser.served.end_by(Signal::SIGTERM), 0);
    let said = browser.served.running.said();
    assert!(said.contains(": resizing \"x\" to 5: "), "{said}");
    assert!(said.contains(": closing \"x\": "), "{said}");
}

#[test]
fn an_operator_ends_the_holder_that_the_page_shows() {
    let database = database_with(2);
    let mut holder = Running::start(tool(&database).args(["run", "x", "--", "sleep", "60"]));
    until_held(&database, 1);
    let browser = Browser::log_in(&database);
    let form = browser.form_to_end();
    assert_eq!(browser.post("/end", &[], &form), 303);
    until_held(&database, 0);
    assert_ne!(holder.end(), 0);
}

#[test]
fn a_proof_that_looks_like_an_option_is_none() {
    let database = database_with(1);
    let browser = Browser::log_in(&database);
    let form = "ticket=1&proof=--yes";
    assert_eq!(browser.post("/end", &[], form), 303);
    let page = browser.served.get("/").body;
    assert!(page.contains("failed: nobody holds ticket 1 of"), "{page}");
}

/// On SQLite, the session is this process.
#[test]
fn a_later_hold_of_the_same_session_is_not_ended() {
    let database = database_with(1);
    let request = Request::new("x").label("first");
    let guard = SemaphoreTicket::require(database.connect(), request).unwrap();
    let browser = Browser::log_in(&database);
    let form = browser.form_to_end();
    let conn = guard.release().unwrap();
    if backend() == "sqlite" {
        // There, holds of a process are the same one if they begin within a second.
        thread::sleep(Duration::from_millis(1500));
    }
    let request = Request::new("x").label("second");
    let mut guard = SemaphoreTicket::require(conn, request).unwrap();
    assert_eq!(browser.post("/end", &[], &form), 303);
    let page = browser.served.get("/").body;
    assert!(page.contains("has another holder now"), "{page}");
    guard.check().unwrap();
}

#[test]
fn a_shrink_that_waits_is_the_only_change_until_it_ends() {
    let database = database_with(2);
    let ticket = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let browser = Browser::log_in(&database);
    assert_eq!(browser.post("/resize", &[], "size=0"), 303);
    let page = browser.served.get("/").body;
    assert!(page.contains("closing &#34;x&#34;: in progress"), "{page}");
    assert_eq!(browser.post("/resize", &[], "size=1"), 409);
    ticket.release().unwrap();
    browser.served.until("size", 0);
    eventually("it ends", || browser.post("/resize", &[], "size=1") == 303);
    assert_eq!(size(&database), 1);
}

/// A browser sends each line end of a field as CR and LF.
#[test]
fn a_name_may_have_line_ends_and_percents() {
    let database = database_with(1);
    for name in ["a\nb", "a\r\nb", "a%41 b+c\u{e9}"] {
        sem::destroy(&mut database.connect(), "x").unwrap();
        sem::make(&mut database.connect(), name, 2).unwrap();
        let browser = Browser::log_in(&database);
        let page = || {
            let cookie = [("Cookie", browser.cookie.as_str())];
            browser.served.get_with("/", &cookie).body
        };
        eventually("it is shown", || page().contains("action=\"/resize\""));
        let page = page();
        let (_, field) = page.split_once("name=\"semaphore\" value=\"").unwrap();
        let sent = field.split('"').next().unwrap();
        assert!(!sent.contains(['\r', '\n']));
        let sent = sent.replace('%', "%25");
        let form = format!("form={}&semaphore={sent}&size=5", browser.form);
        let cookie = [("Cookie", browser.cookie.as_str())];
        assert_eq!(browser.served.post("/resize", &cookie, &form).status, 303);
        assert_eq!(
            sem::usage_of(&mut database.connect(), name).unwrap().size,
            5
        );
        sem::destroy(&mut database.connect(), name).unwrap();
    }
}
