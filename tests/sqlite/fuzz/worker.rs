//! A process that acquires and releases tickets, and writes down what it does.

use super::now_us;
use crate::{
    kit::TestDatabase,
    sqlite::{Database, dice::Dice},
};
use diesel::{Connection, SqliteConnection};
use diesel_dbsemaphore::{Error, Request, SemaphoreTicket};
use std::{
    env,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    thread,
    time::Duration,
};

const URL: &str = "DBSEMAPHORE_TEST_WORKER_URL";
const SEED: &str = "DBSEMAPHORE_TEST_WORKER_SEED";

pub(super) struct Worker {
    child: Child,
    log: PathBuf,
    pub(super) seed: u64,
}

impl Worker {
    pub(super) fn start(database: &Database, seed: u64) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "sqlite::fuzz::worker::child", "--nocapture"])
            .env(URL, database.url())
            .env(SEED, seed.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            log: log(Path::new(&database.url()), seed, child.id()),
            child,
            seed,
        }
    }

    pub(super) fn has_finished_a_call(&self) -> bool {
        fs::read_to_string(&self.log).is_ok_and(|text| text.lines().count() > 1)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log(database: &Path, seed: u64, pid: u32) -> PathBuf {
    let logs = database.parent().unwrap().join("logs");
    logs.join(format!("{seed}.{pid}"))
}

/// One line for each thing that happened, which is written before the next one happens.
struct Log(File);

impl Log {
    fn write(&mut self, line: &str) {
        let line = format!("{} {line}\n", now_us());
        self.0.write_all(line.as_bytes()).unwrap();
    }
}

#[test]
fn child() {
    let (Ok(url), Ok(seed)) = (env::var(URL), env::var(SEED)) else {
        return;
    };
    let seed = seed.parse().unwrap();
    let path = log(Path::new(&url), seed, process::id());
    let mut log = Log(File::create_new(path).unwrap());
    let mut conn = SqliteConnection::establish(&url).unwrap();
    let mut dice = Dice::new(seed);
    loop {
        let request = Request::new("x").tickets(if dice.one_in(5) { 2 } else { 1 });
        let request = match dice.within(0..4) {
            0 => request,
            1 => request.wait(Duration::from_millis(dice.within(1..6))),
            _ => request.wait(Duration::from_secs(5)),
        };
        // So that the queue is empty now and then.
        thread::sleep(Duration::from_micros(dice.within(0..5000)));
        log.write("call");
        match SemaphoreTicket::acquire(&mut conn, request) {
            Ok(Some(guard)) => {
                let ids: Vec<String> = guard.ticket().ids().iter().map(i64::to_string).collect();
                log.write(&format!(
                    "acquired {} {}",
                    guard.ticket().fencing_token(),
                    ids.join(",")
                ));
                thread::sleep(Duration::from_micros(dice.within(0..1500)));
                log.write("ends");
                match guard.release() {
                    Ok(_) => log.write("released"),
                    Err(_) => log.write("lost"),
                }
            }
            Ok(None) | Err(Error::UnknownSemaphore { .. } | Error::InvalidTickets { .. }) => {
                log.write("none");
            }
            Err(error) => log.write(&format!("error {error}")),
        }
    }
}
