//! Beside an application that uses Diesel's own tool, the real one.

mod any_order;

use crate::kit::TestDatabase;
use crate::postgres::upgrades::{database_at, folders};
use diesel::{PgConnection, RunQueryDsl, connection::SimpleConnection};
use diesel_dbsemaphore as sem;
use stand::Database;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// Installed if it isn't there: `make test` has seen to that before.
static DIESEL: LazyLock<PathBuf> = LazyLock::new(|| {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fetch-diesel");
    let fetched = Command::new(script).output().unwrap();
    let problem = String::from_utf8_lossy(&fetched.stderr);
    assert!(fetched.status.success(), "no diesel: {problem}");
    String::from_utf8(fetched.stdout).unwrap().trim().into()
});

/// An application as `diesel setup` leaves it, in a folder and a database of its own.
struct Application {
    folder: tempfile::TempDir,
    database: Database,
}

impl Application {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("diesel.toml"),
            "[print_schema]\nfile = \"schema.rs\"\n\n[migrations_directory]\ndir = \"migrations\"\n",
        )
        .unwrap();
        fs::create_dir(folder.path().join("migrations")).unwrap();
        let database = Database::create();
        Self { folder, database }
    }

    fn add_migration(&self, name: &str, up: &str, down: &str) {
        let migration = self.folder.path().join("migrations").join(name);
        fs::create_dir(&migration).unwrap();
        fs::write(migration.join("up.sql"), up).unwrap();
        fs::write(migration.join("down.sql"), down).unwrap();
    }

    /// What the tool prints.
    fn diesel(&self, words: &str) -> String {
        diesel(self.folder.path(), &self.database, words)
    }

    fn schema(&self) -> String {
        fs::read_to_string(self.folder.path().join("schema.rs")).unwrap()
    }
}

fn diesel(folder: &Path, database: &Database, words: &str) -> String {
    let ran = Command::new(&*DIESEL)
        .args(words.split(' '))
        .current_dir(folder)
        .env("DATABASE_URL", database.url())
        .env_remove("MIGRATION_DIRECTORY")
        .output()
        .unwrap();
    let problem = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "diesel {words}: {problem}");
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn print_schema_shows_ours_when_asked_for() {
    let application = Application::new();
    application.add_migration(
        "1_users",
        "CREATE TABLE users (id int PRIMARY KEY);",
        "DROP TABLE users;",
    );
    sem::run_migrations(&mut application.database.connect()).unwrap();
    application.diesel("migration run");
    let default = application.diesel("print-schema");
    assert!(
        default.contains("users (id)") && !default.contains("semaphore"),
        "{default}"
    );
    let ours = application.diesel("print-schema --schema dbsemaphore");
    assert!(ours.contains("dbsemaphore.semaphore (id)"), "{ours}");
    assert!(ours.contains("dbsemaphore.ticket (id)"), "{ours}");
    assert!(
        !ours.contains("users") && !ours.contains("__diesel"),
        "{ours}"
    );
}

#[test]
fn the_schema_in_rust_is_what_the_tool_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let printed = diesel(root, &Database::with_size(0), "print-schema");
    assert_eq!(
        printed,
        fs::read_to_string(root.join("src/schema/postgres.rs")).unwrap()
    );
}

/// What is in the schema, and how: functions, columns, comments, rights, versions.
fn all_of_ours(conn: &mut PgConnection) -> String {
    #[derive(diesel::QueryableByName)]
    struct All {
        #[diesel(sql_type = diesel::sql_types::Text)]
        everything: String,
    }
    let all: All = diesel::sql_query(
        "SELECT concat_ws(E'\\n', \
             (SELECT string_agg(concat(pg_get_functiondef(oid), proacl), E'\\n' ORDER BY oid::regprocedure::text) \
              FROM pg_proc WHERE pronamespace = 'dbsemaphore'::regnamespace), \
             (SELECT string_agg(concat_ws(' ', attrelid::regclass, attname, atttypid::regtype, attnotnull, attidentity, \
                     col_description(attrelid, attnum)), E'\\n' ORDER BY attrelid::regclass::text, attnum) \
              FROM pg_attribute JOIN pg_class c ON c.oid = attrelid \
              WHERE relnamespace = 'dbsemaphore'::regnamespace AND NOT attisdropped), \
             (SELECT string_agg(version, ' ' ORDER BY version) FROM dbsemaphore.__diesel_schema_migrations)) AS everything",
    )
    .get_result(conn)
    .unwrap();
    all.everything
}

#[test]
fn our_sql_in_a_migration_of_the_applications() {
    let application = Application::new();
    let conn = &mut application.database.connect();
    let sql = sem::pending_sql(conn).unwrap();
    application.add_migration(
        "1_users",
        "CREATE TABLE users (id int PRIMARY KEY);",
        "DROP TABLE users;",
    );
    application.add_migration("2_semaphores", &sql, "DROP SCHEMA dbsemaphore CASCADE;");
    application.diesel("migration run");
    assert!(!application.schema().contains("semaphore"));
    assert_eq!(sem::pending_sql(conn).unwrap(), "");
    sem::make(conn, "x", 3).unwrap();

    // It is what `run_migrations` makes, which has nothing to do: a role that may change nothing can call it.
    let theirs = all_of_ours(conn);
    assert!(theirs.contains("pg_advisory_lock") && theirs.contains("acquire_privilege"));
    let reference = Database::with_size(0);
    assert_eq!(theirs, all_of_ours(&mut reference.connect()));
    conn.batch_execute("SET default_transaction_read_only = on")
        .unwrap();
    sem::run_migrations(conn).unwrap();
    conn.batch_execute("RESET default_transaction_read_only")
        .unwrap();

    application.diesel("migration redo");
    assert!(sem::list(conn).unwrap().is_empty());
    application.diesel("migration revert");
    assert!(matches!(sem::list(conn), Err(sem::Error::NotMigrated)));
    application.diesel("migration run");
    sem::revert_migrations(conn).unwrap();
    assert_eq!(sem::pending_sql(conn).unwrap(), sql);
}

/// The next release of the application brings what the next version of the crate has.
#[test]
fn only_what_is_new_is_pending_after_an_upgrade() {
    for version in 1..=folders().len() {
        let database = database_at(version);
        let conn = &mut database.connect();
        let sql = sem::pending_sql(conn).unwrap();
        for (number, folder) in folders().iter().enumerate() {
            let name = folder.file_name().unwrap().to_str().unwrap();
            assert_eq!(sql.contains(name), number >= version, "{name}");
        }
        assert!(sql.contains("sql/postgres/try_acquire.sql"));
        conn.batch_execute(&sql).unwrap();
        sem::run_migrations(conn).unwrap();
        assert_eq!(
            all_of_ours(conn),
            all_of_ours(&mut Database::with_size(0).connect())
        );
    }
}
