//! Migrations, which DDL commits one by one.

use super::{number, run};
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, SemaphoreTicket};
use stand::{eventually, mysql::Database};
use std::{fs, path::Path, thread};

#[test]
fn a_migration_runs_again_after_a_crash_in_its_middle() {
    let database = Database::create();
    let mut conn = database.connect();
    let sql = sem::pending_sql(&mut conn).unwrap();
    let statements: Vec<_> = sql.split_inclusive(";\n").collect();
    assert!(statements.len() >= 5);
    for crashed_after in 1..statements.len() {
        let done = statements[..crashed_after].concat();
        conn.batch_execute(&done).unwrap();
        sem::run_migrations(&mut conn).unwrap();
        sem::ensure(&mut conn, "reports", 1).unwrap();
        drop(SemaphoreTicket::require(&mut conn, "reports").unwrap());
        assert_eq!(sem::pending_sql(&mut conn).unwrap(), "");
        sem::revert_migrations(&mut conn).unwrap();
    }
    assert_eq!(
        number(
            &mut conn,
            "(SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE())"
        ),
        0
    );
}

#[test]
fn pending_sql_does_what_run_migrations_does() {
    let database = Database::create();
    let mut conn = database.connect();
    let sql = sem::pending_sql(&mut conn).unwrap();
    conn.batch_execute(&sql).unwrap();
    assert_eq!(sem::pending_sql(&mut conn).unwrap(), "");
    sem::run_migrations(&mut conn).unwrap();
    sem::ensure(&mut conn, "reports", 1).unwrap();
}

#[test]
fn a_transaction_is_not_committed_by_ddl() {
    let database = Database::create();
    let mut conn = database.connect();
    run(&mut conn, "CREATE TABLE work (id int)").unwrap();
    let outcome = conn.transaction::<(), Error, _>(|conn| {
        run(conn, "INSERT INTO work VALUES (1)")?;
        sem::run_migrations(conn)
    });
    assert!(matches!(outcome, Err(Error::Migration(_))));
    assert_eq!(number(&mut conn, "(SELECT COUNT(*) FROM work)"), 0);
    sem::run_migrations(&mut conn).unwrap();
    conn.transaction(sem::run_migrations).unwrap();
}

#[test]
fn each_folder_is_a_migration() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/mysql");
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let database = Database::create();
    let sql = sem::pending_sql(&mut database.connect()).unwrap();
    let listed: Vec<_> = sql
        .lines()
        .filter_map(|line| line.strip_prefix("-- diesel-dbsemaphore: "))
        .collect();
    assert_eq!(listed, names);
}

#[test]
fn a_wait_for_another_migration_that_is_interrupted_says_so() {
    let database = Database::create();
    let (mut other, mut conn) = (database.connect(), database.connect());
    run(
        &mut other,
        "DO GET_LOCK(CONCAT('dbsemaphore.m.', LEFT(SHA2(DATABASE(), 256), 16), '.', 0), 0)",
    )
    .unwrap();
    let session = number(&mut conn, "CONNECTION_ID()");
    thread::scope(|scope| {
        let migrating = scope.spawn(|| sem::run_migrations(&mut conn));
        let waits = format!(
            "(SELECT COUNT(*) FROM information_schema.processlist WHERE id = {session} AND state = 'User lock')"
        );
        eventually("it waits", || number(&mut other, &waits) == 1);
        run(&mut other, &format!("KILL QUERY {session}")).unwrap();
        let error = migrating.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("interrupted"), "{error}");
    });
}
