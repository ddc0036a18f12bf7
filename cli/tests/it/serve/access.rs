//! Who may make changes.

use super::{
    changes::{Browser, size},
    client::Served,
};
use crate::tool::{database_with, url};
use nix::sys::signal::Signal;
use std::io::Write;

#[test]
fn other_pages_and_strangers_change_nothing() {
    let database = database_with(2);
    let browser = Browser::log_in(&database);
    let own = format!("http://{}", browser.served.address);
    let foreign = [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ];
    for header in foreign {
        assert_eq!(
            browser.post("/resize", &[header], "size=9"),
            403,
            "{header:?}"
        );
    }
    let form = format!("form={}&semaphore=x&size=9", browser.form);
    let cookie = [("Cookie", browser.cookie.as_str())];
    let stolen = browser.cookie.replace('a', "b").replace('1', "2");
    for (headers, form) in [
        (&[][..], form.as_str()),
        (&[("Cookie", stolen.as_str())], &form),
        (&cookie, "form=&semaphore=x&size=9"),
        (
            &cookie,
            "form=00000000000000000000000000000000&semaphore=x&size=9",
        ),
    ] {
        assert_eq!(browser.served.post("/resize", headers, form).status, 403);
    }
    assert_eq!(
        browser.served.post("/log-in", &[], "token=wrong").status,
        403
    );
    assert_eq!(size(&database), 2);
    assert_eq!(browser.post("/resize", &[("Origin", &own)], "size=9"), 303);
    assert_eq!(size(&database), 9);
}

#[test]
fn the_token_can_come_from_a_file() {
    let database = database_with(2);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "correct horse battery staple").unwrap();
    let words = [
        "--allow-changes",
        "--token-file",
        file.path().to_str().unwrap(),
    ];
    let served = Served::start(&[url(&database)], &words);
    Browser::log_in_to(served, "correct+horse+battery+staple");
}

#[test]
fn nothing_can_be_changed_by_default() {
    let database = database_with(2);
    let served = Served::start(&[url(&database)], &[]);
    for path in ["/log-in", "/log-out", "/resize", "/end"] {
        assert_eq!(
            served
                .post(path, &[], "token=&form=&semaphore=x&size=9")
                .status,
            404,
            "{path}"
        );
    }
    assert_eq!(size(&database), 2);
}

#[test]
fn a_log_out_ends_the_session_and_no_other() {
    let database = database_with(2);
    let first = Browser::log_in(&database);
    let token = first.served.token.clone();
    let Browser {
        mut served,
        cookie,
        form,
    } = first;
    let second = served.post("/log-in", &[], &format!("token={token}"));
    let second = second
        .head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "));
    let second = second.unwrap().split(';').next().unwrap().to_owned();
    let cookies = [("Cookie", cookie.as_str())];
    let resize = format!("form={form}&database=0&semaphore=x&size=");
    assert_eq!(
        served
            .post("/resize", &cookies, &format!("{resize}3"))
            .status,
        303
    );
    assert_eq!(
        served
            .post("/log-out", &cookies, &format!("form={form}"))
            .status,
        303
    );
    assert_eq!(
        served
            .post("/resize", &cookies, &format!("{resize}4"))
            .status,
        403
    );
    let is_in = |cookie: &str| {
        let page = served.get_with("/", &[("Cookie", cookie)]).body;
        page.contains("Stop making changes")
    };
    assert!(!is_in(&cookie) && is_in(&second));
    assert_eq!(size(&database), 3);

    assert_eq!(served.post("/log-in", &[], "token=wrong").status, 403);
    assert_eq!(served.end_by(Signal::SIGTERM), 0);
    let said = served.running.said();
    assert_eq!(said.matches("log-in from 127.0.0.1").count(), 3, "{said}");
    assert_eq!(
        said.matches("log-in from 127.0.0.1 refused").count(),
        1,
        "{said}"
    );
}

#[test]
fn a_cookie_stays_with_tls() {
    let database = database_with(2);
    let served = Served::start(&[url(&database)], &["--allow-changes"]);
    let log_in = format!("token={}", served.token);
    for (scheme, is_secure) in [("https", true), ("http", false)] {
        let origin = format!("{scheme}://{}", served.address);
        let answer = served.post("/log-in", &[("Origin", &origin)], &log_in);
        assert_eq!(answer.status, 303);
        assert_eq!(
            answer.head.contains("; secure"),
            is_secure,
            "{}",
            answer.head
        );
    }
}
