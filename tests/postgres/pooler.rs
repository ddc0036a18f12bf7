//! Behind PgBouncer in transaction mode, where each transaction gets some session of the server's.

use crate::kit::{TestDatabase, eventually, process::Process};
use crate::postgres::number;
use diesel::{Connection, PgConnection, connection::CacheSize};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::{Bouncer, Database, Server};
use std::{sync::mpsc, thread, time::Duration};

const LONG: Duration = Duration::from_secs(60);

struct Pooled {
    database: Database,
    bouncer: Bouncer,
    server: Server,
}

impl Pooled {
    fn with(tickets: u32) -> Self {
        let server = Server::start();
        let database = server.create_database();
        let bouncer = Bouncer::start(&server, &[]);
        let pooled = Self {
            database,
            bouncer,
            server,
        };
        let mut conn = pooled.connect();
        sem::run_migrations(&mut conn).unwrap();
        sem::make(&mut conn, "x", tickets).unwrap();
        pooled
    }

    fn url(&self) -> String {
        self.bouncer.url(self.database.name())
    }

    /// PgBouncer before 1.21 loses prepared statements in this mode.
    fn connect(&self) -> PgConnection {
        let mut conn = PgConnection::establish(&self.url()).unwrap();
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        conn
    }
}

#[test]
fn tickets_are_held_and_released_behind_a_pooler() {
    let pooled = Pooled::with(3);
    let mut conn = pooled.connect();
    sem::run_migrations(&mut conn).unwrap();
    assert_eq!(sem::list(&mut conn).unwrap()["x"], 3);
    for _ in 0..20 {
        let mut two = SemaphoreTicket::require(&mut conn, Request::new("x").tickets(2)).unwrap();
        let mut other = pooled.connect();
        other
            .transaction::<_, Error, _>(|c| {
                let one = sem::require(c, "x")?;
                assert_eq!(sem::require(c, "x")?, one);
                assert!(sem::acquire(&mut pooled.connect(), "x").is_err());
                assert!(SemaphoreTicket::acquire(pooled.connect(), "x")?.is_none());
                assert_eq!(pooled.database.available(), 0);
                Ok(())
            })
            .unwrap();
        two.check().unwrap();
        two.release().unwrap();
        assert_eq!(pooled.database.available(), 3);
    }
    sem::make(&mut conn, "x", 1).unwrap();
    assert!(sem::destroy(&mut conn, "x").unwrap());
}

#[test]
fn settings_of_a_guard_do_not_reach_the_next_user_of_its_session() {
    let pooled = Pooled::with(1);
    let mut conn = pooled.connect();
    drop(SemaphoreTicket::require(&mut conn, Request::new("x").wait(LONG)).unwrap());
    let local = "SELECT count(*) FROM pg_settings WHERE source = 'session' AND name ~ 'tcp_|timeout|connection_check'";
    assert_eq!(number(&mut conn, local), 0);
}

#[test]
fn waiters_are_served_in_order_behind_a_pooler() {
    let pooled = Pooled::with(1);
    let holder = SemaphoreTicket::require(pooled.connect(), "x").unwrap();
    let (served, order) = mpsc::channel();
    thread::scope(|scope| {
        for number in 0..12 {
            let (pooled, served) = (&pooled, served.clone());
            scope.spawn(move || {
                let request = Request::new("x").wait(LONG);
                let mut conn = pooled.connect();
                if number % 2 == 0 {
                    let _guard = SemaphoreTicket::require(&mut conn, request).unwrap();
                    served.send(number).unwrap();
                } else {
                    conn.transaction::<_, Error, _>(|c| {
                        sem::require(c, request)?;
                        served.send(number).unwrap();
                        Ok(())
                    })
                    .unwrap();
                }
            });
            pooled.database.until_queued(number + 1);
        }
        drop(holder);
    });
    drop(served);
    let order: Vec<i64> = order.iter().collect();
    assert_eq!(order, (0..12).collect::<Vec<_>>());
    pooled.database.assert_no_queue();
}

#[test]
fn leaving_the_queue_leaves_no_lock() {
    let pooled = Pooled::with(1);
    let _holder = SemaphoreTicket::require(pooled.connect(), "x").unwrap();
    for times in 0..4 {
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let mut conn = pooled.connect();
                let limit = if times == 0 {
                    Duration::from_millis(200)
                } else {
                    LONG
                };
                let refused = SemaphoreTicket::require(&mut conn, Request::new("x").wait(limit));
                assert!(refused.is_err());
            });
            pooled.database.until_queued(1);
            for cancelled in 0..times {
                let cancel = "SELECT count(*) FROM pg_stat_activity \
                    WHERE query ~ 'dbsemaphore[.]_acquire' AND pid <> pg_backend_pid() AND pg_cancel_backend(pid)";
                let sessions = number(&mut pooled.database.connect(), cancel);
                assert!(sessions == 1 || cancelled > 0, "{sessions} waited");
            }
            waiter.join().unwrap();
        });
        pooled.database.assert_no_queue();
    }
}

#[test]
fn a_killed_client_releases_its_ticket_and_leaves_the_queue() {
    let pooled = Pooled::with(1);
    let mut holder = Process::start_at("hold", &pooled.url());
    holder.says();
    let mut waiter = Process::start_at("wait", &pooled.url());
    waiter.says();
    pooled.database.until_queued(1);
    waiter.kill();
    pooled.database.until_queued(0);
    pooled.database.assert_no_queue();
    assert_eq!(pooled.database.available(), 0);
    holder.kill();
    eventually("the ticket is released", || {
        pooled.database.available() == 1
    });
}

#[test]
fn idle_timeout_of_the_pooler_loses_an_unwatched_ticket() {
    let mut pooled = Pooled::with(2);
    pooled.bouncer = Bouncer::start(&pooled.server, &["idle_transaction_timeout = 1"]);
    let mut idle = SemaphoreTicket::require(pooled.connect(), "x").unwrap();
    let watched = SemaphoreTicket::require(pooled.connect(), "x").unwrap();
    let watched = watched.watch(Duration::from_millis(100));
    eventually("the idle one is taken", || pooled.database.available() == 1);
    assert!(matches!(idle.check(), Err(Error::TicketLost { .. })));
    assert!(!watched.wait_lost(Duration::from_secs(2)));
    watched.release().unwrap();
}

#[test]
fn a_restart_of_the_pooler_is_a_loss() {
    let mut pooled = Pooled::with(1);
    let mut guard = SemaphoreTicket::require(pooled.connect(), "x").unwrap();
    pooled.bouncer.restart();
    assert!(matches!(guard.check(), Err(Error::TicketLost { .. })));
    eventually("the ticket is released", || {
        pooled.database.available() == 1
    });
}
