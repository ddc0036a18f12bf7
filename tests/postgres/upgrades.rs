//! From each version of the tables to the present one, while they are in use. What is said here of migrations holds for
//! later ones as soon as they are there.

use crate::kit::{
    StopAtEnd, TestDatabase, eventually, in_transaction,
    process::{Process, migrate_at_once},
};
use diesel::{Connection, PgConnection, connection::SimpleConnection, prelude::*};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use stand::Database;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

const LONG: Duration = Duration::from_secs(120);

/// Our migrations, in their order.
pub(crate) fn folders() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
    let mut folders: Vec<_> = fs::read_dir(all)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    folders
}

/// A database in which the first so many migrations have been run, as `run_migrations` does it, with 5 tickets of "x",
/// and one of "line".
pub(crate) fn database_at(version: usize) -> Database {
    let database = Database::create();
    let some = tempfile::tempdir().unwrap();
    for folder in &folders()[..version] {
        let copy = some.path().join(folder.file_name().unwrap());
        fs::create_dir(&copy).unwrap();
        for file in ["up.sql", "down.sql"] {
            fs::copy(folder.join(file), copy.join(file)).unwrap();
        }
    }
    let mut conn = database.connect();
    conn.batch_execute("CREATE SCHEMA dbsemaphore; SET search_path = dbsemaphore, pg_temp")
        .unwrap();
    conn.run_pending_migrations(FileBasedMigrations::from_path(some.path()).unwrap())
        .unwrap();
    conn.batch_execute(
        "INSERT INTO dbsemaphore.semaphore (name, slot_bound, system_identifier, timeline, epoch) \
             VALUES ('x', 5, 0, 1, 1), ('line', 1, 0, 1, 1); \
         INSERT INTO dbsemaphore.ticket (semaphore_id, slot) SELECT 1, generate_series(0, 4); \
         INSERT INTO dbsemaphore.ticket (semaphore_id, slot) VALUES (2, 0)",
    )
    .unwrap();
    database
}

/// Holds a ticket of a version that may have nothing but the tables: the lock of the row is the ticket in all of them.
fn lock_one(conn: &mut PgConnection) -> QueryResult<Option<i64>> {
    #[derive(QueryableByName)]
    struct Locked {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        id: i64,
    }
    let locked: Option<Locked> = diesel::sql_query(
        "SELECT t.id FROM dbsemaphore.ticket t JOIN dbsemaphore.semaphore s ON s.id = t.semaphore_id \
         WHERE s.name = 'x' LIMIT 1 FOR NO KEY UPDATE OF t SKIP LOCKED",
    )
    .get_result(conn)
    .optional()?;
    Ok(locked.map(|locked| locked.id))
}

fn tickets(conn: &mut PgConnection) -> String {
    #[derive(QueryableByName)]
    struct All {
        #[diesel(sql_type = diesel::sql_types::Text)]
        tickets: String,
    }
    let all: All = diesel::sql_query(
        "SELECT string_agg(concat_ws('/', s.id, s.name, s.slot_bound, t.id, t.slot), ' ' ORDER BY t.id) AS tickets \
         FROM dbsemaphore.semaphore s JOIN dbsemaphore.ticket t ON t.semaphore_id = s.id",
    )
    .get_result(conn)
    .unwrap();
    all.tickets
}

/// Whether this version serves what the present library asks.
fn can(database: &Database, request: Request<'_>) -> bool {
    SemaphoreTicket::require(database.connect(), request).is_ok()
}

#[test]
fn from_each_version_with_tickets_held_and_acquires_going_on() {
    for version in 1..=folders().len() {
        upgrade(&database_at(version));
    }
}

/// Of an older version with all tables, in which `usage` is another function.
fn database_with_functions_of(version: i32) -> Database {
    let database = database_at(folders().len());
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    conn.batch_execute(&format!(
        "UPDATE dbsemaphore.function_version SET version = {version}, checksum = 'another'; \
         CREATE OR REPLACE FUNCTION dbsemaphore.usage(semaphore_name text DEFAULT NULL) \
         RETURNS TABLE (name text, size bigint, in_use bigint, waiting bigint) \
         LANGUAGE sql AS $$SELECT 'another', 1::bigint, 1::bigint, 1::bigint$$"
    ))
    .unwrap();
    database
}

#[test]
fn older_functions_are_replaced_with_tickets_held_and_acquires_going_on() {
    let database = database_with_functions_of(0);
    upgrade(&database);
    assert_eq!(sem::usage(&mut database.connect()).unwrap().len(), 2);
}

#[test]
fn newer_functions_are_left_alone() {
    let database = database_with_functions_of(999_999_999);
    let conn = &mut database.connect();
    assert_eq!(sem::pending_sql(conn).unwrap(), "");
    sem::run_migrations(conn).unwrap();
    assert_eq!(sem::usage(conn).unwrap()[0].name, "another");
}

fn upgrade(database: &Database) {
    let acquires = can(database, Request::new("x"));
    let waits = can(database, Request::new("x").wait_forever());
    let conn = &mut database.connect();
    let before = tickets(conn);

    // Some hold, two of them as the present library does it, where it can.
    let mut plain = database.connect();
    plain.batch_execute("BEGIN").unwrap();
    lock_one(&mut plain).unwrap().unwrap();
    let hold = |name| acquires.then(|| SemaphoreTicket::require(database.connect(), name).unwrap());
    let mut guards = [hold("x"), hold("line")];
    let (stop, rounds) = (
        AtomicBool::new(false),
        [AtomicUsize::new(0), AtomicUsize::new(0)],
    );
    thread::scope(|scope| {
        // Two acquire and release, all the time, each in one session. Nothing they do may fail.
        let (stop, rounds) = (&stop, &rounds);
        // A panic anywhere has to end all the others.
        let _stop = StopAtEnd(stop);
        for (number, done) in rounds.iter().enumerate() {
            scope.spawn(move || {
                let mut conn = database.connect();
                let _stop = StopAtEnd(stop);
                while !stop.load(Ordering::Relaxed) {
                    if acquires && number == 0 {
                        in_transaction(&mut conn, |c| sem::require(c, "x"));
                    } else {
                        conn.transaction::<_, diesel::result::Error, _>(lock_one)
                            .unwrap();
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // One waits in the queue.
        let waiter = waits.then(|| {
            let mut conn = database.connect();
            let waiter = scope.spawn(move || {
                let request = Request::new("line").wait(LONG);
                SemaphoreTicket::require(&mut conn, request).map(drop)
            });
            database.until_queued(1);
            waiter
        });

        // Whoever waits for a holder waits for ever, or for as long as this.
        let mut url = database.url();
        url.push_str(if url.contains('?') { "&" } else { "?" });
        url.push_str("options=-c%20lock_timeout%3D10s");
        let processes = (0..4).map(|_| Process::start_at("migrate", &url)).collect();
        migrate_at_once(processes);

        // Those who were there go on, and so does everybody.
        for done in rounds {
            let until = done.load(Ordering::Relaxed) + 20;
            eventually("acquires go on", || {
                stop.load(Ordering::Relaxed) || done.load(Ordering::Relaxed) > until
            });
        }
        assert!(!stop.swap(true, Ordering::Relaxed), "an acquire failed");
        for guard in guards.iter_mut().flatten() {
            guard.check().unwrap();
        }
        lock_one(&mut plain).unwrap();
        assert_eq!(tickets(conn), before);
        plain.batch_execute("ROLLBACK").unwrap();
        drop(guards);
        if let Some(waiter) = waiter {
            waiter.join().unwrap().unwrap();
        }
    });
    assert_eq!(database.available(), 5);
    assert_eq!(sem::list(conn).unwrap()["x"], 5);
    sem::make(conn, "x", 7).unwrap();
    drop(SemaphoreTicket::require(conn, Request::new("x").tickets(7).wait_forever()).unwrap());
}
