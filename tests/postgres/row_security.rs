//! Row level security on our tables. What it hides would look held, or unknown, or not there.

use crate::contract::queue::hold;
use crate::kit::TestDatabase;
use crate::postgres::rights::create_roles;
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::Database;
use std::{thread, time::Duration};

const LONG: Duration = Duration::from_secs(60);
const TABLES: [&str; 2] = ["semaphore", "ticket"];

/// With `row_security` off, PostgreSQL itself refuses each query.
fn connect(database: &Database, role: &str) -> PgConnection {
    let mut conn = database.connect_as(role);
    conn.batch_execute("SET row_security = on").unwrap();
    conn
}

fn alter(database: &Database, statement: &str) {
    database.connect().batch_execute(statement).unwrap();
}

fn acquire(conn: &mut PgConnection, request: Request<'_>) -> sem::Result<bool> {
    SemaphoreTicket::acquire(conn, request).map(|guard| guard.is_some())
}

fn assert_names_it<T>(what: &str, result: sem::Result<T>) {
    let Err(error) = result else {
        panic!("{what} was answered");
    };
    let text = error.to_string();
    assert!(matches!(error, Error::Database(_)), "{what}: {error:?}");
    assert!(text.contains("row level security"), "{what}: {text}");
    assert!(text.contains("BYPASSRLS"), "{what}: {text}");
}

#[test]
fn hidden_rows_are_an_error() {
    for table in TABLES {
        let mut database = Database::with_size(3);
        let [_, holder, operator] = create_roles(&mut database);
        alter(
            &database,
            &format!("ALTER TABLE dbsemaphore.{table} ENABLE ROW LEVEL SECURITY"),
        );
        let x = Request::new("x");
        let conn = &mut connect(&database, &holder);
        for (what, request) in [
            ("one", x),
            ("a label", x.label("a")),
            ("two", x.tickets(2)),
            ("a wait", x.wait(LONG)),
        ] {
            assert_names_it(what, acquire(conn, request));
            let low_level = conn.transaction(|c| sem::acquire(c, request));
            assert_names_it(what, low_level);
        }
        assert_names_it("list", sem::list(conn));
        assert_names_it("usage", sem::usage(conn));
        assert_names_it("holders", sem::holders(conn, "x"));
        assert_names_it("waiters", sem::waiters(conn, "x"));
        let conn = &mut connect(&database, &operator);
        assert_names_it("grow", sem::make(conn, "x", 5));
        assert_names_it("shrink", sem::make(conn, "x", 1));
        assert_names_it("create", sem::ensure(conn, "new", 1));
        assert_names_it("destroy", sem::destroy(conn, "x"));

        // The owner of the tables is not concerned.
        assert_eq!(sem::list(&mut database.connect()).unwrap()["x"], 3);
        assert_eq!(database.available(), 3);
    }
}

/// Behind a waiter, a request is refused before it looks for a ticket.
#[test]
fn hidden_tickets_are_an_error_behind_a_waiter() {
    let mut database = Database::with_size(1);
    let [_, role, _] = create_roles(&mut database);
    let statement = "ALTER TABLE dbsemaphore.ticket ENABLE ROW LEVEL SECURITY";
    alter(&database, statement);
    let holder = hold(&database, 1);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let request = Request::new("x").wait(LONG);
            acquire(&mut database.connect(), request)
        });
        database.until_head_waits();
        let conn = &mut connect(&database, &role);
        assert_names_it("a request", acquire(conn, Request::new("x")));
        let short = Request::new("x").wait(Duration::from_secs(5));
        assert_names_it("a wait", acquire(conn, short));
        drop(holder);
        assert!(waiter.join().unwrap().unwrap());
    });
}

fn assert_works(database: &Database, role: &str) {
    let conn = &mut connect(database, role);
    let others = &mut connect(database, role);
    let all = SemaphoreTicket::require(others, Request::new("x").tickets(3)).unwrap();
    assert!(!acquire(conn, Request::new("x")).unwrap());
    let short = Request::new("x").wait(Duration::from_millis(20));
    assert!(!acquire(conn, short).unwrap());
    assert!(matches!(
        acquire(conn, Request::new("reprots")),
        Err(Error::UnknownSemaphore { .. })
    ));
    assert_eq!(sem::list(conn).unwrap()["x"], 3);
    assert_eq!(sem::usage(conn).unwrap()[0].in_use, 3);
    assert_eq!(sem::holders(conn, "x").unwrap().len(), 3);
    drop(all);
}

#[test]
fn policies_that_hide_nothing_change_nothing() {
    let mut database = Database::with_size(3);
    let [_, holder, operator] = create_roles(&mut database);
    for table in TABLES {
        alter(
            &database,
            &format!(
                "ALTER TABLE dbsemaphore.{table} ENABLE ROW LEVEL SECURITY; \
                 CREATE POLICY look ON dbsemaphore.{table} FOR SELECT USING (true)"
            ),
        );
    }
    let conn = &mut connect(&database, &holder);
    assert_eq!(sem::list(conn).unwrap()["x"], 3);
    assert_names_it("none to lock", acquire(conn, Request::new("x")));
    // It has no right to update semaphores.
    alter(
        &database,
        &format!("CREATE POLICY lock ON dbsemaphore.ticket FOR UPDATE TO {holder} USING (true)"),
    );
    assert_works(&database, &holder);
    // One that may resize has.
    let operating = &mut connect(&database, &operator);
    assert_names_it("resize", sem::make(operating, "x", 3));

    // Otherwise it would delete fewer rows than it has to, without an error.
    alter(
        &database,
        &format!(
            "CREATE POLICY change ON dbsemaphore.semaphore FOR UPDATE TO {operator} USING (true)"
        ),
    );
    sem::list(operating).unwrap();
    assert_names_it("shrink", sem::make(operating, "x", 2));
    assert_names_it("destroy", sem::destroy(operating, "x"));
    for table in TABLES {
        alter(
            &database,
            &format!(
                "CREATE POLICY remove ON dbsemaphore.{table} FOR DELETE TO {operator} USING (true)"
            ),
        );
    }
    sem::make(operating, "x", 2).unwrap();
    assert_eq!(database.available(), 2);
    sem::make(&mut database.connect(), "x", 3).unwrap();

    // These do not concern the holder, or hide nothing.
    alter(
        &database,
        &format!(
            "CREATE POLICY other_role ON dbsemaphore.ticket AS RESTRICTIVE TO {operator} USING (false); \
             CREATE POLICY old ON dbsemaphore.ticket AS RESTRICTIVE FOR DELETE USING (false); \
             CREATE POLICY everything ON dbsemaphore.ticket AS RESTRICTIVE USING (true)"
        ),
    );
    assert_works(&database, &holder);

    alter(
        &database,
        "CREATE POLICY half ON dbsemaphore.ticket AS RESTRICTIVE FOR UPDATE USING (slot < 2)",
    );
    let guard = SemaphoreTicket::require(&mut *conn, Request::new("x").tickets(2)).unwrap();
    assert_eq!(guard.ticket().count(), 2);
    drop(guard);
    assert_names_it("three", acquire(conn, Request::new("x").tickets(3)));
    assert_eq!(sem::usage(conn).unwrap()[0].size, 3);
    alter(
        &database,
        "CREATE POLICY one ON dbsemaphore.ticket AS RESTRICTIVE FOR SELECT USING (slot < 1)",
    );
    assert_names_it("list", sem::list(conn));

    alter(&database, &format!("ALTER ROLE {holder} BYPASSRLS"));
    assert_works(&database, &holder);
}

#[test]
fn a_hidden_list_of_migrations_is_an_error() {
    let mut database = Database::with_size(1);
    let [_, holder, _] = create_roles(&mut database);
    let conn = &mut connect(&database, &holder);
    sem::run_migrations(conn).unwrap();
    alter(
        &database,
        "ALTER TABLE dbsemaphore.__diesel_schema_migrations ENABLE ROW LEVEL SECURITY",
    );
    let text = sem::run_migrations(conn).unwrap_err().to_string();
    assert!(text.contains("row level security"), "{text}");
}
