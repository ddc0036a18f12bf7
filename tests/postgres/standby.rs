//! A standby has no tickets. After its promotion all are available, and their tokens still increase.

use crate::kit::eventually;
use crate::postgres::number;
use diesel::{Connection, PgConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::{Server, Stop};
use std::time::Duration;

#[test]
fn a_standby_refuses_until_its_promotion() {
    let mut primary = Server::start();
    let database = primary.create_database();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    drop(conn);
    let standby = primary.start_standby();
    let mut conn = database.connect();
    sem::make(&mut conn, "x", 1).unwrap();

    let url = database.url_on(&standby);
    let mut copy = PgConnection::establish(&url).unwrap();
    eventually("the semaphore is there, too", || {
        number(&mut copy, "SELECT count(*) FROM dbsemaphore.ticket") == 1
    });
    sem::run_migrations(&mut copy).unwrap();
    assert_eq!(sem::list(&mut copy).unwrap()["x"], 1);
    for unknown in [
        sem::usage(&mut copy).map(drop),
        sem::holders(&mut copy, "x").map(drop),
        sem::waiters(&mut copy, "x").map(drop),
    ] {
        let unknown = unknown.unwrap_err().to_string();
        assert!(unknown.contains("ask the primary server"), "{unknown}");
    }
    let waits = Request::new("x").wait(Duration::from_secs(1));
    for refused in [
        SemaphoreTicket::require(&mut copy, "x").map(drop),
        SemaphoreTicket::require(&mut copy, waits).map(drop),
        copy.transaction(|c| sem::require(c, "x").map(drop)),
        copy.transaction(|c| sem::require(c, waits).map(drop)),
        sem::make(&mut copy, "x", 2),
        sem::destroy(&mut copy, "x").map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Error::Database(_)), "{refused:?}");
        assert!(
            refused.to_string().contains("on the primary server"),
            "{refused}"
        );
    }

    let mut holder = SemaphoreTicket::require(conn, "x").unwrap();
    primary.stop(Stop::Kill);
    standby.promote();
    let present = SemaphoreTicket::require(PgConnection::establish(&url).unwrap(), "x").unwrap();
    let (former, present) = (
        holder.ticket().fencing_token(),
        present.ticket().fencing_token(),
    );
    assert!(former < present);
    assert_eq!(present >> 52, (former >> 52) + 1, "the timeline");
    assert!(matches!(holder.check(), Err(Error::TicketLost { .. })));
}
