//! A running `dbsemaphore serve`, and requests to it.

use crate::tool::{Running, TOOL};
use nix::sys::signal::Signal;
use serde_json::Value;
use stand::eventually;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

pub(crate) struct Served {
    pub(crate) running: Running,
    /// Host and port.
    pub(crate) address: String,
    /// The token for changes, if it prints one.
    pub(crate) token: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Served {
    /// Returns once it listens.
    pub(crate) fn start(urls: &[String], words: &[&str]) -> Self {
        let urls = urls.iter().flat_map(|url| ["--database-url", url]);
        let words: Vec<&str> = urls.chain(words.iter().copied()).collect();
        Self::start_from("", &words)
    }

    /// The same, with a DATABASE_URL.
    pub(crate) fn start_from(database_url: &str, words: &[&str]) -> Self {
        let mut command = Command::new("env");
        command
            .args(["--default-signal", TOOL, "serve", "--listen", "127.0.0.1:0"])
            .args(["--interval", "100ms"])
            .args(words)
            .env("DATABASE_URL", database_url)
            .env_remove("PGCONNECT_TIMEOUT")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = Running::start(&mut command);
        let address = running.line();
        let address = address.strip_prefix("http://").unwrap();
        let address = address.strip_suffix('/').unwrap().to_owned();
        let mut token = String::new();
        if words.contains(&"--allow-changes") && !words.contains(&"--token-file") {
            let stderr = running.0.stderr.as_mut().unwrap();
            BufReader::new(stderr).read_line(&mut token).unwrap();
            let (_, printed) = token.rsplit_once(": ").unwrap();
            token = printed.trim().to_owned();
        }
        Self {
            running,
            address,
            token,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, "")
    }

    /// Sends a form, as a browser does.
    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], form: &str) -> Answer {
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        let headers = [&[kind], headers].concat();
        self.send("POST", path, &headers, form)
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            request += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head[9..12].parse().unwrap(),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    /// Returns what `/api/semaphores` says of the first database.
    pub(crate) fn database(&self) -> Value {
        self.get("/api/semaphores").json()["databases"][0].take()
    }

    /// Waits until a number of the semaphore "x" has this value.
    pub(crate) fn until(&self, key: &str, value: u32) {
        eventually(key, || {
            let database = self.database();
            let semaphores = database["semaphores"].as_array().unwrap();
            let x = semaphores.iter().find(|semaphore| semaphore["name"] == "x");
            x.is_some_and(|x| x[key] == value)
        });
    }

    pub(crate) fn until_healthy(&self, is_healthy: bool) {
        eventually("the health changes", || {
            (self.get("/health").status == 200) == is_healthy
        });
    }

    pub(crate) fn end_by(&mut self, signal: Signal) -> i32 {
        self.running.signal(signal);
        self.running.end()
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn has_header(&self, line: &str) -> bool {
        self.head.lines().any(|header| header == line)
    }
}
