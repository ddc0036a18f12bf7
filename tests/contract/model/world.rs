//! The model, beside the real sessions.

use super::{
    actor::Actor,
    session::{Outcome, session},
    step::{SESSIONS, Step},
};
use crate::kit::ServerDatabase;
use proptest::prelude::*;
use stand::Backend;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::mpsc::channel,
    thread::Scope,
    time::Duration,
};

/// A position in the queue. The manager, who resizes, has the last number.
#[derive(Clone, Copy)]
pub(super) struct Waiter {
    pub(super) actor: usize,
    pub(super) wants: u32,
    pub(super) resize: Option<Step>,
}

pub(super) const MANAGER: usize = SESSIONS;

pub(super) struct World<'a, D: ServerDatabase> {
    pub(super) database: &'a D,
    pub(super) observer: D::Connection,
    pub(super) actors: Vec<Actor>,
    pub(super) size: Option<u32>,
    pub(super) queue: VecDeque<Waiter>,
}

impl<'a, D: ServerDatabase> World<'a, D> {
    pub(super) fn new<'scope>(scope: &'scope Scope<'scope, 'a>, database: &'a D) -> Self {
        let actors = (0..=SESSIONS)
            .map(|_| {
                let ((steps, to_do), (tell, outcomes)) = (channel(), channel());
                scope.spawn(move || session(database, &to_do, &tell));
                let Ok(Outcome::Ready(session)) = outcomes.recv() else {
                    panic!("no session")
                };
                Actor {
                    steps,
                    outcomes,
                    session,
                    holds: BTreeSet::new(),
                    before: Vec::new(),
                    guards: false,
                }
            })
            .collect();
        Self {
            database,
            observer: database.connect(),
            actors,
            size: None,
            queue: VecDeque::new(),
        }
    }

    pub(super) fn available(&self) -> u32 {
        let held: usize = self.actors.iter().map(|actor| actor.holds.len()).sum();
        self.size.unwrap_or(0) - held as u32
    }

    fn waits(&self, actor: usize) -> bool {
        self.queue.iter().any(|waiter| waiter.actor == actor)
    }

    pub(super) fn carry_out(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Acquire(actor, tickets, limit)
                if !self.waits(actor)
                    && !self.actors[actor].guards
                    && (D::EXACT_IN_TRANSACTIONS
                        || tickets == 1 && self.actors[actor].holds.is_empty()) =>
            {
                if self.actors[actor].before.is_empty() {
                    self.actors[actor].before.push(BTreeSet::new());
                }
                self.request(step, actor, tickets, limit)?;
            }
            Step::Guard(actor, tickets, limit)
                if !self.waits(actor) && self.actors[actor].is_idle() =>
            {
                self.actors[actor].guards = true;
                self.request(step, actor, tickets, limit)?;
                if !self.waits(actor) && self.actors[actor].holds.is_empty() {
                    self.actors[actor].guards = false;
                }
            }
            Step::Savepoint(actor)
                if D::EXACT_IN_TRANSACTIONS
                    && !self.waits(actor)
                    && !self.actors[actor].before.is_empty() =>
            {
                let holds = self.actors[actor].holds.clone();
                self.actors[actor].before.push(holds);
                prop_assert_eq!(self.actors[actor].carries_out(step)?, Outcome::Done);
            }
            Step::RollBackToSavepoint(actor)
                if !self.waits(actor) && self.actors[actor].before.len() > 1 =>
            {
                prop_assert_eq!(self.actors[actor].carries_out(step)?, Outcome::Done);
                self.actors[actor].holds = self.actors[actor].before.pop().unwrap();
            }
            Step::ReleaseSavepoint(actor)
                if !self.waits(actor) && self.actors[actor].before.len() > 1 =>
            {
                prop_assert_eq!(self.actors[actor].carries_out(step)?, Outcome::Done);
                self.actors[actor].before.pop();
            }
            Step::Commit(actor) | Step::RollBack(actor)
                if !self.waits(actor) && !self.actors[actor].is_idle() =>
            {
                let levels = self.actors[actor].before.len().max(1);
                for _ in 0..levels {
                    prop_assert_eq!(self.actors[actor].carries_out(step)?, Outcome::Done);
                }
                self.release_all(actor);
            }
            Step::Cancel(actor) if self.waits(actor) => {
                // One that comes at the instant at which the head turns to another ticket is lost.
                let lost = |world: &mut Self| {
                    D::Backend::cancel_statement(&mut world.observer, world.actors[actor].session);
                    world.actors[actor]
                        .outcomes
                        .recv_timeout(Duration::from_secs(1))
                };
                let outcome = (0..5).find_map(|_| lost(self).ok());
                prop_assert_eq!(outcome, Some(Outcome::Failed));
                self.queue.retain(|waiter| waiter.actor != actor);
                self.actors[actor].guards = false;
            }
            Step::Kill(actor) => {
                self.database.kill_session(self.actors[actor].session);
                if self.waits(actor) {
                    prop_assert_eq!(self.actors[actor].outcome()?, Outcome::Failed);
                    self.queue.retain(|waiter| waiter.actor != actor);
                }
                let Outcome::Ready(session) = self.actors[actor].carries_out(step)? else {
                    return Err(TestCaseError::fail("no new session"));
                };
                self.actors[actor].session = session;
                self.release_all(actor);
            }
            // That the only ticket gets company is seen late by a head that sleeps on it: seldom tried, for the time it takes.
            Step::Make(2..4) if self.size == Some(1) && !self.queue.is_empty() => {}
            Step::Make(_) | Step::Destroy if !self.waits(MANAGER) => self.resize(step)?,
            _ => {}
        }
        self.serve()
    }

    fn release_all(&mut self, actor: usize) {
        let actor = &mut self.actors[actor];
        actor.holds.clear();
        actor.before.clear();
        actor.guards = false;
    }
}
