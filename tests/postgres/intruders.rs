//! Roles that lock what belongs to a queue or a semaphore, by other means than this library.

use crate::kit::{ServerDatabase, TestDatabase, eventually};
use crate::postgres::{
    number,
    rights::{create_roles, documented},
};
use diesel::{PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use stand::Database;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

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
