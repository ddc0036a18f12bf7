//! URLs of MySQL and of no database. No password is printed, whatever is wrong with one.

use crate::tool::{code, tool_at};

/// Each has a password in which s3 comes before cret.
const WRONG: [&str; 26] = [
    // Not encoded.
    "mysql://ada:s3cret@127.0.0.1:1/x",
    "mariadb://ada:s3cret@127.0.0.1:1/x",
    "mysql://ada:s3/cret@127.0.0.1/x",
    "mysql://ada:12/s3cret@127.0.0.1/x",
    "mysql://ada:12/s3cret@x",
    "mysql://ada:s3@cret@127.0.0.1:1/x",
    "mysql://ada:s3%cret@127.0.0.1:1/x",
    "mysql://ada:s3%00cret@127.0.0.1:1/x",
    "mysql://ada:s3?cret@127.0.0.1:1/x",
    "mysql://ada:12?s3=cret@127.0.0.1:1/x",
    "mysql://ada:s3#cret@127.0.0.1:1/x",
    "mysql://ada:12#s3cret@127.0.0.1:1/x",
    "mysql://ada:s3:cret@127.0.0.1:1/x",
    "mysql://ada:s3 cret@127.0.0.1:1/x",
    "mysql://ada:s3%2Fcret@127.0.0.1:1/x",
    // The @ is missing, or another part is invalid.
    "mysql://ada:s3cret127.0.0.1/x",
    "mysql://ada:s3cret",
    "mysql://ada:s3cret/x",
    "mysql://ada:s3cret?x=y",
    "mysql://ada:s3cret@127.0.0.1:99999/x",
    "mysql://ada:s3cret@127.0.0.1:1",
    "mysql://ada:s3cret@127.0.0.1:1/x?sslmode=disable",
    "mysql://ada:s3cret@127.0.0.1:1/x?ssl_mode=s3cret",
    "mysql://ada:s3cret@127.0.0.1:1/x?connect_timeout=s3cret",
    "mysql:/ada:s3cret@127.0.0.1:1/x",
    "sqlserver://ada:s3cret@127.0.0.1:1/x",
];

#[test]
fn no_password_is_printed() {
    for url in WRONG {
        let told = tool_at(url).arg("list").output().unwrap();
        let said = String::from_utf8(told.stderr).unwrap();
        assert_eq!(code(told.status), 1, "{url}");
        assert_eq!(said.lines().count(), 1, "{url}: {said}");
        let hidden = !said.contains("s3") && !said.contains("cret");
        assert!(hidden, "{url}: {said}");
        let is_named = said.contains("database URL") || said.contains("no connection");
        assert!(is_named, "{url}: {said}");
    }
}

#[test]
fn several_urls_are_for_serve_alone() {
    let one = "sqlite:///nowhere/s3cret.db";
    let lines = format!("{one}\n{one}\n");
    let twice = ["--database-url", one, "--database-url", one];
    for (url, words) in [(&*lines, &[][..]), (one, &twice)] {
        let told = tool_at(url).args(words).arg("list").output().unwrap();
        let said = String::from_utf8(told.stderr).unwrap();
        assert_eq!(code(told.status), 1, "{said}");
        assert!(said.contains("only `dbsemaphore serve` accepts"), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[cfg(not(feature = "mysql"))]
#[test]
fn a_missing_backend_is_named_with_its_feature() {
    let told = tool_at("mysql://ada@127.0.0.1:1/x").arg("list").output();
    let said = String::from_utf8(told.unwrap().stderr).unwrap();
    assert!(said.contains("--features mysql"), "{said}");
}

#[cfg(feature = "mysql")]
#[test]
fn mysql_gets_decoded_names_and_passwords() {
    use diesel::connection::SimpleConnection;
    use diesel_dbsemaphore as sem;

    let database = stand::mysql::Database::create();
    let account = database.name().replace("dbsemaphore_test_", "a");
    let other = format!("{} `ö%", database.name());
    let quoted = other.replace('`', "``");
    let mut conn = database.connect();
    for statement in [
        format!("CREATE DATABASE `{quoted}`"),
        format!("CREATE USER {account} IDENTIFIED BY 's3 /@:cret%'"),
        format!("GRANT ALL ON `{quoted}`.* TO {account}"),
        format!("USE `{quoted}`"),
    ] {
        conn.batch_execute(&statement).unwrap();
    }
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, "x", 3).unwrap();
    let url = database.url();
    let (_, rest) = url.split_once('@').unwrap();
    let (address, parameters) = rest.split_once('?').unwrap();
    let (host, _) = address.split_once('/').unwrap();
    let login = format!("{account}:s3%20%2F%40%3Acret%25@{host}");
    let encoded = other
        .replace('%', "%25")
        .replace(' ', "%20")
        .replace('`', "%60")
        .replace('ö', "%C3%B6");
    for scheme in ["mysql", "mariadb"] {
        let url = format!("{scheme}://{login}/{encoded}?{parameters}&connect_timeout=7\n");
        let told = tool_at(url).args(["list", "--json"]).output().unwrap();
        assert!(told.status.success(), "{told:?}");
        assert!(String::from_utf8_lossy(&told.stdout).contains("\"x\""));
    }
    let url = format!("mysql://{login}/nowhere?{parameters}");
    let told = tool_at(url).arg("list").output().unwrap();
    let said = String::from_utf8(told.stderr).unwrap();
    assert!(said.contains("no connection"), "{said}");
    assert!(!said.contains("cret"), "{said}");
    for statement in [
        format!("DROP DATABASE `{quoted}`"),
        format!("DROP USER {account}"),
    ] {
        conn.batch_execute(&statement).unwrap();
    }
}

/// The client library would connect by a socket file, which is that of another server.
#[cfg(feature = "mysql")]
#[test]
fn the_port_of_localhost_is_used() {
    let url = "mysql://ada@localhost:1/x";
    let told = tool_at(url).arg("list").output().unwrap();
    let said = String::from_utf8(told.stderr).unwrap();
    assert!(said.contains("127.0.0.1"), "{said}");
}
