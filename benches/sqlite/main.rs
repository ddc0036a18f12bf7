//! Measures the speed of tickets on SQLite: `cargo bench --bench sqlite --features sqlite`. Databases are in WAL mode, in the
//! folder for temporary files. Rates and times depend on the machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod peers;
mod queue;

use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long each rate is measured.
const TIME: Duration = Duration::from_secs(2);

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    match &words[..] {
        [role, url] if role == "holder" => return hold(url),
        [role, url] if role == "client" => return println!("{}", client_rate(url)),
        _ => {}
    }
    let database = Database::with(3);
    println!(
        "acquire and release, one process: {:.0}/s",
        client_rate(&database.url())
    );
    println!("acquire and release, 8 processes: {:.0}/s", eight_clients());
    for (held, neighbours) in [("900", false), ("the first 900", true)] {
        let (rate, search) = mostly_held(neighbours);
        println!("1,000 tickets, {held} held: {rate:.0}/s; with a search each time: {search:.0}/s");
    }
    killed_holders();
    queue::run();
    peers::run();
}

pub(crate) struct Database(TempDir);

impl Database {
    pub(crate) fn with(size: u32) -> Self {
        let database = Self(tempfile::tempdir().unwrap());
        let conn = &mut database.connect();
        conn.batch_execute("PRAGMA journal_mode = WAL").unwrap();
        sem::run_migrations(conn).unwrap();
        sem::make(conn, "x", size).unwrap();
        database
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn url(&self) -> String {
        self.file("app.db").to_str().unwrap().to_owned()
    }

    pub(crate) fn connect(&self) -> SqliteConnection {
        SqliteConnection::establish(&self.url()).unwrap()
    }
}

/// How often `work` can be done in a second.
pub(crate) fn rate(mut work: impl FnMut()) -> f64 {
    let warm_up = Instant::now();
    while warm_up.elapsed() < TIME / 10 {
        work();
    }
    let (began, mut count) = (Instant::now(), 0.0);
    while began.elapsed() < TIME {
        for _ in 0..10 {
            work();
        }
        count += 10.0;
    }
    count / began.elapsed().as_secs_f64()
}

fn client_rate(url: &str) -> f64 {
    let mut conn = SqliteConnection::establish(url).unwrap();
    rate(|| drop(SemaphoreTicket::require(&mut conn, "x").unwrap()))
}

fn eight_clients() -> f64 {
    let database = Database::with(16);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            command("client", &database)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let rates = clients.into_iter().map(|client| {
        let output = client.wait_with_output().unwrap().stdout;
        String::from_utf8(output)
            .unwrap()
            .trim()
            .parse::<f64>()
            .unwrap()
    });
    rates.sum()
}

fn command(role: &str, database: &Database) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([role, &database.url()]);
    command
}

/// With neighbours: the first 900 tickets are held. Otherwise the first one, and 899 that come. Returns two rates: of a thread that
/// repeats its request, and of one that searches each time, because the ticket that it tries first is held.
fn mostly_held(neighbours: bool) -> (f64, f64) {
    let database = Database::with(1);
    let first = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut conn = database.connect();
    sem::make(&mut conn, "x", if neighbours { 900 } else { 1000 }).unwrap();
    let held =
        SemaphoreTicket::require(database.connect(), Request::new("x").tickets(899)).unwrap();
    sem::make(&mut conn, "x", 1000).unwrap();
    sem::make(&mut conn, "first ticket", 1).unwrap();
    let mut turn = |semaphore| drop(SemaphoreTicket::require(&mut conn, semaphore).unwrap());
    let repeated = rate(|| turn("x"));
    let (mut spent, mut count) = (Duration::ZERO, 0.0);
    while spent < TIME {
        turn("first ticket");
        let began = Instant::now();
        turn("x");
        spent += began.elapsed();
        count += 1.0;
    }
    drop((first, held));
    (repeated, count / spent.as_secs_f64())
}

fn hold(url: &str) {
    let _ticket = SemaphoreTicket::require(SqliteConnection::establish(url).unwrap(), "x").unwrap();
    println!("held");
    thread::sleep(Duration::from_secs(60));
}

/// From the kill to the next acquisition by one that waits.
fn killed_holders() {
    let database = Database::with(1);
    let mut conn = database.connect();
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            let mut holder = command("holder", &database)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(holder.stdout.take().unwrap())
                .read_line(&mut line)
                .unwrap();
            let killed = Instant::now();
            holder.kill().unwrap();
            let request = Request::new("x").wait(Duration::from_secs(10));
            drop(SemaphoreTicket::require(&mut conn, request).unwrap());
            let time = killed.elapsed();
            holder.wait().unwrap();
            time
        })
        .collect();
    times.sort_unstable();
    println!(
        "acquired after kill -9: p50 {:?}, p99 {:?}",
        times[100], times[198]
    );
}

/// The processor time of this process so far.
pub(crate) fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let words: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: u64 = words[11].parse::<u64>().unwrap() + words[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
