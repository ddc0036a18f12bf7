//! What a role needs, and what it can do with no more.

use crate::kit::TestDatabase;
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::Database;
use std::time::Duration;

/// A kind of user, as the chapter `security` names its role.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Observer,
    Holder,
    Operator,
}

/// The block of SQL in the chapter `security` that begins with this.
pub(crate) fn documented(beginning: &str) -> String {
    let blocks = include_str!("../../docs/guide/security.md").split("\n```sql\n");
    blocks
        .skip(1)
        .map(|rest| rest.split("\n```\n").next().unwrap())
        .find(|block| block.starts_with(beginning))
        .unwrap()
        .to_owned()
}

/// Makes the documented roles, under names of their own on this server, and returns them: observer, holder, operator.
pub(crate) fn create_roles(database: &mut Database) -> [String; 3] {
    let mut grants = documented("CREATE ROLE sem_observer;");
    let roles = ["sem_observer", "sem_holder", "sem_operator"].map(|role| {
        let own = database.create_role(role);
        grants = grants
            .replace(&format!("CREATE ROLE {role};"), "")
            .replace(role, &own);
        own
    });
    database.connect().batch_execute(&grants).unwrap();
    roles
}

/// A connection as a user of that kind.
pub(crate) fn connect_as(database: &mut Database, kind: Kind) -> PgConnection {
    let roles = create_roles(database);
    database.connect_as(&roles[kind as usize])
}

fn connect_with(database: &mut Database, grants: &str) -> PgConnection {
    let role = database.create_role("role");
    let grants = grants.replace("{role}", &role);
    database.connect().batch_execute(&grants).unwrap();
    database.connect_as(&role)
}

#[test]
fn a_holder_can_hold() {
    let mut database = Database::with_size(3);
    let conn = &mut connect_as(&mut database, Kind::Holder);
    sem::run_migrations(conn).unwrap();
    assert!(!sem::ensure(conn, "x", 1).unwrap());
    assert_eq!(sem::list(conn).unwrap()["x"], 3);
    let mut guard = SemaphoreTicket::require(&mut *conn, Request::new("x").tickets(2)).unwrap();
    guard.check().unwrap();
    guard.release().unwrap();
    conn.transaction(|c| sem::require(c, "x")).unwrap();
}

/// Whoever may create functions and operators may put them before PostgreSQL's own, in a search path of their own.
#[test]
fn nothing_in_the_search_path_is_used() {
    let mut database = Database::with_size(2);
    let conn = &mut connect_as(&mut database, Kind::Holder);
    let mut owner = database.connect();
    owner
        .batch_execute(
            "CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO public; \
             CREATE FUNCTION evil.boom() RETURNS bigint LANGUAGE plpgsql AS \
                'BEGIN RAISE EXCEPTION ''reached''; END'; \
             CREATE FUNCTION evil.random() RETURNS double precision LANGUAGE sql AS 'SELECT evil.boom()'; \
             CREATE FUNCTION evil.cardinality(bigint[]) RETURNS integer LANGUAGE sql AS 'SELECT evil.boom()::int'; \
             CREATE FUNCTION evil.pg_advisory_lock(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT evil.boom()'; \
             CREATE FUNCTION evil.equal(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT evil.boom() > 0'; \
             CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.equal)",
        )
        .unwrap();
    conn.batch_execute("SET search_path = evil, pg_catalog")
        .unwrap();
    assert!(
        conn.batch_execute("SELECT 1::bigint = 1::bigint").is_err(),
        "the trap works"
    );
    let request = Request::new("x").tickets(2);
    let held = SemaphoreTicket::require(database.connect(), request).unwrap();
    assert!(
        SemaphoreTicket::acquire(&mut *conn, request.wait(Duration::from_millis(20)))
            .unwrap()
            .is_none()
    );
    drop(held);
    drop(SemaphoreTicket::require(&mut *conn, request).unwrap());
    let mut guard = SemaphoreTicket::require(&mut *conn, request.wait_forever()).unwrap();
    guard.check().unwrap();
    guard.release().unwrap();
}

#[test]
fn without_rights_the_error_says_which() {
    for (grants, missing) in [
        ("SELECT 1", "USAGE on schema dbsemaphore"),
        ("GRANT USAGE ON SCHEMA dbsemaphore TO {role}", "SELECT on "),
        (
            "GRANT USAGE ON SCHEMA dbsemaphore TO {role}; \
             GRANT SELECT ON ALL TABLES IN SCHEMA dbsemaphore TO {role}",
            "UPDATE (acquire_privilege) on dbsemaphore.ticket",
        ),
    ] {
        let mut database = Database::with_size(3);
        let conn = &mut connect_with(&mut database, grants);
        for refused in [
            conn.transaction(|c| sem::require(c, "x")).unwrap_err(),
            SemaphoreTicket::require(&mut *conn, "x").unwrap_err(),
        ] {
            assert!(matches!(refused, Error::Database(_)), "{refused:?}");
            let message = refused.to_string();
            assert!(message.contains("permission denied"), "{message}");
            assert!(message.contains(missing), "{message}");
        }
        conn.batch_execute("SELECT 1").unwrap();
    }
}

#[test]
fn without_rights_migrations_say_so() {
    let mut database = Database::create();
    let conn = &mut connect_with(&mut database, "SELECT 1");
    let refused = sem::run_migrations(conn).unwrap_err().to_string();
    assert!(refused.contains("CREATE on the database"), "{refused}");
}
