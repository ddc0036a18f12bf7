//! What other processes do: this test binary again, running one function of this module.

use crate::kit::{
    ServerDatabase, TestDatabase,
    process::{POOLED, ROLE, URL, WITNESS, listen, say},
};
use diesel::Connection;
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use stand::Reporter;
use std::{
    env,
    path::Path,
    time::{Duration, Instant},
};

pub(crate) const FROM_AFAR: sem::Request<'_> =
    sem::Request::new("x").host_timeout(Duration::from_secs(3));

/// Not a test when run as one.
#[test]
fn child() {
    let Ok(role) = env::var(ROLE) else { return };
    let url = env::var(URL).unwrap();
    match url.split(':').next().unwrap() {
        #[cfg(feature = "mysql")]
        "mysql" => act_on_server::<stand::mysql::Database>(&role, &url),
        #[cfg(feature = "sqlite")]
        path if path.starts_with('/') => act::<crate::sqlite::Database>(&role, &url),
        #[cfg(feature = "postgres")]
        "postgres" => act_on_server::<stand::postgres::Database>(&role, &url),
        other => panic!("no such backend: {other}"),
    }
}

fn act_on_server<D: ServerDatabase>(role: &str, url: &str) {
    match role {
        "hold in a transaction" => D::Connection::establish(url)
            .unwrap()
            .transaction::<_, sem::Error, _>(|c| {
                let _ticket = sem::require(c, "x")?;
                say("held");
                listen();
                Ok(())
            })
            .unwrap(),
        role => act::<D>(role, url),
    }
}

fn act<D: TestDatabase>(role: &str, url: &str) {
    let mut conn = D::Connection::establish(url).unwrap();
    if env::var_os(POOLED).is_some() {
        conn.set_prepared_statement_cache_size(diesel::connection::CacheSize::Disabled);
    }
    match role {
        "migrate" => {
            say("ready");
            listen();
            sem::run_migrations(&mut conn).unwrap();
            say("done");
        }
        "hold" => {
            let outcome = SemaphoreTicket::acquire(&mut conn, "x").unwrap();
            match &outcome {
                Some(guard) => say(&guard.ticket().ids()[0].to_string()),
                None => say("none"),
            }
            listen();
        }
        "wait" => {
            say("waiting");
            let request = sem::Request::new("x").wait_forever();
            drop(SemaphoreTicket::require(&mut conn, request).unwrap());
        }
        "shrink" => {
            say("waiting");
            sem::make(&mut conn, "x", 0).unwrap();
        }
        "hammer" => hammer(&mut conn),
        "hold from afar" => {
            let _ticket = SemaphoreTicket::require(conn, FROM_AFAR).unwrap();
            say("held");
            listen();
        }
        "wait from afar" => {
            say("waiting");
            drop(SemaphoreTicket::require(conn, FROM_AFAR.wait_forever()));
        }
        "watch from afar" => {
            let ticket = SemaphoreTicket::require(conn, FROM_AFAR).unwrap();
            let ticket = ticket.watch(Duration::from_millis(500));
            say("held");
            assert!(ticket.wait_lost(Duration::from_secs(3600)));
            say("lost");
            assert!(ticket.release().is_err());
            say("released");
            listen();
        }
        "watch while stopped" => {
            let ticket = SemaphoreTicket::require(conn, "x").unwrap();
            let ticket = ticket.watch(Duration::from_millis(100));
            // On MySQL, the first check bounds how long a host may be silent.
            assert!(!ticket.wait_lost(Duration::from_secs(1)));
            say("held");
            listen();
            say(&format!(
                "lost: {}",
                ticket.wait_lost(Duration::from_secs(1))
            ));
            listen();
            say(&format!(
                "lost: {}",
                ticket.wait_lost(Duration::from_secs(60))
            ));
        }
        "watch" => say(&crate::contract::watch::count_threads(conn)),
        other => panic!("no such role: {other}"),
    }
}

/// Acquires and releases tickets in a tight loop for a while, and tells the witness.
fn hammer<C: sem::TicketConnection + Connection>(conn: &mut C) {
    let witness = Reporter::new(Path::new(&env::var(WITNESS).unwrap())).unwrap();
    let me = std::process::id();
    say("ready");
    listen();
    let mut rounds = 0;
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        let Some(mut guard) = SemaphoreTicket::acquire(&mut *conn, "x").unwrap() else {
            std::thread::yield_now();
            continue;
        };
        witness.entered(me, guard.ticket().ids()).unwrap();
        guard.check().unwrap();
        witness.left(me).unwrap();
        guard.release().unwrap();
        rounds += 1;
    }
    conn.batch_execute("SELECT 1").unwrap();
    say(&rounds.to_string());
}
