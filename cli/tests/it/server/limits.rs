//! Limits by the tool's own clock: of connecting, and of waiting.

use crate::{
    database::backend,
    tool::{Running, tool_at},
};
use std::{
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

/// On a machine that is busy.
pub(crate) const SLACK: Duration = Duration::from_secs(3);

/// Takes connections, and never says a word.
pub(crate) fn silent_server() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// The exit code, what it said, and how long it took.
pub(crate) fn run(url: &str, words: &[&str]) -> (i32, String, Duration) {
    let began = Instant::now();
    let mut tool = tool_at(url);
    let mut tool = Running::start(tool.args(words).stderr(Stdio::piped()));
    let code = tool.end_within(Duration::from_secs(60));
    (code, tool.said(), began.elapsed())
}

pub(crate) fn assert_within(took: Duration, limit: Duration, what: &str) {
    assert!(took >= limit && took < limit + SLACK, "{what}: {took:?}");
}

#[test]
fn a_limit_of_waiting_counts_connecting() {
    let (_listener, port) = silent_server();
    let url = format!("{}://ada@127.0.0.1:{port}/x", backend());
    let (code, said, took) = run(&url, &["run", "x", "--wait", "1s", "--", "true"]);
    assert_eq!(code, 75, "{said}");
    assert!(
        said.contains("no connection") && said.contains("1s"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_within(took, Duration::from_secs(1), &said);

    let quiet = [
        "run",
        "x",
        "-q",
        "--wait",
        "1s",
        "--busy-code",
        "9",
        "--",
        "true",
    ];
    let (code, said, _) = run(&url, &quiet);
    assert_eq!((code, said.as_str()), (9, ""));
}

#[test]
fn connecting_is_bounded() {
    let (_listener, port) = silent_server();
    let one = format!("{}://ada@127.0.0.1:{port}/x", backend());
    let named = format!("{one}?connect_timeout=2");
    let long = Duration::from_secs(10);
    let short = Duration::from_secs(2);
    std::thread::scope(|scope| {
        for (url, words, code, limit) in [
            (&one, &["run", "x", "--", "true"][..], 125, long),
            (
                &one,
                &["run", "x", "--wait-forever", "--", "true"],
                125,
                long,
            ),
            (&one, &["run", "x", "--wait", "1h", "--", "true"], 125, long),
            (&one, &["list"], 1, long),
            (&one, &["top"], 1, long),
            (&one, &["terminate", "x", "1", "--yes"], 1, long),
            (&named, &["run", "x", "--", "true"], 125, short),
            (&named, &["list"], 1, short),
        ] {
            scope.spawn(move || {
                let (ended, said, took) = run(url, words);
                assert_eq!(ended, code, "{words:?}: {said}");
                assert!(said.contains("no connection to the database"), "{said}");
                // Client libraries count whole seconds.
                assert!(took + Duration::from_secs(2) > limit, "{words:?}: {took:?}");
                assert!(took < limit + SLACK, "{words:?}: {took:?}");
            });
        }
    });
}

/// The messages of libpq end with a new line.
#[test]
fn a_refused_connection_is_reported_in_one_sentence() {
    let url = format!("{}://ada@127.0.0.1:1/x", backend());
    let (code, said, _) = run(&url, &["list"]);
    assert_eq!(code, 1);
    assert!(said.contains(" (check --database-url"), "{said}");
    assert!(!said.contains("; ("), "{said}");
}
