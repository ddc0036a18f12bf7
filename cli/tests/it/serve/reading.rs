//! The page, JSON and metrics.

use super::client::Served;
use crate::database::backend;
use crate::tool::{database_with, tool_at, url};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::{collections::BTreeSet, fs, net::TcpListener, os::unix::fs::PermissionsExt};

const HOSTILE: &str = "<script>alert(1)</script>\"} 1\n# \\";

#[test]
fn all_paths_show_holders() {
    let database = database_with(3);
    let request = Request::new("x").label("nightly");
    let _ticket = SemaphoreTicket::require(database.connect(), request).unwrap();
    let served = Served::start(&[url(&database)], &[]);
    served.until("in_use", 1);

    let mut database = served.database();
    let has_keys = |value: &Value, expected: &[&str]| {
        let keys: BTreeSet<&str> = value
            .as_object()
            .unwrap()
            .keys()
            .map(|key| &**key)
            .collect();
        assert_eq!(keys, expected.iter().copied().collect());
    };
    has_keys(&database, &["age_ms", "name", "semaphores", "up"]);
    let x = database["semaphores"][0].take();
    let expected = ["holders", "in_use", "name", "size", "waiters", "waiting"];
    has_keys(&x, &expected);
    assert_eq!((&x["size"], &x["waiting"]), (&3.into(), &0.into()));
    assert_eq!(x["holders"][0]["label"], "nightly");
    let page = served.get("/");
    assert!(page.body.contains("1 of 3 in use") && page.body.contains("nightly"));
    let totals = "<b>1</b> semaphore, <b>1</b> ticket in use, <b>0</b> waiting";
    assert!(page.body.contains(totals), "{}", page.body);
    assert!(!page.body.contains("<form"), "nothing can be changed");
    assert_eq!(served.get("/health").status, 200);

    let metrics = served.get("/metrics");
    assert!(
        metrics
            .has_header("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(metrics.body.ends_with("# EOF\n"));
    assert!(
        metrics
            .body
            .contains("# TYPE dbsemaphore_queries counter\n")
    );
    let text = served.get_with("/metrics", &[("Accept", "text/plain")]);
    assert!(text.has_header("content-type: text/plain; version=0.0.4; charset=utf-8"));
    assert!(
        text.body
            .contains("# TYPE dbsemaphore_queries_total counter\n")
    );
    assert!(!text.body.contains("EOF") && !text.body.contains("UNIT"));
    let labels = "semaphore=\"x\"} ";
    for (name, value) in [
        ("size", "3"),
        ("in_use", "1"),
        ("waiting", "0"),
        ("oldest_hold_seconds", ""),
    ] {
        let line = text.body.lines().find(|line| {
            line.starts_with(&format!("dbsemaphore_{name}{{"))
                && line.contains(&format!("{labels}{value}"))
        });
        assert!(line.is_some(), "{name}: {}", text.body);
    }
}

/// MySQL does not know since when a guard without a label holds its ticket.
#[test]
fn an_unknown_age_is_no_metric() {
    let database = database_with(1);
    let served = Served::start(&[url(&database)], &[]);
    served.until("size", 1);
    let oldest = || {
        let metrics = served.get("/metrics").body;
        let mut lines = metrics.lines();
        let line = lines.find(|line| line.starts_with("dbsemaphore_oldest_hold_seconds{"));
        line.map(|line| line.rsplit_once(' ').unwrap().1.to_owned())
    };
    assert_eq!(oldest().as_deref(), Some("0.0"));
    let _ticket = SemaphoreTicket::require(database.connect(), "x").unwrap();
    served.until("in_use", 1);
    assert_eq!(oldest().is_none(), backend() == "mysql");
    assert_ne!(oldest().as_deref(), Some("0.0"));
}

#[test]
fn hostile_names_and_labels_stay_text() {
    let database = database_with(1);
    sem::make(&mut database.connect(), HOSTILE, 1).unwrap();
    let request = Request::new(HOSTILE).label("<img src=x onerror=alert(1)>");
    let _ticket = SemaphoreTicket::require(database.connect(), request).unwrap();
    let served = Served::start(&[url(&database)], &[]);
    served.until("size", 1);
    let page = served.get("/").body;
    assert!(
        !page.contains("<script>alert") && !page.contains("<img"),
        "{page}"
    );
    assert!(page.contains("&#60;script&#62;alert(1)"), "{page}");
    let metrics = served.get("/metrics").body;
    let name = r#"semaphore="<script>alert(1)</script>\"} 1\n# \\"} 1"#;
    assert!(metrics.contains(name), "{metrics}");
}

#[test]
fn each_answer_forbids_foreign_content() {
    let database = database_with(1);
    let served = Served::start(&[url(&database)], &[]);
    for path in [
        "/",
        "/app.js",
        "/style.css",
        "/metrics",
        "/health",
        "/api/semaphores",
        "/none",
    ] {
        let answer = served.get(path);
        assert!(
            answer
                .head
                .contains("content-security-policy: default-src 'none'; script-src 'self'")
        );
        for line in ["cache-control: no-store", "x-content-type-options: nosniff"] {
            assert!(answer.has_header(line), "{path}: {}", answer.head);
        }
    }
}

#[test]
fn only_known_hosts_are_answered() {
    let database = database_with(1);
    let served = Served::start(&[url(&database)], &["--allowed-host", "Locks.example"]);
    for (host, status) in [
        ("localhost:80", 200),
        ("127.0.0.1", 200),
        ("[::1]:9187", 200),
        ("locks.example", 200),
        ("evil.example", 403),
        ("evil.example:9187", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
    ] {
        for path in ["/", "/api/semaphores", "/metrics"] {
            let answer = served.get_with(path, &[("Host", host)]);
            assert_eq!(answer.status, status, "{host}{path}");
            let is_named = answer
                .body
                .contains(&format!("the host name {host:?} is not allowed"));
            assert_eq!(is_named, status == 403, "{}", answer.body);
        }
    }
}

#[test]
fn signals_end_it_with_success() {
    let database = database_with(1);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        assert_eq!(Served::start(&[url(&database)], &[]).end_by(signal), 0);
    }
}

#[test]
fn wrong_options_get_clear_errors() {
    let database = database_with(1);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (words, part) in [
        (&["--listen", &address][..], "can't listen on"),
        (&["--listen", "nowhere"], "can't listen on \"nowhere\""),
        (&["--interval", "1ms"], "not between 100ms and 1h"),
        (&["--allowed-host", "ops.example:8443"], "without port"),
        (
            &["--allowed-host", "https://ops.example"],
            "without port, scheme",
        ),
        (&["--allowed-host", ""], "not the name of a host"),
        (
            &[
                "--listen",
                "127.0.0.1:0",
                "--allow-changes",
                "--token-file",
                path,
            ],
            "fewer than 16",
        ),
    ] {
        let output = tool_at(url(&database))
            .arg("serve")
            .args(words)
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(part), "{error}");
    }
}

#[test]
fn database_url_may_have_several_lines() {
    let (first, second) = (database_with(1), database_with(2));
    let urls = format!("\n{}\n\n{}\n", url(&first), url(&second));
    let served = Served::start_from(&urls, &[]);
    served.until("size", 1);
    let shown = served.get("/api/semaphores").json();
    assert_eq!(shown["databases"].as_array().unwrap().len(), 2);
}

#[test]
fn a_token_file_that_others_can_read_is_reported() {
    let database = database_with(1);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "a token with 16 characters").unwrap();
    for (mode, is_reported) in [(0o640, true), (0o600, false)] {
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        let words = [
            "--allow-changes",
            "--token-file",
            file.path().to_str().unwrap(),
        ];
        let mut served = Served::start(&[url(&database)], &words);
        assert_eq!(served.end_by(Signal::SIGTERM), 0);
        let said = served.running.said();
        assert_eq!(
            said.contains("other users of this machine"),
            is_reported,
            "{said}"
        );
    }
}
