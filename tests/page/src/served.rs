//! A running `dbsemaphore serve`.

use serde_json::Value;
use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// Killed when dropped.
#[derive(Debug)]
pub struct Served {
    process: Child,
    /// Host and port.
    address: String,
    /// The token for changes, or nothing.
    token: String,
}

impl Served {
    /// Starts it for the databases with these URLs. Returns once it listens.
    pub fn start(urls: &[String], words: &[&str]) -> Self {
        let mut process = Command::new(tool())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(urls.iter().flat_map(|url| ["--database-url", url]))
            .args(words)
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("dbsemaphore");
        let printed = |printed: Option<&mut dyn Read>| {
            let mut line = String::new();
            let mut printed = BufReader::new(printed.expect("a pipe"));
            printed.read_line(&mut line).expect("a line");
            line.trim().to_owned()
        };
        let address = printed(process.stdout.as_mut().map(|pipe| pipe as &mut dyn Read));
        let address = address.strip_prefix("http://").expect("an address");
        let address = address.trim_end_matches('/').to_owned();
        let mut token = String::new();
        if words.contains(&"--allow-changes") {
            token = printed(process.stderr.as_mut().map(|pipe| pipe as &mut dyn Read));
            token = token.rsplit(' ').next().unwrap_or_default().to_owned();
        }
        Self {
            process,
            address,
            token,
        }
    }

    /// The address of the page.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// What an operator has to enter before changes.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Returns the body of the answer, on a connection of its own. Panics without an answer.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("a connection to serve");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (_, body) = answer
            .split_once("\r\n\r\n")
            .expect("an answer with a body");
        body.to_owned()
    }

    /// Returns whether each database answers.
    pub fn is_healthy(&self) -> bool {
        let health: Value = serde_json::from_str(&self.get("/health")).expect("JSON");
        let databases = health["databases"].as_array().expect("databases");
        databases.iter().all(|database| database["up"] == true)
    }

    /// Returns the sums over all semaphores of the first database: in use, waiting.
    pub fn totals(&self) -> (u64, u64) {
        let all: Value = serde_json::from_str(&self.get("/api/semaphores")).expect("JSON");
        let semaphores = all["databases"][0]["semaphores"].as_array();
        let sum = |key: &str| {
            let semaphores = semaphores.into_iter().flatten();
            semaphores
                .filter_map(|semaphore| semaphore[key].as_u64())
                .sum()
        };
        (sum("in_use"), sum("waiting"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The tool, which the Makefile has compiled into the folder of this program, or the one above it.
fn tool() -> PathBuf {
    let own = env::current_exe().expect("the path of this program");
    let folders = own.ancestors().skip(1).take(2);
    let mut tools = folders.map(|folder| folder.join("dbsemaphore"));
    tools
        .find(|tool| tool.exists())
        .expect("dbsemaphore is not compiled: run make test-browser")
}
