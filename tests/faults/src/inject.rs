//! The faults: which there are, in which order a seed draws them, and how each is done.

use crate::{
    arena::{Arena, Place, SEMAPHORES, until_up},
    fleet::{Fleet, Name},
    log::{Time, now},
    worker::HOST_TIMEOUT,
};
use diesel::{
    PgConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_types::{Integer, Text},
};
use diesel_dbsemaphore as sem;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
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

/// Longer than every time-out of the workers' and of their watches.
const LONG: Duration = Duration::from_secs(7);
/// What is promised for a host that vanishes.
const CUT_OFF: Duration = Duration::from_secs(5 + HOST_TIMEOUT.as_secs());
/// What is not tied to the network's time-outs happens at once; this is far more.
const AT_ONCE: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    KillHolder,
    KillWaiter,
    TerminateHolder,
    TerminateWaiter,
    CancelHolder,
    CancelWaiter,
    ResizeUp,
    ResizeDown,
    DestroyAndMake,
    IdleTimeout,
    StatementTimeout,
    LockTimeout,
    RefuseConnections,
    StopWorker,
    StopBackend,
    LinkDown,
    RestartFast,
    RestartImmediate,
    KillBackend,
    KillPostmaster,
    FailOver,
    RestartPooler,
    /// The last two are done by workers themselves.
    Panic,
    Crash,
}

use Kind::*;

impl Kind {
    pub(crate) const ALL: [(Kind, &'static str); 24] = [
        (KillHolder, "kill -9 of a holder"),
        (KillWaiter, "kill -9 of a waiter"),
        (Crash, "holder kills itself"),
        (Panic, "holder panics"),
        (StopWorker, "process stopped for 7 s"),
        (TerminateHolder, "pg_terminate_backend of a holder"),
        (TerminateWaiter, "pg_terminate_backend of a waiter"),
        (CancelHolder, "pg_cancel_backend of a holder"),
        (CancelWaiter, "pg_cancel_backend of a waiter, 1 to 3 times"),
        (StopBackend, "holder's backend stopped for 7 s"),
        (KillBackend, "kill -9 of a holder's backend"),
        (KillPostmaster, "kill -9 of the postmaster"),
        (RestartFast, "server restarted (fast)"),
        (RestartImmediate, "server restarted (immediate)"),
        (FailOver, "server killed, standby promoted"),
        (RestartPooler, "PgBouncer restarted"),
        (LinkDown, "link down for 9 s"),
        (IdleTimeout, "idle_in_transaction_session_timeout"),
        (StatementTimeout, "statement_timeout"),
        (LockTimeout, "lock_timeout"),
        (RefuseConnections, "connections refused"),
        (ResizeUp, "make: more tickets"),
        (ResizeDown, "make: fewer tickets"),
        (DestroyAndMake, "destroy and make"),
    ];

    pub(crate) fn title(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).unwrap().1
    }

    /// What `FAULTS=` says.
    pub(crate) fn word(self) -> String {
        let mut word = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !word.is_empty() {
                word.push('-');
            }
            word.push(letter.to_ascii_lowercase());
        }
        word
    }
}

/// Whom a fault concerns: whose loss of a ticket it explains.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    Process(Name),
    Backend(i32),
    /// Transactions of the application's own, whom its time-outs end.
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
    /// For those that resize: which semaphore, and how many tickets it has from now on if it worked.
    pub(crate) resize: Option<(String, usize, bool)>,
}

/// Kinds that are done one after another, with a pause between them; lanes go on beside each other. What a lane does
/// depends on nothing but the seed.
pub(crate) struct Lane {
    pub(crate) kinds: &'static [(Kind, u32)],
    pub(crate) pause: Duration,
}

pub(crate) const LANES: [Lane; 5] = [
    Lane {
        kinds: &[
            (KillHolder, 14),
            (KillWaiter, 12),
            (TerminateHolder, 14),
            (TerminateWaiter, 14),
            (CancelHolder, 10),
            (CancelWaiter, 16),
            (ResizeUp, 3),
            (ResizeDown, 3),
            (DestroyAndMake, 2),
            (IdleTimeout, 3),
            (StatementTimeout, 2),
            (LockTimeout, 2),
            (RefuseConnections, 2),
        ],
        pause: Duration::from_millis(40),
    },
    Lane {
        kinds: &[(StopWorker, 1)],
        pause: Duration::from_millis(500),
    },
    Lane {
        kinds: &[(StopBackend, 1)],
        pause: Duration::from_secs(3),
    },
    Lane {
        kinds: &[(LinkDown, 1)],
        pause: Duration::from_secs(1),
    },
    Lane {
        kinds: &[
            (RestartFast, 2),
            (RestartImmediate, 2),
            (KillBackend, 2),
            (KillPostmaster, 2),
            (FailOver, 2),
            (RestartPooler, 2),
        ],
        pause: Duration::from_millis(2500),
    },
];

pub(crate) struct Injector<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) fleet: &'a Fleet,
    /// Written by what changes the server: nothing else is done meanwhile that needs it.
    pub(crate) arena: &'a RwLock<Arena>,
    pub(crate) faults: &'a Mutex<Vec<Fault>>,
    pub(crate) violations: &'a Mutex<Vec<String>>,
    pub(crate) over: &'a AtomicBool,
}

impl Injector<'_> {
    /// Draws from these kinds until it is over.
    pub(crate) fn run(&self, lane: &Lane, number: u64, seed: u64, kinds: &[Kind]) {
        let drawn: Vec<_> = lane.kinds.iter().filter(|k| kinds.contains(&k.0)).collect();
        let mut random = SmallRng::seed_from_u64(seed.wrapping_mul(31) + number);
        while !self.over.load(SeqCst) && !drawn.is_empty() {
            let mut lot = random.random_range(0..drawn.iter().map(|kind| kind.1).sum());
            let kind = drawn.iter().find(|kind| {
                let hit = lot < kind.1;
                lot = lot.saturating_sub(kind.1);
                hit
            });
            let kind = kind.unwrap().0;
            // Whatever happens with this one, the next is drawn from the same place.
            let mut own = SmallRng::seed_from_u64(random.random());
            let end = now() + AT_ONCE;
            // A holder, say, is always there in a moment.
            while !self.over.load(SeqCst) && now() < end && self.inject(kind, &mut own).is_none() {
                thread::sleep(Duration::from_millis(2));
            }
            thread::sleep(lane.pause);
        }
    }

    fn note(&self, mut fault: Fault) {
        fault.end = now();
        self.faults.lock().unwrap().push(fault);
    }

    fn violation(&self, text: String) {
        self.violations.lock().unwrap().push(text);
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
                let fault = begin(kind, Target::BehindPooler);
                arena.restart_pooler();
                self.note(fault);
                Some(())
            }
            KillBackend => {
                let arena = &mut *self.arena.write().unwrap();
                let holder = holder(&mut arena.connect()?, self.fleet, random)?;
                let mut fault = begin(kind, Target::All);
                signal(holder.pid, Signal::SIGKILL);
                // The postmaster ends all sessions, and recovers.
                thread::sleep(Duration::from_millis(20));
                drop(until_up(&arena.url()));
                fault.free_after = Some(now() - fault.at);
                self.note(fault);
                Some(())
            }
            StopWorker => self.stop_worker(random),
            StopBackend => {
                let holder = holder(&mut self.connect()?, self.fleet, random)?;
                // Whom a stopped backend keeps from going on is up to chance.
                let fault = begin(kind, Target::All);
                signal(holder.pid, Signal::SIGSTOP);
                thread::sleep(LONG);
                signal(holder.pid, Signal::SIGCONT);
                self.note(fault);
                Some(())
            }
            LinkDown => self.cut_off(random),
            _ => self.by_sql(kind, random),
        }
    }

    fn connect(&self) -> Option<PgConnection> {
        self.arena.read().unwrap().connect()
    }

    fn change_server(&self, kind: Kind, change: impl FnOnce(&mut Arena)) -> Option<()> {
        let arena = &mut self.arena.write().unwrap();
        let mut fault = begin(kind, Target::All);
        change(arena);
        drop(until_up(&arena.url()));
        fault.free_after = Some(now() - fault.at);
        self.note(fault);
        Some(())
    }

    fn stop_worker(&self, random: &mut SmallRng) -> Option<()> {
        let here: Vec<_> = self.fleet.present();
        let &(name, _) = here
            .iter()
            .filter(|p| !is_afar(p.1))
            .collect::<Vec<_>>()
            .choose(random)?;
        let fault = begin(StopWorker, Target::Process(*name));
        if !self.fleet.stop(*name) {
            return None;
        }
        thread::sleep(LONG);
        self.fleet.resume(*name, fault.at);
        self.note(fault);
        Some(())
    }

    /// Cuts off a host whose process holds a ticket or waits for one.
    fn cut_off(&self, random: &mut SmallRng) -> Option<()> {
        let mut conn = self.connect()?;
        let is_afar = |name| {
            let present = self.fleet.present();
            present.iter().any(|p| p.0 == name && is_afar(p.1))
        };
        let mut there: Vec<Session> = sessions(&mut conn, &format!("{HOLDS} OR {WAITS}"))
            .into_iter()
            .filter(|session| session.name().is_some_and(is_afar))
            .collect();
        there.sort_by_key(|session| session.pid);
        let session = there.choose(random)?;
        let name = session.name()?;
        let mut fault = begin(LinkDown, Target::Process(name));
        if !self.fleet.cut(name) {
            return None;
        }
        self.await_end(&mut fault, session, CUT_OFF);
        let rest = Duration::from_secs(9).saturating_sub(now() - fault.at);
        thread::sleep(rest);
        self.fleet.mend(name);
        self.note(fault);
        Some(())
    }

    fn by_sql(&self, kind: Kind, random: &mut SmallRng) -> Option<()> {
        let arena = self.arena.read().unwrap();
        let mut conn = arena.connect()?;
        match kind {
            KillHolder | KillWaiter => {
                let find = if kind == KillHolder { holder } else { waiter };
                let session = find(&mut conn, self.fleet, random)?;
                let name = session.name()?;
                let mut fault = begin(kind, Target::Process(name));
                if !self.fleet.kill(name) {
                    return None;
                }
                self.await_end_by(&mut conn, &mut fault, &session, AT_ONCE);
                self.note(fault);
            }
            TerminateHolder | TerminateWaiter => {
                let find = if kind == TerminateHolder {
                    holder
                } else {
                    waiter
                };
                let session = find(&mut conn, self.fleet, random)?;
                let mut fault = begin(kind, Target::Backend(session.pid));
                let sql = format!("SELECT pg_terminate_backend({})", session.pid);
                conn.batch_execute(&sql).ok()?;
                self.await_end_by(&mut conn, &mut fault, &session, AT_ONCE);
                self.note(fault);
            }
            CancelHolder | CancelWaiter => {
                let find = if kind == CancelHolder { holder } else { waiter };
                let session = find(&mut conn, self.fleet, random)?;
                let fault = begin(kind, Target::Backend(session.pid));
                let times = if kind == CancelHolder {
                    1
                } else {
                    random.random_range(1..=3)
                };
                for _ in 0..times {
                    conn.batch_execute(&format!("SELECT pg_cancel_backend({})", session.pid))
                        .ok()?;
                }
                self.note(fault);
            }
            ResizeUp | ResizeDown | DestroyAndMake => self.resize(&mut conn, kind, random)?,
            IdleTimeout | StatementTimeout | LockTimeout => {
                let (setting, limit) = match kind {
                    IdleTimeout => ("idle_in_transaction_session_timeout", 30),
                    StatementTimeout => ("statement_timeout", 20),
                    _ => ("lock_timeout", 10),
                };
                let fault = begin(kind, Target::LowLevel);
                let set = format!("ALTER SYSTEM SET {setting} = {limit}");
                conn.batch_execute(&set).ok()?;
                conn.batch_execute("SELECT pg_reload_conf()").ok()?;
                thread::sleep(Duration::from_millis(120));
                // It holds for this session, too.
                let mut conn = arena.connect()?;
                conn.batch_execute("SET statement_timeout = 0; SET lock_timeout = 0")
                    .ok()?;
                conn.batch_execute(&format!("ALTER SYSTEM RESET {setting}"))
                    .ok()?;
                conn.batch_execute("SELECT pg_reload_conf()").ok()?;
                thread::sleep(Duration::from_millis(20));
                self.note(fault);
            }
            RefuseConnections => {
                let fault = begin(kind, Target::Nobody);
                conn.batch_execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 0', current_database()); END $$").ok()?;
                thread::sleep(Duration::from_millis(100));
                conn.batch_execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT -1', current_database()); END $$").ok()?;
                self.note(fault);
            }
            _ => unreachable!("{kind:?} has a way of its own"),
        }
        Some(())
    }

    fn resize(&self, conn: &mut PgConnection, kind: Kind, random: &mut SmallRng) -> Option<()> {
        let (_, normal) = SEMAPHORES[2];
        let tickets = match kind {
            ResizeUp => random.random_range(normal + 1..=10),
            ResizeDown => random.random_range(3..normal),
            _ => normal,
        };
        let mut fault = begin(kind, Target::Nobody);
        // Long enough for every holder to end; a stopped one may hold on for longer.
        conn.batch_execute("SET lock_timeout = '2s'").ok()?;
        let made = if kind == DestroyAndMake {
            sem::destroy(conn, "many").and_then(|_| sem::make(conn, "many", tickets))
        } else {
            sem::make(conn, "many", tickets)
        };
        let worked = made.is_ok();
        if !worked && kind == DestroyAndMake {
            let _ = sem::ensure(conn, "many", tickets);
        }
        fault.resize = Some(("many".to_owned(), tickets as usize, worked));
        self.note(fault);
        Some(())
    }

    fn await_end(&self, fault: &mut Fault, session: &Session, limit: Duration) {
        while now() < fault.at + limit {
            // Each time anew: the server may be restarted meanwhile, and then the session is gone, too.
            if let Some(mut conn) = self.connect()
                && !session.is_there(&mut conn)
            {
                fault.free_after = Some(now() - fault.at);
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.violation(format!(
            "{}: backend {} still has what it had after {limit:?}",
            fault.kind.title(),
            session.pid
        ));
    }

    fn await_end_by(
        &self,
        conn: &mut PgConnection,
        fault: &mut Fault,
        session: &Session,
        limit: Duration,
    ) {
        while now() < fault.at + limit {
            if !session.is_there(conn) {
                fault.free_after = Some(now() - fault.at);
                return;
            }
        }
        if !self.is_stopped(session.pid) {
            self.violation(format!(
                "{}: backend {} still has what it had after {limit:?}",
                fault.kind.title(),
                session.pid
            ));
        }
    }

    /// Another lane may have stopped this backend.
    fn is_stopped(&self, pid: i32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|s| s.starts_with('T')))
    }
}

fn begin(kind: Kind, target: Target) -> Fault {
    Fault {
        kind,
        at: now(),
        end: now(),
        target,
        free_after: None,
        resize: None,
    }
}

fn is_afar(place: Place) -> bool {
    matches!(place, Place::Afar(_))
}

fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// A worker's session, as the server sees it.
#[derive(QueryableByName)]
struct Session {
    #[diesel(sql_type = Integer)]
    pid: i32,
    #[diesel(sql_type = Text)]
    application: String,
    /// Of its transaction, if it has written something, or locked a row; and when the transaction began.
    #[diesel(sql_type = Text)]
    transaction: String,
}

const HOLDS: &str = "state = 'idle in transaction' AND backend_xid IS NOT NULL";
const WAITS: &str = "state = 'active' AND wait_event_type = 'Lock'";

fn sessions(conn: &mut PgConnection, which: &str) -> Vec<Session> {
    diesel::sql_query(format!(
        "SELECT pid, application_name AS application, concat(backend_xid, ' ', xact_start) AS transaction \
         FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ '^w[0-9]+[.]' AND ({which})"
    ))
    .load(conn)
    .unwrap_or_default()
}

impl Session {
    fn name(&self) -> Option<Name> {
        let (worker, life) = self.application.strip_prefix('w')?.split_once('.')?;
        Some(Name {
            worker: worker.parse().ok()?,
            life: life.parse().ok()?,
        })
    }

    /// Whether its transaction still is.
    fn is_there(&self, conn: &mut PgConnection) -> bool {
        let same = format!(
            "pid = {} AND concat(backend_xid, ' ', xact_start) = '{}'",
            self.pid, self.transaction
        );
        !sessions(conn, &same).is_empty()
    }
}

fn holder(conn: &mut PgConnection, fleet: &Fleet, random: &mut SmallRng) -> Option<Session> {
    pick(sessions(conn, HOLDS), fleet, random)
}

fn waiter(conn: &mut PgConnection, fleet: &Fleet, random: &mut SmallRng) -> Option<Session> {
    pick(sessions(conn, WAITS), fleet, random)
}

/// Somebody who is near, and whose process is there.
fn pick(mut found: Vec<Session>, fleet: &Fleet, random: &mut SmallRng) -> Option<Session> {
    let near: Vec<Name> = fleet
        .present()
        .into_iter()
        .filter_map(|(name, place)| (!is_afar(place)).then_some(name))
        .collect();
    found.retain(|session| session.name().is_some_and(|name| near.contains(&name)));
    let chosen = random.random_range(0..found.len().max(1));
    (!found.is_empty()).then(|| found.swap_remove(chosen))
}
