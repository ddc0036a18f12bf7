//! `SemaphoreTicket`: a transaction of its own.

use crate::kit::{ServerDatabase, TestDatabase, on_each_backend, on_each_server};
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use std::error::Error as _;

on_each_backend!(
    is_send,
    does_not_show_its_connection,
    check_and_release_of_a_held_ticket,
    a_check_leaves_other_tickets_available,
    a_refused_guard_for_several_tickets_holds_none,
    the_connection_is_as_it_was_after_a_refusal,
    with_ticket_returns_what_the_work_returns,
);

on_each_server!(
    check_and_release_report_a_loss,
    release_reports_an_undetected_loss,
    with_ticket_reports_a_loss_unless_the_work_failed,
);

fn is_send<D: TestDatabase>() {
    fn send<T: Send>() {}
    send::<SemaphoreTicket<D::Connection>>();
    send::<
        SemaphoreTicket<
            diesel::r2d2::PooledConnection<diesel::r2d2::ConnectionManager<D::Connection>>,
        >,
    >();
    send::<Error>();
}

fn does_not_show_its_connection<D: TestDatabase>() {
    let database = D::with_size(1);
    let guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let shown = format!("{guard:?}");
    assert!(
        shown.starts_with("SemaphoreTicket { ticket: Ticket {"),
        "{shown}"
    );
}

fn check_and_release_of_a_held_ticket<D: TestDatabase>() {
    let database = D::with_size(3);
    let mut guard =
        SemaphoreTicket::require(database.connect(), Request::new("x").tickets(2)).unwrap();
    assert_eq!(guard.ticket().count(), 2);
    guard.check().unwrap();
    guard.check().unwrap();
    assert_eq!(database.available(), 1);
    let mut conn = guard.release().unwrap();
    assert_eq!(database.available(), 3);
    conn.begin_test_transaction().unwrap();
}

/// In each guard of a session: MariaDB plans the first run of a prepared statement in another way than later runs.
fn a_check_leaves_other_tickets_available<D: TestDatabase>() {
    let database = D::with_size(4);
    let mut conn = database.connect();
    for _ in 0..3 {
        let mut guard = SemaphoreTicket::require(&mut conn, "x").unwrap();
        for _ in 0..3 {
            guard.check().unwrap();
            assert_eq!(database.available(), 3);
        }
    }
}

fn check_and_release_report_a_loss<D: ServerDatabase>() {
    let database = D::with_size(1);
    let mut conn = database.connect();
    let pid = D::session_id(&mut conn);
    let mut guard = SemaphoreTicket::require(&mut conn, "x").unwrap();
    database.kill_session(pid);
    assert_eq!(database.available(), 1);
    let first = guard.check().unwrap_err();
    assert!(matches!(&first, Error::TicketLost { ticket, .. } if ticket == guard.ticket()));
    assert!(first.source().is_some());
    assert!(first.to_string().contains("x#"), "{first}");
    assert!(matches!(guard.check(), Err(Error::TicketLost { .. })));
    assert!(matches!(guard.release(), Err(Error::TicketLost { .. })));
}

fn release_reports_an_undetected_loss<D: ServerDatabase>() {
    let database = D::with_size(1);
    let mut conn = database.connect();
    let pid = D::session_id(&mut conn);
    let guard = SemaphoreTicket::require(&mut conn, "x").unwrap();
    database.kill_session(pid);
    assert!(matches!(guard.release(), Err(Error::TicketLost { .. })));
}

fn a_refused_guard_for_several_tickets_holds_none<D: TestDatabase>() {
    let database = D::with_size(3);
    let _holder = SemaphoreTicket::require(database.connect(), Request::new("x").tickets(2));
    let mut conn = database.connect();
    let refused = SemaphoreTicket::acquire(&mut conn, Request::new("x").tickets(2)).unwrap();
    assert!(refused.is_none());
    assert_eq!(database.available(), 1);
}

fn the_connection_is_as_it_was_after_a_refusal<D: TestDatabase>() {
    let database = D::with_size(1);
    let _holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut conn = database.connect();
    for name in ["x", "unknown", ""] {
        let _ = SemaphoreTicket::acquire(&mut conn, name);
        conn.transaction::<_, Error, _>(|c| Ok(c.batch_execute("SELECT 1")?))
            .unwrap();
    }
}

fn with_ticket_returns_what_the_work_returns<D: TestDatabase>() {
    let database = D::with_size(1);
    let pool = database.pool(2);
    let value: sem::Result<u32> = sem::with_ticket(&pool, "x", |guard| {
        guard.check()?;
        assert!(matches!(
            sem::with_ticket(&pool, "x", |_| sem::Result::Ok(())),
            Err(Error::Unavailable { .. })
        ));
        sem::Result::Ok(guard.ticket().count())
    });
    assert_eq!(value.unwrap(), 1);

    let failed: Result<(), Box<dyn std::error::Error>> =
        sem::with_ticket(&pool, "x", |_| Err("the work failed".into()));
    assert_eq!(failed.unwrap_err().to_string(), "the work failed");
    assert_eq!(database.available(), 1);
}

fn with_ticket_reports_a_loss_unless_the_work_failed<D: ServerDatabase>() {
    let database = D::with_size(1);
    let pool = database.pool(1);
    let lose = || {
        let holder = sem::holders(&mut database.connect(), "x")
            .unwrap()
            .remove(0);
        database.kill_session(holder.session.pid.unwrap().into());
        assert_eq!(database.available(), 1);
    };
    let lost = sem::with_ticket(&pool, "x", |_| {
        lose();
        sem::Result::Ok(())
    });
    assert!(matches!(lost, Err(Error::TicketLost { .. })));
    let failed: Result<(), Box<dyn std::error::Error>> = sem::with_ticket(&pool, "x", |_| {
        lose();
        Err("the work failed".into())
    });
    assert_eq!(failed.unwrap_err().to_string(), "the work failed");
}
