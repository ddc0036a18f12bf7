//! What people use instead: a locked file without a semaphore, the command `flock`, and a counter in a row.

use crate::{Database, rate};
use diesel::{RunQueryDsl, SqliteConnection, connection::SimpleConnection};
use fs4::FileExt;
use std::{fs::File, process::Command};

pub(crate) fn run() {
    let database = Database::with(3);
    let path = database.file("lock");
    println!("beside it, in one process:");
    let lock = || {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .unwrap();
        assert!(FileExt::try_lock(&file).is_ok());
    };
    println!("  a locked file, one holder: {:.0}/s", rate(lock));
    let command = || {
        assert!(
            Command::new("flock")
                .arg(&path)
                .arg("true")
                .status()
                .unwrap()
                .success()
        )
    };
    println!("  the command flock, one holder: {:.0}/s", rate(command));
    let mut conn = database.connect();
    for synchronous in ["FULL", "NORMAL"] {
        conn.batch_execute(&format!(
            "PRAGMA synchronous = {synchronous}; DROP TABLE IF EXISTS counter; CREATE TABLE counter (held INTEGER); \
             INSERT INTO counter VALUES (0)"
        ))
        .unwrap();
        let counter = || {
            count(
                &mut conn,
                "UPDATE counter SET held = held + 1 WHERE held < 3",
            );
            count(&mut conn, "UPDATE counter SET held = held - 1");
        };
        println!(
            "  a counter in a row, synchronous = {synchronous}, a crash leaks: {:.0}/s",
            rate(counter)
        );
    }
}

fn count(conn: &mut SqliteConnection, sql: &str) {
    assert_eq!(diesel::sql_query(sql).execute(conn).unwrap(), 1);
}
