//! Holders and waiters for the page to show.

use diesel::{Connection, PgConnection};
use diesel_dbsemaphore::{self as sem, CancellationToken, Error, Request, SemaphoreTicket};
use stand::Database;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// A database with these semaphores.
pub fn database_with<'a>(semaphores: impl IntoIterator<Item = (&'a str, u32)>) -> Database {
    let database = Database::create();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).expect("tables");
    for (name, size) in semaphores {
        sem::make(&mut conn, name, size).expect("a semaphore");
    }
    database
}

/// A database with 200 semaphores of 5 tickets, and on 20 of them 100 holders and 50 waiters.
pub fn crowd_database() -> (Database, Crowd) {
    let names: Vec<String> = (0..200)
        .map(|number| format!("semaphore {number:03}"))
        .collect();
    let database = database_with(names.iter().map(|name| (name.as_str(), 5)));
    let busy = &names[..20];
    let mut crowd = Crowd::default();
    for name in busy.iter().cycle().take(100) {
        crowd.hold(
            database.connect(),
            Request::new(name).label("GET /reports/monthly"),
        );
    }
    for (number, name) in busy.iter().cycle().take(50).enumerate() {
        crowd.wait(
            database.connect(),
            name,
            &format!("import of file {number}"),
        );
    }
    (database, crowd)
}

/// Holders and waiters, which end when this is dropped.
#[derive(Default)]
pub struct Crowd {
    holders: Vec<SemaphoreTicket<PgConnection>>,
    waiters: Vec<JoinHandle<()>>,
    token: Arc<CancellationToken>,
}

impl Crowd {
    /// Acquires a ticket, which must be available.
    pub fn hold(&mut self, conn: PgConnection, request: Request<'_>) {
        let ticket = SemaphoreTicket::require(conn, request).expect("an available ticket");
        self.holders.push(ticket);
    }

    /// Begins to wait for a ticket, in a thread. A waiter that gets one releases it at once.
    pub fn wait(&mut self, conn: PgConnection, name: &str, label: &str) {
        let (name, label, token) = (name.to_owned(), label.to_owned(), Arc::clone(&self.token));
        self.waiters.push(thread::spawn(move || {
            let request = Request::new(&name).label(&label).cancellation(&token);
            match SemaphoreTicket::require(conn, request.wait_forever()) {
                Ok(_) | Err(Error::Cancelled { .. }) => {}
                Err(error) => panic!("a waiter: {error}"),
            }
        }));
    }

    /// Releases the ticket that was acquired first.
    pub fn release_first(&mut self) {
        self.holders.remove(0).release().expect("a held ticket");
    }

    /// Cancels all waits, and releases all tickets.
    pub fn end(&mut self, database: &Database) {
        self.token
            .cancel(&mut database.connect())
            .expect("a cancellation");
        self.holders.clear();
        for waiter in self.waiters.drain(..) {
            waiter.join().expect("a waiter");
        }
    }
}

impl fmt::Debug for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} holders, {} waiters",
            self.holders.len(),
            self.waiters.len()
        )
    }
}

/// Threads that acquire and release tickets of one semaphore without a pause, until this is dropped. After an error, they
/// connect again.
#[derive(Debug)]
pub struct Work {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Work {
    /// Each ticket is held for this time.
    pub fn start(url: &str, name: &'static str, threads: usize, held: Duration) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let threads = (0..threads).map(|_| {
            let (url, is_over) = (url.to_owned(), Arc::clone(&is_over));
            thread::spawn(move || {
                let mut conn = None;
                while !is_over.load(Relaxed) {
                    let connected = conn
                        .take()
                        .map_or_else(|| PgConnection::establish(&url), Ok);
                    let request = Request::new(name)
                        .label("work")
                        .wait(Duration::from_secs(1));
                    let held = connected.ok().and_then(|conn| {
                        let ticket = SemaphoreTicket::require(conn, request).ok()?;
                        thread::sleep(held);
                        ticket.release().ok()
                    });
                    if held.is_none() {
                        thread::sleep(Duration::from_millis(50));
                    }
                    conn = held;
                }
            })
        });
        Self {
            threads: threads.collect(),
            is_over,
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
