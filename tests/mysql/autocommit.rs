//! Sessions without autocommit, in which each query begins a transaction.

use super::{number, run};
use diesel::MysqlConnection;
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use stand::mysql::Database;

fn without_autocommit(database: &Database) -> MysqlConnection {
    let mut conn = database.connect();
    run(&mut conn, "SET SESSION autocommit = 0").unwrap();
    conn
}

#[test]
fn each_call_ends_what_it_has_begun() {
    let database = Database::create();
    let mut conn = without_autocommit(&database);
    sem::run_migrations(&mut conn).unwrap();
    assert_eq!(sem::pending_sql(&mut database.connect()).unwrap(), "");
    assert_eq!(sem::pending_sql(&mut conn).unwrap(), "");
    assert!(sem::ensure(&mut conn, "x", 1).unwrap());
    assert!(!sem::ensure(&mut conn, "x", 1).unwrap());
    sem::make(&mut conn, "x", 2).unwrap();
    assert_eq!(sem::list(&mut database.connect()).unwrap()["x"], 2);
    assert_eq!(sem::list(&mut conn).unwrap()["x"], 2);
    drop(SemaphoreTicket::require(&mut conn, "x").unwrap());
    assert!(sem::destroy(&mut conn, "x").unwrap());
    sem::revert_migrations(&mut conn).unwrap();
    assert_eq!(number(&mut conn, "@@autocommit"), 0);
}

/// Diesel does not know that transaction.
#[test]
fn a_report_leaves_the_transaction_of_a_query_as_it_was() {
    let database = Database::create();
    let mut conn = without_autocommit(&database);
    sem::run_migrations(&mut conn).unwrap();
    run(&mut conn, "CREATE TABLE work (id int)").unwrap();
    run(&mut conn, "INSERT INTO work VALUES (1)").unwrap();
    assert!(sem::list(&mut conn).unwrap().is_empty());
    let count = "(SELECT COUNT(*) FROM work)";
    assert_eq!(number(&mut database.connect(), count), 0);
    assert_eq!(number(&mut conn, count), 1);
    run(&mut conn, "COMMIT").unwrap();
    assert_eq!(number(&mut database.connect(), count), 1);
}
