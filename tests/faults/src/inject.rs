//! How each fault is done, and how long the server takes to release what its target had.

use crate::{
    arena::{Arena, Place, SEMAPHORES, until_up},
    fleet::{Fleet, Name},
    kind::{Draws, Kind, Kind::*, LANES},
    log::{Time, now},
    session::{HOLDS, Session, WAITS},
    worker::HOST_TIMEOUT,
};
use diesel::{PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore as sem;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::{Rng, rngs::SmallRng};
use stand::Stop;
use std::{
    path::Path,
    sync::{
        Mutex, RwLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

/// Longer than each timeout of the workers and of their watches.
const LONG: Duration = Duration::from_secs(7);
/// What is promised for a host that vanishes.
const CUT_OFF: Duration = Duration::from_secs(5 + HOST_TIMEOUT.as_secs());
/// What is not tied to the network's timeouts happens at once; this is far more.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Whom a fault concerns: whose loss of a ticket it explains.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    Process(Name),
    Backend(i32),
    /// Transactions of the application's own, which its timeouts end.
    LowLevel,
    BehindPooler,
    All,
    Nobody,
}

#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) at: Time,
    /// When it was over.
    pub(crate) end: Time,
    pub(crate) target: Target,
    /// How long until the server had taken back what the target had.
    pub(crate) free_after: Option<Duration>,
}

impl Fault {
    fn begin(kind: Kind, target: Target) -> Self {
        Self {
            kind,
            at: now(),
            end: now(),
            target,
            free_after: None,
        }
    }
}

pub(crate) struct Injector<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) fleet: &'a Fleet,
    /// Written by what changes the server: nothing else is done meanwhile that needs it.
    pub(crate) arena: &'a RwLock<Arena>,
    pub(crate) faults: &'a Mutex<Vec<Fault>>,
    pub(crate) violations: &'a Mutex<Vec<String>>,
    pub(crate) over: &'a AtomicBool,
}

/// A process that is stopped as long as this lives.
struct Stopped(i32);

impl Stopped {
    fn new(pid: i32) -> Self {
        signal(pid, Signal::SIGSTOP);
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, Signal::SIGCONT);
    }
}

fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

impl Injector<'_> {
    /// Does what is drawn for this lane until it is over.
    pub(crate) fn run(&self, lane: usize, draws: Draws) {
        for (kind, mut random) in draws {
            if self.over.load(SeqCst) {
                return;
            }
            let end = now() + AT_ONCE;
            // A holder, say, is always there in a moment.
            while !self.over.load(SeqCst)
                && now() < end
                && self.inject(kind, &mut random.clone()).is_none()
            {
                thread::sleep(Duration::from_millis(2));
            }
            thread::sleep(LANES[lane].pause / 2 + LANES[lane].pause.mul_f64(random.random()));
        }
    }

    fn note(&self, mut fault: Fault) {
        fault.end = now();
        self.faults.lock().unwrap().push(fault);
    }

    /// None if there was nobody to do it to.
    fn inject(&self, kind: Kind, random: &mut SmallRng) -> Option<()> {
        match kind {
            RestartFast => self.change_server(kind, |arena| arena.restart(Stop::Fast)),
            RestartImmediate => self.change_server(kind, |arena| arena.restart(Stop::Immediate)),
            KillPostmaster => self.change_server(kind, |arena| arena.restart(Stop::Kill)),
            FailOver => self.change_server(kind, |arena| arena.fail_over(self.folder)),
            RestartPooler => {
                let arena = &mut self.arena.write().unwrap();
                let fault = Fault::begin(kind, Target::BehindPooler);
                arena.restart_pooler();
                self.note(fault);
                Some(())
            }
            KillBackend => {
                let arena = &mut *self.arena.write().unwrap();
                let holder = self.choose(&mut arena.connect()?, HOLDS, is_near, random)?;
                let mut fault = Fault::begin(kind, Target::All);
                signal(holder.pid, Signal::SIGKILL);
                // The postmaster ends all sessions, and recovers.
                let up = now() + AT_ONCE;
                while now() < up
                    && arena
                        .connect()
                        .is_some_and(|mut c| holder.is_there(&mut c) != Some(false))
                {
                    thread::sleep(Duration::from_millis(1));
                }
                drop(until_up(&arena.url()));
                fault.free_after = Some(now() - fault.at);
                self.note(fault);
                Some(())
            }
            StopBackend => {
                let holder = self.choose(&mut self.connect()?, HOLDS, is_near, random)?;
                // Whom a stopped backend keeps from going on is up to chance.
                let fault = Fault::begin(kind, Target::All);
                let stopped = Stopped::new(holder.pid);
                thread::sleep(LONG);
                drop(stopped);
                self.note(fault);
                Some(())
            }
            StopWorker => self.stop_worker(random),
            LinkDown => self.cut_off(random),
            KillHolder | TerminateHolder | CancelHolder => self.hit(kind, HOLDS, random),
            KillWaiter | TerminateWaiter | CancelWaiter => self.hit(kind, WAITS, random),
            ResizeUp | ResizeDown | DestroyAndMake => {
                self.resize(&mut self.connect()?, kind, random)
            }
            IdleTimeout => self.set(kind, "idle_in_transaction_session_timeout", 30),
            TransactionTimeout => self.set(kind, "transaction_timeout", 30),
            StatementTimeout => self.set(kind, "statement_timeout", 20),
            LockTimeout => self.set(kind, "lock_timeout", 10),
            RefuseConnections => {
                let arena = self.arena.read().unwrap();
                let fault = Fault::begin(kind, Target::Nobody);
                arena.allow_connections(false)?;
                thread::sleep(Duration::from_millis(100));
                undo(&fault, || arena.allow_connections(true));
                self.note(fault);
                Some(())
            }
            Panic | Crash => unreachable!("done by the workers themselves"),
        }
    }

    /// None while it is down.
    fn connect(&self) -> Option<PgConnection> {
        self.arena.read().unwrap().connect()
    }

    /// Some session that does this, of a process in such a place.
    fn choose(
        &self,
        conn: &mut PgConnection,
        which: &str,
        place: fn(Place) -> bool,
        random: &mut SmallRng,
    ) -> Option<Session> {
        let present = self.fleet.present();
        let mut found = Session::all(conn, which);
        found.retain(|session| {
            // Another lane may have stopped this backend.
            let moves = !session.is_stopped();
            moves
                && session
                    .name()
                    .is_some_and(|name| present.iter().any(|p| p.0 == name && place(p.1)))
        });
        let chosen = random.random_range(0..found.len().max(1));
        (!found.is_empty()).then(|| found.swap_remove(chosen))
    }

    fn change_server(&self, kind: Kind, change: impl FnOnce(&mut Arena)) -> Option<()> {
        let arena = &mut self.arena.write().unwrap();
        let mut fault = Fault::begin(kind, Target::All);
        change(arena);
        drop(until_up(&arena.url()));
        fault.free_after = Some(now() - fault.at);
        self.note(fault);
        Some(())
    }

    fn stop_worker(&self, random: &mut SmallRng) -> Option<()> {
        let mut here = self.fleet.present();
        here.retain(|p| is_near(p.1));
        let (name, _) = here[random.random_range(0..here.len())];
        let fault = Fault::begin(StopWorker, Target::Process(name));
        if !self.fleet.stop(name) {
            return None;
        }
        thread::sleep(LONG);
        self.fleet.resume(name, fault.at);
        self.note(fault);
        Some(())
    }

    /// Cuts off a host whose process holds a ticket or waits for one.
    fn cut_off(&self, random: &mut SmallRng) -> Option<()> {
        let either = format!("{HOLDS} OR {WAITS}");
        let session = self.choose(
            &mut self.connect()?,
            &either,
            |place| !is_near(place),
            random,
        )?;
        let name = session.name()?;
        let mut fault = Fault::begin(LinkDown, Target::Process(name));
        if !self.fleet.cut(name) {
            return None;
        }
        // Connects each time: the server may be restarted meanwhile, and then the session is gone, too.
        self.await_end(
            &mut fault,
            &session,
            CUT_OFF,
            Duration::from_millis(20),
            || {
                self.connect()
                    .and_then(|mut conn| session.is_there(&mut conn))
            },
        );
        thread::sleep(Duration::from_secs(9).saturating_sub(now() - fault.at));
        self.fleet.mend(name);
        self.note(fault);
        Some(())
    }

    /// Kills, terminates or cancels one of these.
    fn hit(&self, kind: Kind, which: &str, random: &mut SmallRng) -> Option<()> {
        let arena = self.arena.read().unwrap();
        let mut conn = arena.connect()?;
        let session = self.choose(&mut conn, which, is_near, random)?;
        let call = |function: &str| format!("SELECT {function}({})", session.pid);
        let mut fault = Fault::begin(kind, Target::Backend(session.pid));
        match kind {
            KillHolder | KillWaiter => {
                fault.target = Target::Process(session.name()?);
                if !self.fleet.kill(session.name()?) {
                    return None;
                }
            }
            TerminateHolder | TerminateWaiter => {
                conn.batch_execute(&call("pg_terminate_backend")).ok()?;
            }
            _ => {
                let times = if kind == CancelHolder {
                    1
                } else {
                    random.random_range(1..=3)
                };
                for _ in 0..times {
                    conn.batch_execute(&call("pg_cancel_backend")).ok()?;
                }
                // It goes on.
                self.note(fault);
                return Some(());
            }
        }
        self.await_end(&mut fault, &session, AT_ONCE, Duration::ZERO, || {
            session.is_there(&mut conn)
        });
        self.note(fault);
        Some(())
    }

    fn await_end(
        &self,
        fault: &mut Fault,
        session: &Session,
        limit: Duration,
        pause: Duration,
        mut is_there: impl FnMut() -> Option<bool>,
    ) {
        while now() < fault.at + limit {
            if is_there() == Some(false) {
                fault.free_after = Some(now() - fault.at);
                return;
            }
            thread::sleep(pause);
        }
        // It may have been stopped since.
        if !session.is_stopped() {
            let activity = self.connect().map(|mut conn| session.activity(&mut conn));
            self.violations.lock().unwrap().push(format!(
                "{}: backend {} still has what it had after {limit:?}, at {:?}: {activity:?}",
                fault.kind.title(),
                session.pid,
                now()
            ));
        }
    }

    /// A setting of the whole server's, for a moment.
    fn set(&self, kind: Kind, setting: &str, milliseconds: u32) -> Option<()> {
        let arena = self.arena.read().unwrap();
        let fault = Fault::begin(kind, Target::LowLevel);
        arena.configure(&format!("SET {setting} = {milliseconds}"))?;
        thread::sleep(Duration::from_millis(120));
        undo(&fault, || arena.configure(&format!("RESET {setting}")));
        thread::sleep(Duration::from_millis(20));
        self.note(fault);
        Some(())
    }

    fn resize(&self, conn: &mut PgConnection, kind: Kind, random: &mut SmallRng) -> Option<()> {
        let (_, normal) = SEMAPHORES[2];
        let tickets = match kind {
            ResizeUp => random.random_range(normal + 1..=10),
            ResizeDown => random.random_range(3..normal),
            _ => normal,
        };
        let fault = Fault::begin(kind, Target::Nobody);
        // Long enough for every holder to end; a stopped one may hold on for longer.
        conn.batch_execute("SET lock_timeout = '2s'").ok()?;
        if kind == DestroyAndMake {
            let made = sem::destroy(conn, "many").and_then(|_| sem::make(conn, "many", tickets));
            if made.is_err() {
                let _ = sem::ensure(conn, "many", tickets);
            }
        } else {
            let _ = sem::make(conn, "many", tickets);
        }
        self.note(fault);
        Some(())
    }
}

fn is_near(place: Place) -> bool {
    !matches!(place, Place::Afar(_))
}

/// Takes a fault back: whatever happens, it isn't to last for ever. The server may have been ended from below us.
fn undo(fault: &Fault, mut take_back: impl FnMut() -> Option<()>) {
    while take_back().is_none() && now() < fault.at + AT_ONCE {
        thread::sleep(Duration::from_millis(2));
    }
}
