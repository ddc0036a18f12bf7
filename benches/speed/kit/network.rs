use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// A network between clients and a server: a proxy on a TCP port that delays each direction. It runs until the process
/// ends.
#[derive(Clone, Copy)]
pub(crate) struct Network {
    pub(crate) port: u16,
}

impl Network {
    pub(crate) fn to(socket: PathBuf, delay: Duration) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                client.set_nodelay(true).unwrap();
                let server = UnixStream::connect(&socket).unwrap();
                let (from_client, from_server) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap());
                transmit(from_client, server, delay, |server| {
                    server.shutdown(Shutdown::Write)
                });
                transmit(from_server, client, delay, |client: &TcpStream| {
                    client.shutdown(Shutdown::Write)
                });
            }
        });
        Self { port }
    }
}

/// Writes what it reads, each piece `delay` after its arrival. At the end, calls `close`.
fn transmit<W: Write + Send + 'static>(
    mut from: impl Read + Send + 'static,
    mut to: W,
    delay: Duration,
    close: fn(&W) -> std::io::Result<()>,
) {
    let (arrived, arrivals) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let piece = (Instant::now() + delay, buffer[..length].to_vec());
            if arrived.send(piece).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, piece) in arrivals {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        // The other side may have closed it before.
        let _ = close(&to);
    });
}
