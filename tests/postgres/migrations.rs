//! Our migrations, beside an application's own.

use crate::kit::TestDatabase;
use crate::postgres::{number, until_waiting_for};
use diesel::{
    Connection, PgConnection,
    connection::SimpleConnection,
    migration::{Migration, MigrationSource},
    pg::Pg,
};
use diesel_dbsemaphore as sem;
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use stand::Database;
use std::{fs, path::Path};

const OURS: &str = "SELECT count(*) FROM dbsemaphore.__diesel_schema_migrations";

const THEIRS: &str = "SELECT count(*) FROM public.__diesel_schema_migrations";

/// An application's migrations in a folder, the first with the version of our first.
struct Application(tempfile::TempDir);

impl Application {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ours = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .min()
            .unwrap();
        let version = ours.split('_').next().unwrap();
        for (name, table) in [
            (format!("{version}_users"), "users"),
            ("9999-01-01-000000_posts".to_owned(), "posts"),
        ] {
            let migration = folder.path().join(name);
            fs::create_dir(&migration).unwrap();
            fs::write(
                migration.join("up.sql"),
                format!("CREATE TABLE {table} (id int);"),
            )
            .unwrap();
            fs::write(migration.join("down.sql"), format!("DROP TABLE {table};")).unwrap();
        }
        Self(folder)
    }

    fn migrations(&self) -> FileBasedMigrations {
        FileBasedMigrations::from_path(self.0.path()).unwrap()
    }

    fn run(&self, conn: &mut PgConnection) -> usize {
        conn.run_pending_migrations(self.migrations())
            .unwrap()
            .len()
    }

    fn revert_last(&self, conn: &mut PgConnection) {
        conn.revert_last_migration(self.migrations()).unwrap();
    }

    fn revert_all(&self, conn: &mut PgConnection) {
        conn.revert_all_migrations(self.migrations()).unwrap();
    }

    fn count(&self) -> usize {
        let all: Vec<Box<dyn Migration<Pg>>> = self.migrations().migrations().unwrap();
        all.len()
    }
}

#[test]
fn migrations_of_both_sides_are_independent() {
    let database = Database::create();
    let conn = &mut database.connect();
    let application = Application::new();

    // The application first, then us, then the application again.
    assert_eq!(application.run(conn), application.count());
    sem::run_migrations(conn).unwrap();
    assert_eq!(number(conn, THEIRS), 2);
    application.revert_last(conn);
    assert_eq!(application.run(conn), 1);
    application.revert_all(conn);
    assert_eq!(application.run(conn), 2);
    let ours = number(conn, OURS);
    assert!(ours > 0);

    // Removed and created again.
    sem::revert_migrations(conn).unwrap();
    assert_eq!(number(conn, THEIRS), 2);
    assert_eq!(number(conn, "SELECT count(*) FROM users"), 0);
    sem::run_migrations(conn).unwrap();
    assert_eq!(number(conn, OURS), ours);

    // The application goes; we stay.
    application.revert_all(conn);
    assert_eq!(number(conn, THEIRS), 0);
    sem::make(conn, "x", 1).unwrap();

    // And us first.
    let database = Database::create();
    let conn = &mut database.connect();
    sem::run_migrations(conn).unwrap();
    assert_eq!(application.run(conn), 2);
    application.revert_last(conn);
    sem::run_migrations(conn).unwrap();
    assert_eq!(application.run(conn), 1);
}

#[test]
fn reverting_removes_the_schema() {
    let database = Database::with_size(3);
    let conn = &mut database.connect();
    sem::revert_migrations(conn).unwrap();
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname = 'dbsemaphore'";
    assert_eq!(number(conn, left), 0);
}

#[test]
fn another_table_in_the_schema_stops_the_revert() {
    let database = Database::with_size(3);
    let conn = &mut database.connect();
    conn.batch_execute("CREATE TABLE dbsemaphore.guest (id int)")
        .unwrap();
    let refused = sem::revert_migrations(conn).unwrap_err();
    assert!(refused.to_string().contains("dbsemaphore"), "{refused}");
    assert_eq!(sem::list(conn).unwrap()["x"], 3);
}

#[test]
fn the_search_path_is_unchanged() {
    let path = |conn: &mut PgConnection, expected: &str| {
        // With `quote_all_identifiers`, PostgreSQL keeps its names quoted.
        let same = format!(
            "SELECT (replace(current_setting('search_path'), '\"', '') = '{expected}')::int"
        );
        assert_eq!(number(conn, &same), 1, "{expected}");
    };
    let database = Database::create();
    let conn = &mut database.connect();
    conn.batch_execute("SET search_path = 'pg_catalog'")
        .unwrap();
    sem::run_migrations(conn).unwrap();
    path(conn, "pg_catalog");
    sem::revert_migrations(conn).unwrap();
    conn.transaction::<_, sem::Error, _>(|c| {
        c.batch_execute("SET LOCAL search_path = 'public'")?;
        sem::run_migrations(c)?;
        path(c, "public");
        Ok(())
    })
    .unwrap();
    path(conn, "pg_catalog");
}

#[test]
fn works_inside_a_transaction_and_is_undone_with_it() {
    let database = Database::create();
    let conn = &mut database.connect();
    conn.test_transaction::<_, sem::Error, _>(|c| {
        sem::run_migrations(c)?;
        sem::make(c, "x", 1)
    });
    assert!(matches!(sem::list(conn), Err(sem::Error::NotMigrated)));
}

#[test]
fn defaults_of_the_session_do_not_matter() {
    let database = Database::create();
    let conn = &mut database.connect();
    conn.batch_execute(
        "SET default_transaction_isolation = 'serializable'; SET default_transaction_read_only = on",
    )
    .unwrap();
    sem::run_migrations(conn).unwrap();
    sem::run_migrations(conn).unwrap();
}

/// A rolling deployment: an older version of the crate meets the tables of a newer one.
#[test]
fn unknown_newer_migrations_are_left_alone() {
    let database = Database::with_size(1);
    let conn = &mut database.connect();
    conn.batch_execute("INSERT INTO dbsemaphore.__diesel_schema_migrations VALUES ('99991231')")
        .unwrap();
    sem::run_migrations(conn).unwrap();
    let refused = sem::revert_migrations(conn).unwrap_err();
    assert!(matches!(refused, sem::Error::Migration(_)));
    assert!(refused.to_string().contains("99991231"), "{refused}");
    assert_eq!(sem::list(conn).unwrap()["x"], 1);
}

#[test]
fn running_and_reverting_wait_for_each_other() {
    let database = Database::create();
    let mut other = database.connect();
    let lock = i64::from_be_bytes(*b"dbsemaph");
    for work in [sem::run_migrations, sem::revert_migrations] {
        other
            .batch_execute(&format!("BEGIN; SELECT pg_advisory_xact_lock({lock})"))
            .unwrap();
        std::thread::scope(|scope| {
            let migrating = scope.spawn(|| work(&mut database.connect()));
            until_waiting_for(&database, "advisory");
            assert!(!migrating.is_finished());
            other.batch_execute("ROLLBACK").unwrap();
            migrating.join().unwrap().unwrap();
        });
    }
}

/// `src/schema/postgres.rs` is what `diesel print-schema` writes. This finds what it doesn't know.
#[test]
fn the_schema_in_rust_is_that_of_the_database() {
    let database = Database::with_size(1);
    let conn = &mut database.connect();
    let columns = "SELECT count(*) FROM information_schema.columns \
        WHERE table_schema = 'dbsemaphore' AND table_name IN ('semaphore', 'ticket')";
    use diesel::prelude::*;
    use sem::schema::dbsemaphore::{semaphore, ticket};
    let names: Vec<(i64, String, i32)> = semaphore::table
        .select((semaphore::id, semaphore::name, semaphore::slot_bound))
        .load(conn)
        .unwrap();
    assert_eq!(names[0].1, "x");
    let tickets: Vec<(i64, i64, i32, i32, Option<bool>)> = ticket::table.load(conn).unwrap();
    assert_eq!(tickets[0].1, names[0].0);
    let timed: i64 = semaphore::table
        .filter(semaphore::resized_at.le(diesel::dsl::now))
        .count()
        .get_result(conn)
        .unwrap();
    assert_eq!(timed, 1);
    let noted: Vec<(i64, i32, String, i32)> = semaphore::table
        .select((
            semaphore::system_identifier,
            semaphore::timeline,
            semaphore::next_timeline,
            semaphore::epoch,
        ))
        .load(conn)
        .unwrap();
    assert_eq!(noted[0].1, noted[0].3);
    assert_eq!(number(conn, columns), 13);
}
