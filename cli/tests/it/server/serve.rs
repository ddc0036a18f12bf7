//! Servers that do not answer.

use super::limits::silent_server;
use crate::{database::backend, serve::client::Served};
use stand::eventually;
use std::{
    io::{ErrorKind, Read},
    net::TcpStream,
};

/// Whether the other end has not closed it.
fn is_open(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn a_silent_server_has_one_connection() {
    let (listener, port) = silent_server();
    listener.set_nonblocking(true).unwrap();
    let url = format!("{}://ada@127.0.0.1:{port}/x?connect_timeout=2", backend());
    let served = Served::start(&[url], &[]);
    let mut connections = Vec::new();
    eventually("it has tried four times", || {
        connections.extend(listener.incoming().map_while(Result::ok));
        let open = connections.iter().filter(|stream| is_open(stream));
        assert!(open.count() <= 1);
        let metrics = served.get("/metrics").body;
        let failed = metrics.lines().find_map(|line| {
            line.strip_prefix("dbsemaphore_failed_queries_total{")?
                .split_once("} ")
        });
        failed.is_some_and(|(_, count)| count.parse::<u32>().unwrap() >= 4)
    });
}
