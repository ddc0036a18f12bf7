//! Tokens increase with each acquisition, whatever happens to the server in between.

use crate::kit::{ServerDatabase, TestDatabase, on_each_backend, on_each_server};
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket, TicketConnection};
use stand::{Stop, server::Server};

on_each_backend!(tokens_increase_in_each_way);

on_each_server!(
    tokens_increase_in_older_transactions,
    tokens_increase_across_a_crash,
);

pub(crate) fn token_of_a_guard<C: TicketConnection>(conn: &mut C) -> i64 {
    SemaphoreTicket::require(conn, "x")
        .unwrap()
        .ticket()
        .fencing_token()
}

pub(crate) fn assert_rise(tokens: &[i64]) {
    assert!(
        tokens.windows(2).all(|pair| pair[0] < pair[1]),
        "{tokens:?}"
    );
}

fn tokens_increase_in_each_way<D: TestDatabase>() {
    let database = D::with_size(1);
    let mut conn = database.connect();
    let mut tokens = Vec::new();
    for _ in 0..50 {
        for request in [Request::new("x"), Request::new("x").wait_forever()] {
            let acquired = D::WAYS.iter().map(|way| way(&mut conn, request));
            tokens.extend(acquired.map(|token| token.unwrap().unwrap()));
        }
    }
    assert_rise(&tokens);
}

fn tokens_increase_in_older_transactions<D: ServerDatabase>() {
    let database = D::with_size(1);
    let mut conn = database.connect();
    let mut tokens = Vec::new();
    for round in 0..50 {
        conn.transaction::<_, sem::Error, _>(|c| {
            // The transaction, and its xid, are older than its ticket.
            c.batch_execute(&format!("CREATE TEMPORARY TABLE work_{round} (id int)"))?;
            tokens.push(token_of_a_guard(&mut database.connect()));
            tokens.push(sem::require(c, "x")?.fencing_token());
            Ok(())
        })
        .unwrap();
    }
    assert_rise(&tokens);
}

fn tokens_increase_across_a_crash<D: ServerDatabase>() {
    // It loses nothing that was committed.
    let mut server = Server::<D::Backend>::start_with(&[]);
    let database = D::on(&server);
    database.migrate(1);
    let mut tokens = vec![token_of_a_guard(&mut database.connect())];
    for how in [Stop::Kill, Stop::Immediate, Stop::Fast] {
        // The last one before the crash is never written to a disk.
        let lost = SemaphoreTicket::require(database.connect(), "x").unwrap();
        tokens.push(lost.ticket().fencing_token());
        server.restart(how);
        tokens.push(token_of_a_guard(&mut database.connect()));
    }
    assert_rise(&tokens);
}
