//! One process of the fleet: the only part that uses the library.

use crate::{
    arena::{Place, Urls},
    backend::Backend,
    log::{Event, Log, now},
};
use diesel::{
    Connection,
    connection::CacheSize,
    r2d2::{
        ConnectionManager, CustomizeConnection, Error as PoolError, Pool, PooledConnection,
        R2D2Connection,
    },
};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket, Ticket, WATCH_GRACE};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::{
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

pub(crate) const HOST_TIMEOUT: Duration = Duration::from_secs(3);
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// How long a connection from afar takes to find out that it is cut off, at the most: see its URL.
const CONNECTION_GIVES_UP: Duration = Duration::from_secs(5);

type Manager<B> = ConnectionManager<<B as Backend>::Connection>;
type Pooled<B> = PooledConnection<Manager<B>>;

/// PgBouncer in transaction mode has no prepared statements before 1.21.
#[derive(Debug)]
struct Uncached;

impl<C: R2D2Connection + 'static> CustomizeConnection<C, PoolError> for Uncached {
    fn on_acquire(&self, conn: &mut C) -> Result<(), PoolError> {
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        Ok(())
    }
}

pub(crate) struct Worker<B: Backend> {
    folder: PathBuf,
    place: Place,
    log: Log,
    random: SmallRng,
    pool: Pool<Manager<B>>,
    generation: u64,
}

/// What is asked for.
#[derive(Clone)]
struct Wish {
    semaphore: &'static str,
    tickets: u32,
    /// None: does not wait. The inner one: for ever.
    wait: Option<Option<Duration>>,
    hold: Duration,
}

impl Wish {
    fn request(&self) -> Request<'static> {
        let request = Request::new(self.semaphore)
            .tickets(self.tickets)
            .host_timeout(HOST_TIMEOUT);
        match self.wait {
            None => request,
            Some(None) => request.wait_forever(),
            Some(Some(limit)) => request.wait(limit),
        }
    }
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
        let wish = self.wish();
        match self.random.random_range(0..100) {
            // Nothing else bounds how long the host keeps its tickets when it vanishes.
            _ if matches!(self.place, Place::Afar(_)) && B::CUT_OFF.is_none() => {
                self.watched(&wish);
            }
            0..25 => self.plain(&wish),
            25..45 => self.checked(&wish),
            45..65 => self.watched(&wish),
            65..72 => self.with_ticket(&wish),
            // For these it is the server's own settings that decide how long a host which vanishes keeps its tickets, and
            // here they say two hours.
            72..90 if matches!(self.place, Place::Afar(_)) => self.plain(&wish),
            72..82 => self.low_level(&wish, false),
            82..90 => self.low_level(&wish, true),
            90..98 => self.panicking(&wish),
            _ => self.crashing(&wish),
        }
    }

    fn wish(&mut self) -> Wish {
        let random = &mut self.random;
        let hold = Duration::from_millis(match random.random_range(0..100) {
            0..90 => random.random_range(0..20),
            90..98 => random.random_range(50..300),
            _ => random.random_range(1000..2000),
        });
        let (semaphore, tickets) = match random.random_range(0..100) {
            0..30 => ("one", 1),
            30..60 => ("few", random.random_range(1..=3)),
            60..85 => ("many", random.random_range(1..=3)),
            // Nobody waits for this one: so each refusal has to have its reason in who holds tickets.
            _ => {
                return Wish {
                    semaphore: "quick",
                    tickets: 1,
                    wait: None,
                    hold,
                };
            }
        };
        let wait = match random.random_range(0..100) {
            0..35 => None,
            35..55 => Some(Some(Duration::from_millis(30))),
            55..75 => Some(Some(Duration::from_millis(300))),
            75..90 => Some(Some(Duration::from_secs(3))),
            _ => Some(None),
        };
        Wish {
            semaphore,
            tickets,
            wait,
            hold,
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
        if matches!(self.place, Place::Afar(_)) {
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

    fn plain(&mut self, wish: &Wish) {
        if let Some(guard) = self.guard(wish, wish.hold) {
            thread::sleep(wish.hold);
            self.log.write(&Event::Leaving);
            let released = guard.release();
            self.ended(released);
        }
    }

    fn checked(&mut self, wish: &Wish) {
        let Some(mut guard) = self.guard(wish, CHECK_INTERVAL) else {
            return;
        };
        let end = Instant::now() + wish.hold;
        loop {
            let sent = now();
            if let Err(error) = guard.check() {
                return self.log.write(&Event::Told(error.to_string()));
            }
            self.log.write(&Event::Confirmed(sent));
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(CHECK_INTERVAL));
        }
        self.log.write(&Event::Leaving);
        let released = guard.release();
        self.ended(released);
    }

    fn watched(&mut self, wish: &Wish) {
        let Some(guard) = self.guard(wish, WATCH_INTERVAL + WATCH_GRACE) else {
            return;
        };
        let ticket = guard.watch(WATCH_INTERVAL);
        if ticket.wait_lost(wish.hold) {
            self.log.write(&Event::Told("by its watch".to_owned()));
            drop(ticket);
            return;
        }
        self.log.write(&Event::Leaving);
        let released = ticket.release();
        self.ended(released);
    }

    fn with_ticket(&mut self, wish: &Wish) {
        let pool = self.pool.clone();
        self.call(wish, false, 0);
        let mut got = false;
        let done = sem::with_ticket(&pool, wish.request(), |guard| {
            self.got(guard.ticket(), 0, wish.hold);
            got = true;
            thread::sleep(wish.hold);
            self.log.write(&Event::Leaving);
            Ok::<_, sem::Error>(())
        });
        self.log.write(&match done {
            Ok(()) => Event::Released,
            Err(error) if got => Event::Told(error.to_string()),
            Err(sem::Error::Unavailable { .. }) => Event::Refused,
            Err(error) => Event::Failed(error.to_string()),
        });
    }

    /// In a transaction of its own, like an application's; or inside a savepoint there.
    fn low_level(&mut self, wish: &Wish, in_savepoint: bool) {
        let Ok(mut conn) = self.pool.get() else {
            return;
        };
        let mut got = false;
        let mut called = false;
        let done = conn.transaction::<_, sem::Error, _>(|c| {
            let pid = B::session_id(c)?;
            called = true;
            self.call(wish, true, pid);
            let ticket = if in_savepoint {
                c.transaction(|c| sem::acquire(c, wish.request()))?
            } else {
                sem::acquire(c, wish.request())?
            };
            let Some(ticket) = ticket else {
                return Ok(());
            };
            self.got(&ticket, pid, wish.hold);
            got = true;
            thread::sleep(wish.hold);
            self.log.write(&Event::Leaving);
            Ok(())
        });
        if called {
            self.log.write(&match done {
                Ok(()) if got => Event::Released,
                Ok(()) => Event::Refused,
                Err(error) if got => Event::Told(error.to_string()),
                Err(error) => Event::Failed(error.to_string()),
            });
        }
    }

    fn panicking(&mut self, wish: &Wish) {
        let Some(guard) = self.guard(wish, wish.hold) else {
            return;
        };
        thread::sleep(wish.hold);
        self.log.write(&Event::Does("panic".to_owned()));
        self.log.write(&Event::Leaving);
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _guard = guard;
            panic!("while it holds a ticket");
        }));
        assert!(panicked.is_err());
        self.log.write(&Event::Left);
    }

    fn crashing(&mut self, wish: &Wish) {
        if let Some(_guard) = self.guard(wish, wish.hold) {
            thread::sleep(wish.hold);
            self.log.write(&Event::Does("crash".to_owned()));
            kill(Pid::this(), Signal::SIGKILL).unwrap();
        }
    }
}

fn pool<B: Backend>(urls: &Urls, place: Place) -> Pool<Manager<B>> {
    let pool = Pool::builder()
        .max_size(1)
        .min_idle(Some(0))
        .connection_timeout(Duration::from_secs(1));
    let manager = Manager::<B>::new(urls.of(place));
    if place == Place::BehindPooler {
        pool.connection_customizer(Box::new(Uncached))
            .build_unchecked(manager)
    } else {
        pool.build_unchecked(manager)
    }
}
