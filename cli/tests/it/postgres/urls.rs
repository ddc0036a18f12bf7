//! Database URLs: which are taken, and that no password is printed whatever is wrong with one.

use crate::tool::{self, Running, code, database_with, tool_at};
use diesel_dbsemaphore as sem;
use std::{collections::BTreeMap, ffi::OsStr, os::unix::ffi::OsStrExt, process::Stdio};
use url::Url;

/// Nothing listens on this port.
const NOBODY: &str = "127.0.0.1:1";

/// Each has a password in which s3 comes before cret.
const WRONG: [&str; 62] = [
    // Not encoded.
    "postgres://ada:s3cret@127.0.0.1:1/x",
    "postgres://ada:s3/cret@127.0.0.1/x",
    "postgres://ada:s3@cret@127.0.0.1:1/x",
    "postgres://ada:s3%cret@127.0.0.1:1/x",
    "postgres://ada:s3%00cret@127.0.0.1:1/x",
    "postgres://ada:s3?cret@127.0.0.1:1/x",
    "postgres://ada:s3#cret@127.0.0.1:1/x",
    "postgres://ada:s3:cret@127.0.0.1:1/x",
    "postgres://ada:s3 cret@127.0.0.1:1/x",
    "postgres://ada:s3\tcret@127.0.0.1:1/x",
    "postgres://ada:s3@/cret@127.0.0.1:1/x",
    "postgres://ada:s3@127.0.0.1:1@cret/x",
    "postgres://ada:s3@x?cret@127.0.0.1:1/x",
    "postgres://ada:s3@x?cret=1@127.0.0.1:1/x",
    "postgres://ada:s3@127.0.0.1:1/x?cret=1",
    "postgres://ada:s3,cret@127.0.0.1:1/x",
    "postgres://ada:[s3cret@127.0.0.1:1/x",
    "postgres://ada:s3cret]@127.0.0.1:1/x",
    "postgres://ada:s3@[cret@127.0.0.1:1/x",
    "postgres://ada:12/s3cret@127.0.0.1/x",
    "postgres://ada:s3\\cret@127.0.0.1:1/x",
    "postgres://ada:s3'cret@127.0.0.1:1/x",
    "postgres://ada:s3%2Fcret@127.0.0.1:1/x",
    // The @ is missing, or another character is in its place.
    "postgres://ada:s3cret127.0.0.1/x",
    "postgres://ada:s3cret127.0.0.1:5432/x",
    "postgres://ada:s3cret",
    "postgres://ada:s3cret/x",
    "postgres://ada:s3cret?x",
    "postgres://ada:s3cret?x=y",
    "postgres://ada:s3cret:127.0.0.1/x",
    "postgres://ada:s3cret,127.0.0.1/x",
    "postgres://ada:s3cret;127.0.0.1/x",
    "postgres://ada:s3cret 127.0.0.1/x",
    "postgres://ada@s3cret@127.0.0.1/x",
    "postgres://ada/s3cret@127.0.0.1/x",
    "postgres://ada:s3cret%40127.0.0.1/x",
    // The address is invalid.
    "postgres://ada:s3cret@[::1/x",
    "postgres://ada:s3cret@[::1]x/x",
    "postgres://ada:s3cret@[]/x",
    "postgres://ada:s3cret@127.0.0.1:port/x",
    "postgres://ada:s3cret@127.0.0.1:0/x",
    "postgres://ada:s3cret@127.0.0.1:99999/x",
    "postgres://ada:s3cret@nobody.invalid/x",
    // Among the parameters.
    "postgres://127.0.0.1:1/x?user=ada&password=s3%cret",
    "postgres://127.0.0.1:1/x?user=ada&password=s3cret",
    "postgres://127.0.0.1:1/x?user=ada&password=s3&cret",
    "postgres://127.0.0.1:1/x?user=ada&password=s3&cret=1",
    "postgres://127.0.0.1:1/x?user=ada&password=s3=cret",
    "postgres://127.0.0.1/x?port=s3cret",
    // Another scheme, or none.
    "mysql://ada:s3cret@127.0.0.1:1/x",
    "Postgres://ada:s3cret@127.0.0.1:1/x",
    "postgres:/ada:s3cret@127.0.0.1:1/x?sslmode=disable",
    "\"postgres://ada:s3cret@127.0.0.1:1/x\"",
    "ada:s3cret@127.0.0.1:1/x",
    // Pairs.
    "user=ada password=s3 cret",
    "user=ada password=s3 cret=1 host=127.0.0.1 port=1",
    "user=ada password='s3cret host=127.0.0.1",
    "user=ada password='s3'cret' host=127.0.0.1",
    "user=ada password=s3cret host=127.0.0.1 port=1",
    "host=127.0.0.1 port=s3cret",
    "host=postgres://ada:s3cret@127.0.0.1:1/x",
    "dbname=postgres://ada:s3cret@127.0.0.1:1/x host=127.0.0.1 port=1",
];

#[test]
fn no_password_is_printed_whatever_is_wrong_with_the_url() {
    for url in WRONG {
        for words in [&["list"][..], &["run", "x", "--", "true"]] {
            let told = tool_at(url).args(words).output().unwrap();
            let said = String::from_utf8(told.stderr).unwrap();
            assert_eq!(
                code(told.status),
                if words[0] == "run" { 125 } else { 1 },
                "{url}"
            );
            assert_eq!(said.lines().count(), 1, "{url}: {said}");
            assert!(
                !said.contains("s3") && !said.contains("cret"),
                "{url}: {said}"
            );
            assert!(told.stdout.is_empty());
        }
    }
}

/// What is wrong with the words is shown with the words.
#[test]
fn no_password_is_printed_whatever_is_wrong_with_the_words() {
    let url = "postgres://ada:s3cret@127.0.0.1:1/x";
    let argument = format!("--database-url={url}");
    let typo = format!("--database-ulr={url}");
    for words in [
        &["list", url][..],
        &[url],
        &["list", &typo],
        &[&typo, "list"],
        &["list", "--json", &argument, url],
        &["run", "x", url],
        &["list", "user=ada password=s3cret"],
        &["make", "x", url],
        &["--help"],
        &["run", "--help"],
    ] {
        let told = tool_at(url).args(words).output().unwrap();
        let said = [told.stdout, told.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(!said.contains("s3cret"), "{words:?}: {said}");
    }
    let odd = OsStr::from_bytes(b"postgres://ada:s3\xffcret@127.0.0.1:1/x");
    let told = tool_at(odd).arg("list").output().unwrap();
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(!told.status.success() && !said.contains("cret"), "{said}");
}

#[test]
fn connection_errors_contain_the_message_of_libpq() {
    for url in [
        format!("postgres://ada:s3cret@{NOBODY}/x"),
        "host=127.0.0.1 port=1 user=ada password=s3cret".to_owned(),
    ] {
        let told = tool_at(url).arg("list").output().unwrap();
        let said = String::from_utf8(told.stderr).unwrap();
        assert!(
            said.contains("127.0.0.1") && said.contains("port 1"),
            "{said}"
        );
    }
}

#[test]
fn urls_that_psql_accepts_are_accepted() {
    let database = database_with(1);
    let given = tool::url(&database);
    let parsed = Url::parse(&given).unwrap();
    let mut parts: BTreeMap<String, String> = parsed.query_pairs().into_owned().collect();
    let mut add = |key: &str, value: String| {
        if !value.is_empty() {
            parts.insert(key.to_owned(), value);
        }
    };
    add("dbname", parsed.path().trim_start_matches('/').to_owned());
    add("host", parsed.host_str().unwrap_or_default().to_owned());
    add("user", parsed.username().to_owned());
    add(
        "port",
        parsed.port().map_or(String::new(), |port| port.to_string()),
    );
    let join = |pair: fn((&String, &String)) -> String| {
        parts.iter().map(pair).collect::<Vec<_>>().join(" ")
    };
    let plain = join(|(key, value)| format!("{key}={value}"));
    let quoted = join(|(key, value)| format!("{key} = '{value}'"));
    let escaped = join(|(key, value)| {
        let value: String = value.chars().map(|letter| format!("\\{letter}")).collect();
        format!("{key}={value}")
    });
    let parameters: Vec<String> = parts
        .iter()
        .map(|(key, value)| format!("{key}={}", value.replace('/', "%2F")))
        .collect();
    let parameters = parameters.join("&");
    let sign = if given.contains('?') { '&' } else { '?' };
    for url in [
        format!("{given}{sign}"),
        format!("{given}{sign}sslmode=prefer&"),
        format!("{given}\n"),
        format!("\t {given} \r\n"),
        given.replacen("postgres://", "postgresql://", 1),
        format!("postgres://?{parameters}"),
        format!("postgres://?{parameters}&"),
        format!("postgresql:///?&{parameters}"),
        format!("{given}{sign}password=s3%40cret"),
        format!("{given}{sign}user=postgres&connect_timeout=7"),
        plain.clone(),
        format!(" {plain} \n"),
        quoted.clone(),
        format!("{quoted} sslmode=disable"),
        format!("{plain} password='s3 cret' sslmode=prefer"),
        format!("{plain} password=s3\\'\\ cret\\"),
        escaped,
    ] {
        let mut tool = tool_at(&url);
        tool.args(["run", "x", "--", "sh", "-c", "echo begun; read -r _"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut tool = Running::start(&mut tool);
        assert_eq!(tool.line(), "begun", "{url}");
        let holder = sem::holders(&mut database.connect(), "x")
            .unwrap()
            .remove(0);
        let application = format!("dbsemaphore[{}]", tool.0.id());
        assert_eq!(holder.session.application, Some(application), "{url}");
        drop(tool.0.stdin.take());
        tool.end();
    }
}

/// PgBouncer refuses them.
#[test]
fn options_reach_the_server_itself() {
    let database = database_with(1);
    let given = tool::url(&database);
    let sign = if given.contains('?') { '&' } else { '?' };
    let url = format!("{given}{sign}options=-c%20work_mem%3D1MB");
    let told = tool_at(url).arg("list").output().unwrap();
    let said = String::from_utf8_lossy(&told.stderr);
    let is_refused = said.contains("unsupported startup parameter");
    assert_eq!(
        (code(told.status), is_refused),
        match tool::pool_mode() {
            None => (0, false),
            Some(_) => (1, true),
        }
    );
}

#[test]
fn no_url_at_all_says_how_to_give_one() {
    for url in ["", " \n"] {
        let told = tool_at(url).arg("list").output().unwrap();
        let said = String::from_utf8(told.stderr).unwrap();
        assert_eq!(code(told.status), 1);
        assert!(said.contains("DATABASE_URL"), "{said}");
    }
}
