//! Hosts that vanish: processes in network namespaces of their own, whose link is cut.

use crate::kit::{TestDatabase, eventually, process::Process, rounds};
use diesel_dbsemaphore::{self as sem, WATCH_GRACE};
use stand::{Cable, Database, Server};
use std::time::{Duration, Instant};

/// A host that is connected with the server by a cable of its own.
struct Host {
    process: Process,
    cable: Cable,
}

impl Host {
    fn start(role: &str, number: u32, server: &Server, database: &Database) -> Self {
        let url = format!(
            "postgres://postgres@{}:{}/{}",
            Cable::address(number),
            server.port(),
            database.name()
        );
        let mut process = Process::start_on_host(role, &url);
        let cable = Cable::lay(number, process.pid());
        process.tell("the cable is in");
        process.says();
        Self { process, cable }
    }

    fn cut(&self) -> Instant {
        self.cable.cut().unwrap()
    }
}

/// What happens within this time is not tied to the network's timeouts.
const SLACK: Duration = Duration::from_secs(5);
const HOST_TIMEOUT: Duration = Duration::from_secs(3);

#[test]
fn a_vanished_host_releases_its_ticket_and_leaves_the_queue() {
    if !nix::unistd::Uid::effective().is_root() {
        return eprintln!("not run: network namespaces are for root");
    }
    let server = Server::start_with(&["listen_addresses=*", "fsync=off"]);
    let database = server.create_database();
    sem::run_migrations(&mut database.connect()).unwrap();
    sem::make(&mut database.connect(), "x", 1).unwrap();
    for round in 0..rounds(1).min(20) {
        let holder = Host::start("hold from afar", 0, &server, &database);
        let waiter = Host::start("wait from afar", 1, &server, &database);
        database.until_queued(1);
        let cut = waiter.cut();
        database.until_queued(0);
        assert!(cut.elapsed() < HOST_TIMEOUT + SLACK, "{:?}", cut.elapsed());
        let left = cut.elapsed();
        let cut = holder.cut();
        eventually("the ticket is released", || database.available() == 1);
        assert!(cut.elapsed() < HOST_TIMEOUT + SLACK, "{:?}", cut.elapsed());
        eprintln!(
            "round {round}: left the queue after {left:?}, the ticket was released after {:?}",
            cut.elapsed()
        );
        database.assert_no_queue();

        let mut watched = Host::start("watch from afar", 2, &server, &database);
        let cut = watched.cut();
        assert_eq!(watched.process.says(), "lost");
        let told = cut.elapsed();
        // Ten times what is promised.
        assert!(
            told < (Duration::from_millis(500) + WATCH_GRACE) * 10,
            "{told:?}"
        );
        assert_eq!(watched.process.says(), "released");
        eprintln!(
            "round {round}: the holder knew after {told:?}, and was rid of it after {:?}",
            cut.elapsed()
        );
        eventually("the ticket is released", || database.available() == 1);
    }
}
