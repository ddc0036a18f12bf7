//! What the documented roles can do, and what they can't, whatever they try; and what the chapter `security` says of those
//! who mean harm.

use crate::kit::{ServerDatabase, TestDatabase, eventually};
use crate::postgres::rights::{Kind, connect_as, create_roles};
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::Database;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(20);

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
    "SELECT dbsemaphore._wait_for_ticket(1, 3, 3, '{}', 0, interval '1 ms')",
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
