//! What the documented roles can do, and what they can't, whatever they try; and what the chapter `security` says of those
//! who mean harm.

use crate::kit::{ServerDatabase, TestDatabase, eventually};
use crate::postgres::number;
use crate::postgres::rights::{Kind, connect_as, create_roles, documented};
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::Database;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

/// Calls, and statements of one's own, by what they take.
const OBSERVING: &[&str] = &[
    "SELECT * FROM dbsemaphore.usage()",
    "SELECT * FROM dbsemaphore.holders('x')",
    "SELECT * FROM dbsemaphore.waiters('x')",
    "SELECT * FROM dbsemaphore.advisory_locks()",
    "SELECT * FROM dbsemaphore.semaphore, dbsemaphore.ticket",
    "SELECT dbsemaphore._release_queue_locks()",
];

const HOLDING: &[&str] = &[
    "SELECT dbsemaphore._try_acquire('x', 1, NULL, NULL)",
    "SELECT dbsemaphore._try_acquire('x', 2, NULL, 'label')",
    "SELECT dbsemaphore._acquire('x', 1, NULL, NULL, 10, NULL)",
    "SELECT dbsemaphore._wait_in_queue(1, 1, '{}', now(), NULL, false, false, NULL)",
    "SELECT dbsemaphore._lock_available_tickets(1, 3, 1, '{}', 10)",
    "SELECT dbsemaphore._wait_for_ticket(1, 3, '{}', 0, interval '1 ms')",
    "SELECT FROM dbsemaphore.ticket FOR UPDATE SKIP LOCKED",
    "SELECT FROM dbsemaphore.ticket FOR KEY SHARE SKIP LOCKED",
    "UPDATE dbsemaphore.ticket SET acquire_privilege = NULL WHERE id = {free}",
];

const OPERATING: &[&str] = &[
    "INSERT INTO dbsemaphore.semaphore (name, system_identifier, timeline, epoch) VALUES ('new', 0, 1, 1)",
    "INSERT INTO dbsemaphore.ticket (semaphore_id, slot) VALUES (1, 99)",
    "UPDATE dbsemaphore.semaphore SET slot_bound = 9",
    "UPDATE dbsemaphore.semaphore SET name = 'y'",
    "SELECT FROM dbsemaphore.semaphore FOR UPDATE",
    "DELETE FROM dbsemaphore.ticket WHERE id = {free}",
    "SELECT dbsemaphore._remove_tickets(1, 1)",
    "LOCK TABLE dbsemaphore.semaphore IN SHARE MODE",
    "LOCK TABLE dbsemaphore.ticket IN ROW SHARE MODE",
];

const FOR_THE_OWNER: &[&str] = &[
    "UPDATE dbsemaphore.ticket SET semaphore_id = semaphore_id",
    "UPDATE dbsemaphore.ticket SET slot = slot + 10",
    "UPDATE dbsemaphore.ticket SET id = DEFAULT",
    "UPDATE dbsemaphore.ticket SET acquire_privilege = true",
    "TRUNCATE dbsemaphore.ticket",
    "ALTER TABLE dbsemaphore.ticket ADD COLUMN x int",
    "CREATE INDEX ON dbsemaphore.ticket (slot)",
    "CREATE TRIGGER x BEFORE UPDATE ON dbsemaphore.ticket FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE TABLE dbsemaphore.x (id int)",
    "CREATE TABLE pg_temp.x (ticket bigint REFERENCES dbsemaphore.ticket)",
    "CREATE FUNCTION dbsemaphore.x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION dbsemaphore._release_queue_locks() RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "DROP FUNCTION dbsemaphore._release_queue_locks() CASCADE",
    "ALTER FUNCTION dbsemaphore._release_queue_locks() SECURITY DEFINER",
    "DELETE FROM dbsemaphore.__diesel_schema_migrations",
    "INSERT INTO dbsemaphore.__diesel_schema_migrations VALUES ('1')",
    "SELECT setval(pg_get_serial_sequence('dbsemaphore.ticket', 'id'), 1)",
    "DROP SCHEMA dbsemaphore CASCADE",
];

#[test]
fn each_role_has_its_rights_and_no_others() {
    for kind in [Kind::Observer, Kind::Holder, Kind::Operator] {
        let mut database = Database::with_size(3);
        let held = SemaphoreTicket::require(database.connect(), "x").unwrap();
        let conn = &mut connect_as(&mut database, kind);
        let free_one = format!("{}", held.ticket().ids()[0] % 3 + 1);
        for (statements, least) in [
            (OBSERVING, Some(Kind::Observer)),
            (HOLDING, Some(Kind::Holder)),
            (OPERATING, Some(Kind::Operator)),
            (FOR_THE_OWNER, None),
        ] {
            let allowed = least.is_some_and(|least| least as u8 <= kind as u8);
            for statement in statements {
                let statement = statement.replace("{free}", &free_one);
                conn.batch_execute("BEGIN").unwrap();
                let done = conn.batch_execute(&statement);
                conn.batch_execute("ROLLBACK").unwrap();
                assert_eq!(done.is_ok(), allowed, "{statement}: {done:?}");
            }
        }
        let mut guard = held;
        guard.check().unwrap();
        assert_eq!(database.available(), 2);
        assert_eq!(Database::traces_of_queues(&mut database.connect()), 0);
    }
}

#[test]
fn an_observer_can_observe() {
    let mut database = Database::with_size(3);
    let held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let conn = &mut connect_as(&mut database, Kind::Observer);
    sem::run_migrations(conn).unwrap();
    assert_eq!(sem::list(conn).unwrap()["x"], 3);
    assert_eq!(sem::usage(conn).unwrap()[0].in_use, 1);
    assert_eq!(
        sem::holders(conn, "x").unwrap()[0].ticket,
        held.ticket().ids()[0]
    );
    assert_eq!(sem::waiters(conn, "x").unwrap(), []);
    for refused in [
        conn.transaction(|c| sem::require(c, "x")).map(drop),
        SemaphoreTicket::require(&mut *conn, Request::new("x").wait(SHORT)).map(drop),
        sem::make(conn, "x", 4),
        sem::make(conn, "x", 1),
        sem::make(conn, "new", 1),
        sem::ensure(conn, "new", 1).map(drop),
        sem::destroy(conn, "x").map(drop),
        sem::revert_migrations(conn),
    ] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, Error::Database(_) | Error::Migration(_)),
            "{refused:?}"
        );
    }
    assert_eq!(sem::list(conn).unwrap()["x"], 3);
}

#[test]
fn an_operator_can_operate() {
    let mut database = Database::with_size(3);
    let [_, holder, operator] = create_roles(&mut database);
    let mut keeper = database.connect();
    let conn = &mut database.connect_as(&operator);
    sem::make(conn, "x", 5).unwrap();
    sem::make(conn, "x", 1).unwrap();
    sem::ensure(conn, "y", 2).unwrap();
    assert!(sem::destroy(conn, "y").unwrap());
    conn.transaction(|c| sem::require(c, "x")).unwrap();

    let mut held = SemaphoreTicket::require(database.connect_as(&holder), "x").unwrap();
    let pid = sem::holders(conn, "x").unwrap()[0].session.pid.unwrap();
    conn.batch_execute(&format!("SELECT pg_terminate_backend({pid})"))
        .unwrap();
    eventually("the ticket is released", || database.available() == 1);
    assert!(held.check().is_err());
    let superuser = Database::session_id(&mut keeper);
    conn.batch_execute(&format!("SELECT pg_terminate_backend({superuser})"))
        .unwrap_err();
    assert!(matches!(
        sem::revert_migrations(conn),
        Err(Error::Database(_) | Error::Migration(_))
    ));
}

#[test]
fn a_holder_can_end_nobody_else() {
    let mut database = Database::with_size(1);
    let mut held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let conn = &mut connect_as(&mut database, Kind::Holder);
    let pid = sem::holders(conn, "x").unwrap()[0].session.pid.unwrap();
    conn.batch_execute(&format!("SELECT pg_terminate_backend({pid})"))
        .unwrap_err();
    held.check().unwrap();
}

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
    drop(SemaphoreTicket::require(&mut *conn, "x").unwrap());
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

/// What the chapter says of it, and of what an operator sees.
#[test]
fn holders_of_queue_locks_are_listed_and_can_be_ended() {
    let mut database = Database::with_size(2);
    let [_, holder, operator] = create_roles(&mut database);
    let operator = &mut database.connect_as(&operator);
    let query = documented("SELECT s.name, l.kind");
    let intruders = format!(
        "SELECT max(pid) FROM ({}) AS i",
        query.trim_end_matches(';')
    );
    let mut take = |kind: &str| {
        let mut mallory = database.connect_as(&holder);
        let id = "SELECT id FROM dbsemaphore.semaphore";
        mallory
            .batch_execute(&format!(
                "SELECT pg_advisory_lock(dbsemaphore._advisory_key('{kind}', ({id})))"
            ))
            .unwrap();
        let pid = Database::session_id(&mut mallory);
        assert_eq!(number(operator, &intruders), pid);
        (mallory, pid)
    };
    let request = Request::new("x");

    // The no-overtaking lock: only those who wait are served.
    let (_mallory, pid) = take("o");
    let conn = &mut database.connect();
    assert!(
        SemaphoreTicket::acquire(&mut *conn, request)
            .unwrap()
            .is_none()
    );
    drop(SemaphoreTicket::require(&mut *conn, request.wait(LONG)).unwrap());
    database.kill_session(pid);

    // The queue head lock: only those who don't wait are.
    let (_mallory, pid) = take("q");
    let all = SemaphoreTicket::require(&mut *conn, request.tickets(2)).unwrap();
    let mut other = database.connect();
    std::thread::scope(|scope| {
        let waiter =
            scope.spawn(|| SemaphoreTicket::require(&mut other, request.wait(LONG)).map(drop));
        database.until_queued(2);
        drop(all);
        let head = &sem::waiters(&mut database.connect(), "x").unwrap()[0];
        assert_eq!(head.session.pid, Some(pid.try_into().unwrap()));
        assert!(!waiter.is_finished());
        database.kill_session(pid);
        waiter.join().unwrap().unwrap();
    });
}

#[test]
fn hidden_holders_are_found() {
    let mut database = Database::with_size(2);
    let [_, holder, operator] = create_roles(&mut database);
    let operator = &mut database.connect_as(&operator);
    let mut mallory = database.connect_as(&holder);
    let pid = Database::session_id(&mut mallory);
    // In a savepoint, so that nothing tells whose lock it is.
    mallory
        .batch_execute(
            "BEGIN; SAVEPOINT s; SELECT FROM dbsemaphore.ticket WHERE slot = 0 FOR UPDATE; RELEASE s",
        )
        .unwrap();
    let shown = sem::holders(operator, "x").unwrap();
    assert_eq!((shown.len(), shown[0].session.pid), (1, None));
    let hidden = documented("SELECT a.pid, a.usename");
    let hidden = format!(
        "SELECT max(pid) FROM ({}) AS h",
        hidden.trim_end_matches(';')
    );
    assert_eq!(number(operator, &hidden), pid);

    // It says that it holds what another one holds, under a name of its choice.
    let honest = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let id = honest.ticket().ids()[0];
    mallory
        .batch_execute(&format!(
            "SET application_name = 'web [ticket: innocent]'; SELECT dbsemaphore._publish_held_tickets('{{{id}}}')"
        ))
        .unwrap();
    for holder in sem::holders(operator, "x").unwrap() {
        let session = holder.session;
        if session.label.as_deref() == Some("innocent") {
            assert_eq!(session.pid, Some(pid.try_into().unwrap()));
            assert_ne!(session.role.as_deref(), Some("postgres"));
        }
    }
    operator
        .batch_execute(&format!("SELECT pg_terminate_backend({pid})"))
        .unwrap();
    eventually("only the honest one is left", || {
        sem::holders(operator, "x").unwrap().len() == 1
    });
}

#[test]
fn reserved_advisory_locks_protect_the_queue() {
    let mut database = Database::with_size(1);
    let [observer, holder, _] = create_roles(&mut database);
    let stranger = database.create_role("stranger");
    let lock = |role: &str| -> Result<(), String> {
        let mut conn: PgConnection = database.connect_as(role);
        conn.batch_execute("SELECT pg_advisory_xact_lock(7234579)")
            .map_err(|error| error.to_string())
    };
    lock(&stranger).unwrap();
    let reserve = documented("REVOKE EXECUTE").replace("sem_holder", &holder);
    database.connect().batch_execute(&reserve).unwrap();
    for role in [&stranger, &observer] {
        assert!(lock(role).unwrap_err().contains("permission denied"));
    }
    lock(&holder).unwrap();
    let conn = &mut database.connect_as(&holder);
    drop(SemaphoreTicket::require(&mut *conn, "x").unwrap());
    let held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    std::thread::scope(|scope| {
        let waiting = scope
            .spawn(|| SemaphoreTicket::require(conn, Request::new("x").wait_forever()).map(drop));
        database.until_queued(1);
        held.release().unwrap();
        waiting.join().unwrap().unwrap();
    });
    sem::holders(&mut database.connect_as(&observer), "x").unwrap();
}

#[cfg(feature = "r2d2")]
#[test]
fn no_error_shows_a_password() {
    use diesel::r2d2::{ConnectionManager, Pool};
    let mut url = Database::create().url();
    url.push_str(if url.contains('?') { "&" } else { "?" });
    url.push_str("password=hush&dbname=nowhere");
    let pool = Pool::builder()
        .connection_timeout(Duration::from_millis(500))
        .build_unchecked(ConnectionManager::<PgConnection>::new(url));
    let refused: sem::Result<()> = sem::with_ticket(&pool, "x", |_ticket| Ok(()));
    let refused = refused.unwrap_err();
    let shown = format!("{refused} {refused:?}");
    assert!(!shown.contains("hush"), "{shown}");
}
