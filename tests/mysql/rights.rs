//! The least rights of an observer, a holder and an operator.

use super::{run, with_semaphore};
use diesel::{Connection, MysqlConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::mysql::Database;
use std::time::Duration;

fn account(
    database: &mut Database,
    root: &mut MysqlConnection,
    label: &str,
    rights: &[(&str, &str)],
) -> MysqlConnection {
    let account = database.create_role(label);
    let name = database.name().to_owned();
    for (right, table) in rights {
        run(
            root,
            &format!("GRANT {right} ON {name}.dbsemaphore_{table} TO {account}"),
        )
        .unwrap();
    }
    database.connect_as(&account)
}

const OBSERVER: [(&str, &str); 3] = [
    ("SELECT", "semaphore"),
    ("SELECT", "ticket"),
    ("SELECT", "request"),
];
const HOLDER: [(&str, &str); 3] = [
    ("SELECT", "semaphore"),
    ("SELECT, UPDATE (acquire_privilege)", "ticket"),
    ("SELECT, INSERT, DELETE", "request"),
];
const OPERATOR: [(&str, &str); 3] = [
    ("SELECT, INSERT, UPDATE, DELETE", "semaphore"),
    (
        "SELECT, INSERT, UPDATE (acquire_privilege), DELETE",
        "ticket",
    ),
    ("SELECT, INSERT, DELETE", "request"),
];

#[test]
fn each_account_can_do_its_work_and_no_more() {
    let (mut database, mut root) = with_semaphore("reports", 2);
    let mut observer = account(&mut database, &mut root, "observer", &OBSERVER);
    let mut holder = account(&mut database, &mut root, "holder", &HOLDER);
    let mut operator = account(&mut database, &mut root, "operator", &OPERATOR);

    sem::usage(&mut observer).unwrap();
    sem::holders(&mut observer, "reports").unwrap();
    sem::waiters(&mut observer, "reports").unwrap();
    sem::list(&mut observer).unwrap();

    let request = Request::new("reports")
        .tickets(2)
        .label("x")
        .wait(Duration::from_millis(50));
    let guard = SemaphoreTicket::require(&mut holder, request).unwrap();
    assert!(
        SemaphoreTicket::acquire(database.connect(), "reports")
            .unwrap()
            .is_none()
    );
    drop(guard);
    let all =
        SemaphoreTicket::require(database.connect(), Request::new("reports").tickets(2)).unwrap();
    assert!(
        SemaphoreTicket::acquire(&mut holder, request)
            .unwrap()
            .is_none()
    );
    drop(all);
    holder
        .transaction::<_, Error, _>(|conn| sem::require(conn, "reports"))
        .unwrap();
    let denied = sem::make(&mut holder, "reports", 3).unwrap_err();
    let rights = "needs SELECT, INSERT, UPDATE and DELETE on dbsemaphore_semaphore";
    assert!(denied.to_string().contains(rights), "{denied}");
    assert!(
        run(
            &mut holder,
            "UPDATE dbsemaphore_ticket SET semaphore_id = 1"
        )
        .is_err()
    );

    sem::make(&mut operator, "reports", 4).unwrap();
    sem::make(&mut operator, "reports", 1).unwrap();
    sem::ensure(&mut operator, "other", 1).unwrap();
    sem::destroy(&mut operator, "other").unwrap();
    drop(SemaphoreTicket::require(&mut operator, "reports").unwrap());
}

#[test]
fn an_observer_is_told_what_it_lacks() {
    let (mut database, mut root) = with_semaphore("reports", 2);
    let mut observer = account(&mut database, &mut root, "observer", &OBSERVER);
    match SemaphoreTicket::acquire(&mut observer, "reports") {
        Err(error) => assert!(error.to_string().contains("needs SELECT"), "{error}"),
        // MariaDB lets each account that may read a row lock it.
        Ok(_) => assert!(super::is_mariadb(&mut root)),
    }
}

/// An account without INSERT can't show the label. The holder lock was acquired before that failed.
#[test]
fn a_request_that_fails_after_it_has_found_tickets_shows_no_holder() {
    const NO_LABEL: [(&str, &str); 3] = [
        ("SELECT", "semaphore"),
        ("SELECT, UPDATE (acquire_privilege)", "ticket"),
        ("SELECT", "request"),
    ];
    let (mut database, mut root) = with_semaphore("reports", 3);
    let mut holder = account(&mut database, &mut root, "no_label", &NO_LABEL);
    for tickets in [1, 2] {
        let request = Request::new("reports").tickets(tickets).label("x");
        let failed = SemaphoreTicket::acquire(&mut holder, request).unwrap_err();
        assert!(failed.to_string().contains("INSERT"), "{failed}");
        assert_eq!(sem::holders(&mut root, "reports").unwrap(), []);
        assert_eq!(sem::usage(&mut root).unwrap()[0].in_use, 0);
    }
    // Its session has gone on.
    drop(SemaphoreTicket::require(&mut holder, "reports").unwrap());
}

#[test]
fn a_change_in_a_transaction_that_can_only_read_says_so() {
    let (_database, mut conn) = with_semaphore("reports", 1);
    run(&mut conn, "SET TRANSACTION READ ONLY").unwrap();
    let refused = conn.transaction::<_, Error, _>(|conn| sem::make(conn, "other", 1));
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("make it READ WRITE"), "{message}");
}
