//! Faults of PostgreSQL alone.

use super::Postgres;
use crate::{
    arena::Place,
    backend::Backend,
    fault::{Fault, Stopped, Target, signal, undo},
    inject::{AT_ONCE, Injector, LONG},
    kind::Kind,
    log::now,
    session::Doing,
};
use nix::sys::signal::Signal;
use rand::rngs::SmallRng;
use stand::eventually;
use std::{thread, time::Duration};

pub(super) fn kill_backend(injector: &Injector<'_, Postgres>, random: &mut SmallRng) -> Option<()> {
    let arena = &mut *injector.arena.write().unwrap();
    let holder = injector.choose(&mut arena.connect()?, Doing::Holds, Place::is_near, random)?;
    let mut fault = Fault::begin(Kind::KillBackend, Target::All);
    signal(holder.pid, Signal::SIGKILL);
    // The postmaster ends all sessions, and recovers.
    let up = now() + AT_ONCE;
    while now() < up
        && arena
            .connect()
            .is_some_and(|mut conn| Postgres::is_there(&mut conn, &holder) != Some(false))
    {
        thread::sleep(Duration::from_millis(1));
    }
    eventually("the server is up", || arena.connect().is_some());
    fault.free_after = Some(now() - fault.at);
    injector.note(fault);
    Some(())
}

/// A setting of the whole server's, for a moment.
pub(super) fn set(
    injector: &Injector<'_, Postgres>,
    kind: Kind,
    setting: &str,
    milliseconds: u32,
) -> Option<()> {
    let arena = injector.arena.read().unwrap();
    let fault = Fault::begin(kind, Target::LowLevel);
    arena.configure(&format!("SET {setting} = {milliseconds}"))?;
    thread::sleep(Duration::from_millis(120));
    undo(&fault, || arena.configure(&format!("RESET {setting}")));
    thread::sleep(Duration::from_millis(20));
    injector.note(fault);
    Some(())
}

pub(super) fn stop_backend(injector: &Injector<'_, Postgres>, random: &mut SmallRng) -> Option<()> {
    let holder = injector.choose(
        &mut injector.connect()?,
        Doing::Holds,
        Place::is_near,
        random,
    )?;
    // Whom a stopped backend keeps from going on is up to chance.
    let fault = Fault::begin(Kind::StopBackend, Target::All);
    let stopped = Stopped::new(holder.pid);
    thread::sleep(LONG);
    drop(stopped);
    injector.note(fault);
    Some(())
}
