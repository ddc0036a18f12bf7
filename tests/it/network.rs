//! Hosts that vanish: processes in network namespaces of their own, whose link is cut.

use crate::{
    children::Process,
    tools::{assert_line_is_gone, eventually, free, rounds, until_in_line},
};
use diesel_dbsemaphore::{self as sem, WATCH_GRACE};
use stand::{Database, Server};
use std::{
    process::{self, Command},
    time::{Duration, Instant},
};

/// A host that is connected with the server by a cable of its own.
struct Host {
    process: Process,
    cable: String,
}

fn ip(words: &str) {
    let ran = Command::new("ip").args(words.split(' ')).output();
    let ran = ran.expect("the program `ip`, of the package iproute2");
    assert!(
        ran.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

impl Host {
    fn start(role: &str, number: u32, server: &Server, database: &Database) -> Self {
        let net = format!("10.213.{}", (process::id() + number) % 250);
        let cable = format!("dbs{}n{number}", process::id());
        let url = format!(
            "postgres://postgres@{net}.1:{}/{}",
            server.port(),
            database.name()
        );
        let mut process = Process::start_on_host(role, &url);
        let pid = process.pid();
        eventually("its network is its own", || {
            let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).unwrap();
            of(&pid.to_string()) != of("self")
        });
        ip(&format!(
            "link add {cable} type veth peer name eth0 netns {pid}"
        ));
        ip(&format!("addr add {net}.1/30 dev {cable}"));
        ip(&format!("link set {cable} up"));
        // The network is there until the last of its sockets has given up, long after the process if these do as ever.
        let inside = format!(
            "ip addr add {net}.2/30 dev eth0 && ip link set eth0 up && echo 1 > /proc/sys/net/ipv4/tcp_orphan_retries"
        );
        let ran = Command::new("nsenter")
            .args(["--net", "--target", &pid.to_string(), "sh", "-c", &inside])
            .status();
        assert!(ran.unwrap().success());
        process.tell("the cable is in");
        process.says();
        Self { process, cable }
    }

    fn cut(&self) -> Instant {
        ip(&format!("link set {} down", self.cable));
        Instant::now()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The namespace would take it along, but only when the last of its sockets has given up.
        let _ = Command::new("ip")
            .args(["link", "del", &self.cable])
            .status();
    }
}

/// What happens within this time is not tied to the network's time-outs.
const SLACK: Duration = Duration::from_secs(5);
const HOST_TIMEOUT: Duration = Duration::from_secs(3);

#[test]
fn a_host_that_vanishes_gives_back_what_it_holds_and_its_place_in_line() {
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
        until_in_line(&database, 1);
        let cut = waiter.cut();
        until_in_line(&database, 0);
        assert!(cut.elapsed() < HOST_TIMEOUT + SLACK, "{:?}", cut.elapsed());
        let left = cut.elapsed();
        let cut = holder.cut();
        eventually("the ticket is back", || free(&database) == 1);
        assert!(cut.elapsed() < HOST_TIMEOUT + SLACK, "{:?}", cut.elapsed());
        eprintln!(
            "round {round}: left the line after {left:?}, the ticket was back after {:?}",
            cut.elapsed()
        );
        assert_line_is_gone(&database);

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
        eventually("the ticket is back", || free(&database) == 1);
    }
}
