//! Event triggers of the application, which run in our migrations, too.

use crate::postgres::number;
use diesel::{PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error};
use stand::Database;

/// It finds its table through the search path.
fn create(conn: &mut PgConnection, name: &str, event: &str) {
    conn.batch_execute(&format!(
        "CREATE TABLE IF NOT EXISTS ddl (tag text); \
         CREATE FUNCTION {name}() RETURNS event_trigger LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO ddl VALUES (tg_tag); END $$; \
         CREATE EVENT TRIGGER {name} ON {event} EXECUTE FUNCTION {name}()"
    ))
    .unwrap();
}

fn refused(result: sem::Result<()>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Migration(_)), "{error:?}");
    error.to_string()
}

#[test]
fn a_failing_event_trigger_is_named_with_its_fix() {
    let database = Database::create();
    let conn = &mut database.connect();
    create(conn, "audit", "ddl_command_end");
    create(conn, "\"Has a path\"", "ddl_command_end");
    conn.batch_execute("ALTER FUNCTION \"Has a path\"() SET search_path = public")
        .unwrap();
    create(conn, "asleep", "ddl_command_end");
    conn.batch_execute("ALTER EVENT TRIGGER asleep DISABLE")
        .unwrap();

    let text = refused(sem::run_migrations(conn));
    for part in ["\"ddl\"", "(event trigger \"audit\")", "search_path"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for other in ["Has a path", "asleep"] {
        assert!(!text.contains(other), "{other}: {text}");
    }
    let schema = "SELECT count(*) FROM pg_namespace WHERE nspname = 'dbsemaphore'";
    assert_eq!(number(conn, schema), 0);

    // The fix in its message.
    let from = text.find("ALTER FUNCTION").unwrap();
    let fix = text[from..].split("...").next().unwrap();
    conn.batch_execute(&format!("{fix} public")).unwrap();
    sem::run_migrations(conn).unwrap();
    sem::make(conn, "x", 1).unwrap();

    // Resizing changes no tables; removing them does.
    create(conn, "dropped", "sql_drop");
    sem::make(conn, "x", 5).unwrap();
    sem::destroy(conn, "x").unwrap();
    let text = refused(sem::revert_migrations(conn));
    assert!(text.contains("(event trigger \"dropped\")"), "{text}");
    assert!(!text.contains("audit"), "{text}");
    sem::list(conn).unwrap();
    conn.batch_execute("ALTER EVENT TRIGGER dropped DISABLE")
        .unwrap();
    sem::revert_migrations(conn).unwrap();
}

/// With the path of the caller, as any of his statements.
#[test]
fn event_triggers_work_in_your_own_migration() {
    let database = Database::create();
    let conn = &mut database.connect();
    create(conn, "audit", "ddl_command_end");
    let sql = sem::pending_sql(conn).unwrap();
    conn.batch_execute(&sql).unwrap();
    sem::run_migrations(conn).unwrap();
    sem::make(conn, "x", 1).unwrap();
    assert!(number(conn, "SELECT count(*) FROM ddl WHERE tag = 'CREATE TABLE'") > 1);
}
