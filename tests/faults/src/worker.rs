//! One process of the fleet: the only part that uses the library.

mod pool;
mod ways;
mod wish;

use crate::{
    arena::{Place, Urls},
    backend::Backend,
    log::{Event, Log},
};
use diesel::{Connection, r2d2::Pool};
use diesel_dbsemaphore::{self as sem, SemaphoreTicket, Ticket};
use pool::{Manager, Pooled, pool};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::{
    panic::{self},
    path::{Path, PathBuf},
    time::Duration,
};
use wish::Wish;

pub(crate) const HOST_TIMEOUT: Duration = Duration::from_secs(3);
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// How long a connection from afar takes to find out that it is cut off, at the most: see its URL.
const CONNECTION_GIVES_UP: Duration = Duration::from_secs(5);

pub(crate) struct Worker<B: Backend> {
    folder: PathBuf,
    place: Place,
    log: Log,
    random: SmallRng,
    pool: Pool<Manager<B>>,
    generation: u64,
}

impl<B: Backend> Worker<B> {
    pub(crate) fn new(folder: &Path, name: &str, place: Place, seed: u64) -> Self {
        let urls = Urls::read(folder);
        Self {
            folder: folder.to_owned(),
            place,
            log: Log::create(&folder.join(format!("{name}.log"))),
            random: SmallRng::seed_from_u64(seed),
            pool: pool::<B>(&urls, place),
            generation: urls.generation,
        }
    }

    /// Until it is told to stop.
    pub(crate) fn run(mut self) {
        // Nobody reads the message, and to find the source of the first panic may take a second.
        panic::set_hook(Box::new(|_| {}));
        while !self.folder.join("stop").exists() {
            let urls = Urls::read(&self.folder);
            if urls.generation != self.generation {
                self.pool = pool::<B>(&urls, self.place);
                self.generation = urls.generation;
            }
            self.take_a_ticket();
        }
        let all_work = (0..20).any(|_| {
            self.pool
                .get()
                .is_ok_and(|mut conn| conn.transaction(|c| B::session_id(c)).is_ok())
        });
        if all_work && self.pool.state().connections == self.pool.max_size() {
            self.log.write(&Event::Healthy);
        }
    }

    fn take_a_ticket(&mut self) {
        let wish = Wish::draw(&mut self.random);
        match self.random.random_range(0..100) {
            // Nothing else bounds how long the host keeps its tickets when it vanishes.
            _ if !self.place.is_near() && B::CUT_OFF.is_none() => {
                self.watched(&wish);
            }
            0..25 => self.plain(&wish),
            25..45 => self.checked(&wish),
            45..65 => self.watched(&wish),
            65..72 => self.with_ticket(&wish),
            // For these it is the server's own settings that decide how long a host which vanishes keeps its tickets, and
            // here they say two hours.
            72..90 if !self.place.is_near() => self.plain(&wish),
            72..82 => self.low_level(&wish, false),
            82..90 => self.low_level(&wish, true),
            90..98 => self.panicking(&wish),
            _ => self.crashing(&wish),
        }
    }

    fn call(&mut self, wish: &Wish, low_level: bool, pid: i32) {
        self.log.write(&Event::Call {
            semaphore: wish.semaphore.to_owned(),
            tickets: wish.tickets as usize,
            waits: wish.wait.is_some(),
            low_level,
            pid,
        });
    }

    /// `within`: when it is going to ask whether it still has them, at the latest.
    fn got(&mut self, ticket: &Ticket, pid: i32, mut within: Duration) {
        if !self.place.is_near() {
            within += CONNECTION_GIVES_UP;
        }
        self.log.write(&Event::Got {
            ids: ticket.ids().to_vec(),
            token: ticket.fencing_token(),
            pid,
            within,
        });
    }

    /// None if there is no ticket, or no connection.
    fn guard(&mut self, wish: &Wish, within: Duration) -> Option<SemaphoreTicket<Pooled<B>>> {
        let mut conn = self.pool.get().ok()?;
        // Behind a pooler, each transaction has another one.
        let pid = if self.place == Place::BehindPooler {
            0
        } else {
            B::session_id(&mut conn).ok()?
        };
        self.call(wish, false, pid);
        match SemaphoreTicket::acquire(conn, wish.request()) {
            Ok(Some(guard)) => {
                self.got(guard.ticket(), pid, within);
                return Some(guard);
            }
            Ok(None) => self.log.write(&Event::Refused),
            Err(error) => self.log.write(&Event::Failed(error.to_string())),
        }
        None
    }

    fn ended(&mut self, released: sem::Result<Pooled<B>>) {
        let event = match released {
            Ok(_) => Event::Released,
            Err(error) => Event::Told(error.to_string()),
        };
        // Not before the log says so is the connection somebody else's.
        self.log.write(&event);
    }
}
