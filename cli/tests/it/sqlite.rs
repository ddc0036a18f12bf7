//! What is SQLite's alone.

use crate::{
    database::Database,
    tool::{Running, code, tell, tool, tool_at, until_held},
};
use diesel_dbsemaphore as sem;
use std::{
    fs,
    process::{Command, Stdio},
};

/// With the tables and one semaphore, "x".
fn database() -> Database {
    let database = Database::sqlite();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, "x", 2).unwrap();
    database
}

/// The tool, whose command prints the id of its ticket and ends with its input.
fn hold(database: &Database) -> (Running, String) {
    let mut tool = tool(database);
    tool.args(["run", "x", "--", "sh", "-c"])
        .arg("echo $DBSEMAPHORE_TICKETS; exec cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut tool = Running::start(&mut tool);
    let ticket = tool.line();
    (tool, ticket)
}

#[test]
fn terminate_ends_the_process_that_holds_the_ticket() {
    let database = database();
    let (mut ends, ticket) = hold(&database);
    let (mut stays, _) = hold(&database);
    let words = ["terminate", "x", &ticket, "--yes"];
    let told = tell(&database, &words);
    assert!(told.status.success(), "{told:?}");
    assert_eq!(ends.end(), 128 + 15);
    until_held(&database, 1);
    let told = tell(&database, &words);
    assert_eq!(code(told.status), 1, "{told:?}");
    drop(stays.0.stdin.take());
    assert_eq!(stays.end(), 0);
}

/// As if the process of the holder were in another container, where it has the number of a process here.
#[test]
fn terminate_spares_a_process_that_has_no_ticket() {
    let database = database();
    let (mut holds, ticket) = hold(&database);
    let mut other = Running::start(Command::new("sleep").arg("1000").stdin(Stdio::null()));
    let Database::Sqlite(folder) = &database else {
        panic!("a database of SQLite")
    };
    let locks = folder.path().join("app.db-dbsemaphore/1");
    let (pid, other_pid) = (holds.0.id().to_string(), other.0.id().to_string());
    let records = fs::read_dir(locks).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let record = fs::read_to_string(&path).ok()?;
        record.contains(&pid).then_some((path, record))
    });
    let (path, record) = records.last().unwrap();
    fs::write(path, record.replacen(&pid, &other_pid, 1)).unwrap();

    let told = tell(&database, &["terminate", "x", &ticket, "--yes"]);
    let said = String::from_utf8(told.stderr).unwrap();
    assert_eq!(code(told.status), 1, "{said}");
    assert!(said.contains("no lock file"), "{said}");
    assert!(other.0.try_wait().unwrap().is_none(), "it still runs");
    drop(holds.0.stdin.take());
    assert_eq!(holds.end(), 0);
}

#[test]
fn only_migrate_creates_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new app.db");
    let path = path.to_str().unwrap();
    let encoded = format!("sqlite://{}", path.replace(' ', "%20"));
    for url in [path, &encoded] {
        let told = tool_at(url).arg("list").output().unwrap();
        let said = String::from_utf8(told.stderr).unwrap();
        assert_eq!(code(told.status), 1);
        assert!(said.contains(&format!("there is no file {path}")), "{said}");
        assert!(!fs::exists(path).unwrap());
        for word in ["migrate", "list"] {
            let told = tool_at(url).arg(word).output().unwrap();
            assert!(told.status.success(), "{told:?}");
        }
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_file_that_is_no_database_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "x".repeat(4096)).unwrap();
    let path = file.path().to_str().unwrap();
    for words in [&["list"][..], &["migrate"]] {
        let told = tool_at(path).args(words).output().unwrap();
        let said = String::from_utf8(told.stderr).unwrap();
        let named = format!("{path} is not a database of SQLite");
        assert!(code(told.status) == 1 && said.contains(&named), "{said}");
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_named_with_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let below = missing.join("x.db");
    for (path, cause) in [
        (
            below.as_path(),
            format!("there is no folder {}", missing.display()),
        ),
        (folder.path(), "Is a directory".to_owned()),
    ] {
        let path = path.to_str().unwrap();
        let told = tool_at(path).arg("migrate").output().unwrap();
        let said = String::from_utf8(told.stderr).unwrap();
        let named = format!("{path} can't be opened: {cause}");
        assert!(code(told.status) == 1 && said.contains(&named), "{said}");
    }
}
