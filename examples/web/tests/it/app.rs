//! The application as its users see it: a process that is started, spoken to by HTTP, and stopped.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

pub(crate) struct App {
    process: Child,
    address: String,
}

impl App {
    /// Returns once it answers.
    pub(crate) fn start(url: &str, settings: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_web"))
            .env("DATABASE_URL", url)
            .env("LISTEN", "127.0.0.1:0")
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().strip_prefix("http://").unwrap();
        let address = address.strip_suffix('/').unwrap().to_owned();
        Self { process, address }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        read(self.send("GET", path))
    }

    pub(crate) fn post(&self, path: &str) -> Answer {
        read(self.send("POST", path))
    }

    /// Doesn't wait for the answer.
    pub(crate) fn send(&self, method: &str, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Posts, and breaks the connection after `meanwhile`.
    pub(crate) fn hang_up_on(&self, path: &str, meanwhile: impl FnOnce()) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        // Who leaves with an answer unread sends a reset, instead of saying that no more will come.
        let unread = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(unread.as_bytes()).unwrap();
        stream.peek(&mut [0]).unwrap();
        let request = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        meanwhile();
    }

    /// So many at once.
    pub(crate) fn post_many(&self, path: &str, number: usize) -> Vec<Answer> {
        thread::scope(|scope| {
            let clients: Vec<_> = (0..number)
                .map(|_| scope.spawn(|| self.post(path)))
                .collect();
            clients.into_iter().map(|it| it.join().unwrap()).collect()
        })
    }

    /// One line of what it tells about itself.
    pub(crate) fn metric(&self, name: &str) -> u32 {
        let metrics = self.get("/metrics").body;
        let mut values = metrics.lines().filter_map(|line| line.strip_prefix(name));
        values.next().unwrap().trim().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.id()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
    /// How long it took to come.
    pub(crate) after: Duration,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.status == 503 && self.header("Retry-After") == Some("1")
    }
}

pub(crate) fn read(mut stream: TcpStream) -> Answer {
    let start = Instant::now();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
        after: start.elapsed(),
    }
}

/// Waits for what the application does in its own time.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "{what} doesn't come true");
        thread::sleep(Duration::from_millis(5));
    }
}
