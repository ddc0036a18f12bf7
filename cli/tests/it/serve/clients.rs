//! Clients that are slow, and many.

use super::client::Served;
use crate::{
    database::Database,
    tool::{database_with, url},
};
use stand::eventually;
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

/// The most connections of clients.
const MOST: usize = 200;

/// Those of clients and of the database.
fn sockets(served: &Served) -> usize {
    let files = fs::read_dir(format!("/proc/{}/fd", served.running.0.id())).unwrap();
    let names = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    names
        .filter(|name| name.to_string_lossy().starts_with("socket:"))
        .count()
}

#[test]
fn many_idle_clients_leave_open_files_for_the_database() {
    let database = database_with(1);
    let served = Served::start(&[url(&database)], &[]);
    served.until_healthy(true);
    let before = sockets(&served);
    let mut most = 0;
    let clients: Vec<_> = (0..2 * MOST)
        .map(|_| {
            let client = TcpStream::connect(&served.address).unwrap();
            most = most.max(sockets(&served));
            client
        })
        .collect();
    assert!(most <= before + MOST + 2, "{most} sockets");
    for mut client in clients {
        // The server ends each that sends nothing.
        client.read_to_end(&mut Vec::new()).unwrap();
        most = most.max(sockets(&served));
    }
    assert!(most >= before + MOST / 2, "{most} sockets");
    // While some end, the server may accept more than its limit.
    assert!(most < before + 2 * MOST, "{most} sockets");
    eventually("they are closed", || sockets(&served) <= before + 1);
    served.until_healthy(true);
}

#[test]
fn a_request_that_is_not_complete_ends() {
    let database = database_with(1);
    let served = Served::start(&[url(&database)], &["--allow-changes"]);
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n", "HTTP/1.1 408"),
        (
            "POST /log-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\nto",
            "HTTP/1.1 408",
        ),
    ] {
        let mut client = TcpStream::connect(&served.address).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(status), "{answer}");
    }
}

/// Monitors and proxies ask so whether a server is there.
#[test]
fn head_is_answered_as_get_without_a_body() {
    let database = Database::sqlite();
    let served = Served::start(&[database.url()], &["--allow-changes"]);
    for path in ["/", "/app.js", "/style.css", "/metrics", "/api/semaphores"] {
        let answer = served.send("HEAD", path, &[], "");
        assert_eq!((answer.status, &*answer.body), (200, ""), "{path}");
        assert!(answer.head.contains("content-type: "), "{}", answer.head);
    }
    let health = served.get("/health").status;
    assert_eq!(served.send("HEAD", "/health", &[], "").status, health);
    assert_eq!(served.send("HEAD", "/resize", &[], "").status, 404);
}
