//! Schemas and functions that somebody else has created.

use crate::kit::TestDatabase;
use crate::postgres::{number, rights::documented};
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::Database;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(20);

/// A schema in the search path where others may create what they like. PostgreSQL prefers what fits the types exactly to its
/// own that doesn't, so this is what they would create.
const TRAPS: &str = "
    CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO public;

    CREATE TABLE evil.caught (what text); GRANT ALL ON evil.caught TO public;
    CREATE FUNCTION evil.caught(what text) RETURNS bigint LANGUAGE sql AS
        'INSERT INTO evil.caught VALUES (what); SELECT 1::bigint';
    CREATE FUNCTION evil.counted(bigint, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT evil.caught(''count'')';
    CREATE AGGREGATE evil.count (bigint) (SFUNC = evil.counted, STYPE = bigint, INITCOND = '0');
    CREATE FUNCTION evil.and_(bigint, integer) RETURNS bigint LANGUAGE sql AS 'SELECT evil.caught(''&'')';
    CREATE OPERATOR evil.& (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = evil.and_);
    CREATE FUNCTION evil.times(double precision, integer) RETURNS double precision LANGUAGE sql AS
        'SELECT evil.caught(''*'')::double precision';
    CREATE OPERATOR evil.* (LEFTARG = double precision, RIGHTARG = integer, FUNCTION = evil.times);
    CREATE FUNCTION evil.rest(bigint, integer) RETURNS bigint LANGUAGE sql AS 'SELECT evil.caught(''%'')';
    CREATE OPERATOR evil.% (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = evil.rest);
    CREATE FUNCTION evil.joined(text, bigint) RETURNS text LANGUAGE sql AS 'SELECT evil.caught(''||'')::text';
    CREATE OPERATOR evil.|| (LEFTARG = text, RIGHTARG = bigint, FUNCTION = evil.joined);
    CREATE FUNCTION evil.concat(text, text, text) RETURNS text LANGUAGE sql AS 'SELECT evil.caught(''concat'')::text';
    CREATE FUNCTION evil.concat(text, text, bigint, text, text, text, bigint) RETURNS text LANGUAGE sql AS
        'SELECT evil.caught(''concat'')::text';
    CREATE FUNCTION evil.concat_ws(text, text, text) RETURNS text LANGUAGE sql AS
        'SELECT evil.caught(''concat_ws'')::text';
    CREATE TABLE evil.pg_locks (x int); CREATE TABLE evil.semaphore (x int); CREATE TABLE evil.ticket (x int);
    CREATE TEMPORARY TABLE pg_locks (x int); CREATE TEMPORARY TABLE pg_class (x int);
    CREATE TEMPORARY TABLE pg_stat_activity (x int); CREATE TEMPORARY TABLE pg_database (x int);
    CREATE TEMPORARY TABLE semaphore (x int); CREATE TEMPORARY TABLE ticket (x int);
    CREATE TEMPORARY TABLE __diesel_schema_migrations (version text);";

/// Each call, as a superuser, in such a session.
#[test]
fn a_superuser_calls_no_foreign_function() {
    let database = Database::create();
    let conn = &mut database.connect();
    conn.batch_execute(TRAPS).unwrap();
    let caught = "SELECT pg_catalog.count(*) FROM evil.caught";
    conn.batch_execute("SET search_path = evil, public")
        .unwrap();
    assert_eq!(number(conn, "SELECT count(1::bigint)"), 1, "the trap works");
    assert_eq!(number(conn, caught), 1);
    conn.batch_execute("DELETE FROM evil.caught").unwrap();

    sem::run_migrations(conn).unwrap();
    sem::run_migrations(conn).unwrap();
    sem::ensure(conn, "x", 2).unwrap();
    sem::make(conn, "x", 5).unwrap();
    let request = Request::new("x").label("a").tickets(2);
    let mut other = database.connect();
    other
        .batch_execute("SET search_path = evil, public")
        .unwrap();
    for request in [Request::new("x"), Request::new("x").label("a")] {
        drop(SemaphoreTicket::require(&mut *conn, request).unwrap());
    }
    conn.transaction(|c| sem::require(c, "x")).unwrap();
    let mut held = SemaphoreTicket::require(&mut other, request.tickets(4)).unwrap();
    held.check().unwrap();
    conn.transaction(|c| c.transaction(|c| sem::acquire(c, request.wait(SHORT))))
        .unwrap();
    assert!(
        SemaphoreTicket::acquire(&mut *conn, request.wait(SHORT))
            .unwrap()
            .is_none()
    );
    assert_eq!(sem::holders(conn, "x").unwrap().len(), 4);
    assert_eq!(sem::waiters(conn, "x").unwrap(), []);
    assert_eq!(sem::usage(conn).unwrap()[0].in_use, 4);
    assert_eq!(sem::list(conn).unwrap()["x"], 5);
    for documented in [
        documented("SELECT s.name, l.kind"),
        documented("SELECT a.pid, a.usename"),
    ] {
        // Their own tables come from where a user's own statement looks for them.
        conn.batch_execute("DROP TABLE IF EXISTS pg_temp.pg_locks, pg_temp.pg_stat_activity")
            .unwrap();
        conn.batch_execute(&documented).unwrap();
    }
    held.release().unwrap();
    sem::make(conn, "x", 1).unwrap();
    sem::destroy(conn, "x").unwrap();
    sem::revert_migrations(conn).unwrap();
    assert_eq!(number(conn, caught), 0);
}

/// What the library calls, and what the chapters tell people to call, doesn't look into the search path; the rest is called
/// by these. (`_try_acquire` does, and names in full what it finds there: the test before this one calls it.) And nothing
/// runs with other rights than the caller's.
#[test]
fn what_is_called_from_outside_fixes_its_search_path() {
    let database = Database::with_size(1);
    let conn = &mut database.connect();
    let functions = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'dbsemaphore'::regnamespace";
    assert_eq!(number(conn, &format!("{functions} AND prosecdef")), 0);
    let mut check = |name: &str| {
        let named = format!("{functions} AND proname = '{name}'");
        // With `quote_all_identifiers`, PostgreSQL keeps the names quoted.
        let fixed = format!(
            "{named} AND (prosqlbody IS NOT NULL OR EXISTS (SELECT FROM unnest(proconfig) AS c \
             WHERE replace(c, '\"', '') = 'search_path=pg_catalog, pg_temp'))"
        );
        assert_eq!(number(conn, &named), number(conn, &fixed), "{name}");
    };
    for shown in ["holders", "waiters", "usage", "advisory_locks"] {
        check(shown);
    }
    let sources = concat!(
        include_str!("../../src/backend/postgres/acquire.rs"),
        include_str!("../../src/backend/postgres/manage.rs"),
        include_str!("../../src/backend/postgres/inspect.rs"),
        include_str!("../../src/backend/postgres/transaction.rs"),
    );
    let code: String = sources
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    for called in code.split("dbsemaphore.").skip(1) {
        let name = called
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .next()
            .unwrap();
        if name != "_try_acquire" {
            check(name);
        }
    }
}

/// Somebody who may create schemas was there first.
#[test]
fn migrations_refuse_a_schema_of_another_role() {
    let mut database = Database::create();
    let (mallory, victim) = (
        database.create_role("mallory"),
        database.create_role("victim"),
    );
    let conn = &mut database.connect();
    conn.batch_execute(&format!(
        "CREATE SCHEMA dbsemaphore AUTHORIZATION {mallory}; SET ROLE {mallory}; \
         GRANT ALL ON SCHEMA dbsemaphore TO public; \
         CREATE TABLE dbsemaphore.__diesel_schema_migrations (version varchar(50) PRIMARY KEY, run_on timestamp); \
         CREATE FUNCTION dbsemaphore.trap() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN EXECUTE ''ALTER ROLE {mallory} SUPERUSER''; RETURN NEW; END'; \
         CREATE TRIGGER trap BEFORE INSERT ON dbsemaphore.__diesel_schema_migrations \
             FOR EACH ROW EXECUTE FUNCTION dbsemaphore.trap(); \
         GRANT ALL ON dbsemaphore.__diesel_schema_migrations TO public; RESET ROLE"
    ))
    .unwrap();
    let superusers =
        format!("SELECT count(*) FROM pg_roles WHERE rolsuper AND rolname = '{mallory}'");
    for work in [sem::run_migrations, sem::revert_migrations] {
        for conn in [&mut *conn, &mut database.connect_as(&victim)] {
            let refused = work(conn).unwrap_err();
            assert!(matches!(&refused, Error::Migration(_)), "{refused:?}");
            assert!(refused.to_string().contains(&mallory), "{refused}");
        }
    }
    assert_eq!(number(conn, &superusers), 0);

    // As the owner, or as one who trusts him, it is as ever.
    conn.batch_execute("DROP SCHEMA dbsemaphore CASCADE")
        .unwrap();
    conn.batch_execute(&format!(
        "CREATE SCHEMA dbsemaphore AUTHORIZATION {mallory}"
    ))
    .unwrap();
    sem::run_migrations(&mut database.connect_as(&mallory)).unwrap();
    conn.batch_execute(&format!("GRANT {mallory} TO {victim}"))
        .unwrap();
    sem::revert_migrations(&mut database.connect_as(&victim)).unwrap();
    assert_eq!(number(conn, &superusers), 0);
}
