//! A replica has no tickets. After its promotion all are available, and their tokens still increase.

use diesel::{Connection, MysqlConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::{Stop, eventually, mysql::Server};

#[test]
fn a_replica_refuses_until_its_promotion() {
    let mut primary = Server::start_primary();
    let database = primary.create_database();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, "grown", 1).unwrap();
    let replica = primary.start_replica();
    sem::make(&mut conn, "grown", 3).unwrap();
    sem::make(&mut conn, "shrunk", 3).unwrap();
    let holders: Vec<_> = ["grown", "grown", "shrunk"]
        .map(|name| SemaphoreTicket::require(database.connect(), name).unwrap())
        .into();
    sem::make(&mut conn, "shrunk", 1).unwrap();
    let sizes = sem::list(&mut conn).unwrap();

    let url = database.url_on(&replica);
    eventually("the replica has followed", || {
        MysqlConnection::establish(&url)
            .is_ok_and(|mut copy| sem::list(&mut copy).is_ok_and(|listed| listed == sizes))
    });
    let mut copy = MysqlConnection::establish(&url).unwrap();
    let refused = SemaphoreTicket::acquire(&mut copy, "grown").unwrap_err();
    assert!(refused.to_string().contains("primary server"), "{refused}");

    primary.stop(Stop::Kill);
    replica.promote();
    assert_eq!(sem::list(&mut copy).unwrap(), sizes);
    for (name, size) in [("grown", 3), ("shrunk", 1)] {
        let former = holders
            .iter()
            .filter(|holder| holder.ticket().semaphore() == name)
            .map(|holder| holder.ticket().fencing_token());
        let all = SemaphoreTicket::require(&mut copy, Request::new(name).tickets(size)).unwrap();
        assert!(former.max().unwrap() < all.ticket().fencing_token());
        let mut other = MysqlConnection::establish(&url).unwrap();
        let one_more = SemaphoreTicket::acquire(&mut other, name).unwrap();
        assert!(one_more.is_none());
    }
    for mut holder in holders {
        assert!(matches!(holder.check(), Err(Error::TicketLost { .. })));
    }
    sem::make(&mut copy, "grown", 4).unwrap();
    assert_eq!(sem::list(&mut copy).unwrap()["grown"], 4);
}
