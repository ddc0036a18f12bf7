//! How each fault is done.

mod await_end;

use crate::{
    arena::{Place, SEMAPHORES},
    backend::Backend,
    fault::{Fault, Target, undo},
    fleet::{Fleet, Member},
    kind::{Draws, Kind, Kind::*, LANES},
    log::now,
    session::{Doing, Session},
};
use diesel_dbsemaphore as sem;
use rand::{Rng, rngs::SmallRng};
use stand::{Stop, eventually};
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
pub(crate) const LONG: Duration = Duration::from_secs(7);
/// What is not tied to the network's timeouts happens at once; this is far more.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(3);

pub(crate) struct Injector<'a, B> {
    pub(crate) folder: &'a Path,
    pub(crate) fleet: &'a Fleet,
    /// Written by what changes the server: nothing else is done meanwhile that needs it.
    pub(crate) arena: &'a RwLock<B>,
    pub(crate) faults: &'a Mutex<Vec<Fault>>,
    pub(crate) violations: &'a Mutex<Vec<String>>,
    pub(crate) over: &'a AtomicBool,
}

impl<B: Backend> Injector<'_, B> {
    /// Does what is drawn for this lane until it is over.
    pub(crate) fn run(&self, lane: usize, draws: Draws) {
        let of_server = LANES[lane].bag.iter().any(|(kind, _)| *kind == RestartFast);
        let pause = LANES[lane].pause * if of_server { B::SERVER_PAUSES } else { 1 };
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
            thread::sleep(pause / 2 + pause.mul_f64(random.random()));
        }
    }

    pub(crate) fn note(&self, mut fault: Fault) {
        fault.end = now();
        self.faults.lock().unwrap().push(fault);
    }

    /// None if there was nobody to do it to.
    fn inject(&self, kind: Kind, random: &mut SmallRng) -> Option<()> {
        match kind {
            RestartFast => self.change_server(kind, |arena| arena.restart(Stop::Fast)),
            RestartImmediate => self.change_server(kind, |arena| arena.restart(Stop::Immediate)),
            KillPostmaster => self.change_server(kind, |arena| arena.restart(Stop::Kill)),
            StopWorker => self.stop_worker(random),
            LinkDown => self.cut_off(random),
            KillHolder | TerminateHolder | CancelHolder => self.hit(kind, Doing::Holds, random),
            KillWaiter | TerminateWaiter | CancelWaiter => self.hit(kind, Doing::Waits, random),
            ResizeUp | ResizeDown | DestroyAndMake => {
                self.resize(&mut self.connect()?, kind, random)
            }
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
            _ => B::inject(self, kind, random),
        }
    }

    /// None while it is down.
    pub(crate) fn connect(&self) -> Option<B::Connection> {
        self.arena.read().unwrap().connect()
    }

    /// Some session that does this, of a process in such a place.
    pub(crate) fn choose(
        &self,
        conn: &mut B::Connection,
        doing: Doing,
        place: fn(Place) -> bool,
        random: &mut SmallRng,
    ) -> Option<Session> {
        let mut present = self.fleet.present();
        present.retain(|member| place(member.place));
        let mut found = B::sessions(conn, doing, &present);
        // Another lane may have stopped this one.
        found.retain(|session| !B::is_stopped(session.pid.into()));
        let chosen = random.random_range(0..found.len().max(1));
        (!found.is_empty()).then(|| found.swap_remove(chosen))
    }

    pub(crate) fn change_server(&self, kind: Kind, change: impl FnOnce(&mut B)) -> Option<()> {
        let arena = &mut self.arena.write().unwrap();
        let mut fault = Fault::begin(kind, Target::All);
        change(arena);
        eventually("the server is up", || arena.connect().is_some());
        fault.free_after = Some(now() - fault.at);
        self.note(fault);
        Some(())
    }

    fn stop_worker(&self, random: &mut SmallRng) -> Option<()> {
        let mut here = self.fleet.present();
        here.retain(|member| member.place.is_near());
        let Member { name, .. } = here[random.random_range(0..here.len())];
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
        let session = self.choose(
            &mut self.connect()?,
            Doing::Either,
            |place| !place.is_near(),
            random,
        )?;
        let name = session.name;
        let mut fault = Fault::begin(LinkDown, Target::Process(name));
        if !self.fleet.cut(name) {
            return None;
        }
        // Connects each time: the server may be restarted meanwhile, and then the session is gone, too.
        if let Some(limit) = B::CUT_OFF {
            let pause = Duration::from_millis(20);
            self.await_end(&mut fault, &session, limit, pause, || {
                B::is_there(&mut self.connect()?, &session)
            });
        }
        thread::sleep(Duration::from_secs(9).saturating_sub(now() - fault.at));
        self.fleet.mend(name);
        self.note(fault);
        Some(())
    }

    /// Kills, terminates or cancels one of these.
    fn hit(&self, kind: Kind, doing: Doing, random: &mut SmallRng) -> Option<()> {
        let arena = self.arena.read().unwrap();
        let mut conn = arena.connect()?;
        let session = self.choose(&mut conn, doing, Place::is_near, random)?;
        let mut fault = Fault::begin(kind, Target::Backend(session.pid));
        match kind {
            KillHolder | KillWaiter => {
                fault.target = Target::Process(session.name);
                if !self.fleet.kill(session.name) {
                    return None;
                }
            }
            TerminateHolder | TerminateWaiter => {
                B::end_session(&mut conn, &session).ok()?;
            }
            _ => {
                let times = if kind == CancelHolder {
                    1
                } else {
                    random.random_range(1..=3)
                };
                B::cancel_statement(&mut conn, &session, times).ok()?;
                // It goes on.
                self.note(fault);
                return Some(());
            }
        }
        // A timeout that another fault has set may end this connection.
        self.await_end(&mut fault, &session, AT_ONCE, Duration::ZERO, || {
            B::is_there(&mut conn, &session).or_else(|| {
                conn = arena.connect()?;
                None
            })
        });
        self.note(fault);
        Some(())
    }

    fn resize(&self, conn: &mut B::Connection, kind: Kind, random: &mut SmallRng) -> Option<()> {
        let (_, normal) = SEMAPHORES[2];
        let tickets = match kind {
            ResizeUp => random.random_range(normal + 1..=10),
            ResizeDown => random.random_range(3..normal),
            _ => normal,
        };
        let fault = Fault::begin(kind, Target::Nobody);
        B::limit_resize(conn).ok()?;
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
