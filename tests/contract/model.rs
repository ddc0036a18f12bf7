//! Random sequences of calls over several sessions, beside a plain model of a semaphore with a queue.
//!
//! One step is carried out after another, each until everybody is asleep or done, so that the model says exactly who is
//! granted what. A failing sequence is shrunk to a short one.

use crate::kit::{ServerDatabase, on_each_server, rounds, transaction_depth};
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket, Ticket};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use stand::Backend;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, Scope},
    time::{Duration, Instant},
};

on_each_server!(behaves_as_the_model_does,);

const SESSIONS: usize = 4;

/// Far more than any step takes.
const STUCK: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq)]
enum WaitLimit {
    None,
    Short,
    Forever,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Acquire(usize, u32, WaitLimit),
    Guard(usize, u32, WaitLimit),
    Savepoint(usize),
    RollBackToSavepoint(usize),
    ReleaseSavepoint(usize),
    Commit(usize),
    RollBack(usize),
    Cancel(usize),
    Kill(usize),
    Make(u32),
    Destroy,
}

fn step() -> impl Strategy<Value = Step> {
    let session = 0..SESSIONS;
    let limit = prop_oneof![
        4 => Just(WaitLimit::None), 1 => Just(WaitLimit::Short), 4 => Just(WaitLimit::Forever)];
    let request = (session.clone(), 1..4u32, limit);
    prop_oneof![
        8 => request.clone().prop_map(|(session, tickets, limit)| Step::Acquire(session, tickets, limit)),
        4 => request.prop_map(|(session, tickets, limit)| Step::Guard(session, tickets, limit)),
        2 => session.clone().prop_map(Step::Savepoint),
        2 => session.clone().prop_map(Step::RollBackToSavepoint),
        1 => session.clone().prop_map(Step::ReleaseSavepoint),
        3 => session.clone().prop_map(Step::Commit),
        3 => session.clone().prop_map(Step::RollBack),
        1 => session.clone().prop_map(Step::Cancel),
        1 => session.prop_map(Step::Kill),
        2 => (0..5u32).prop_map(Step::Make),
        1 => Just(Step::Destroy),
    ]
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Granted(Ticket),
    Refused,
    InvalidTickets,
    UnknownSemaphore,
    Failed,
    Done,
    Ready(i64),
}

impl From<sem::Result<Option<Ticket>>> for Outcome {
    fn from(result: sem::Result<Option<Ticket>>) -> Self {
        match result {
            Ok(Some(ticket)) => Outcome::Granted(ticket),
            Ok(None) => Outcome::Refused,
            Err(Error::InvalidTickets { .. }) => Outcome::InvalidTickets,
            Err(Error::UnknownSemaphore { .. }) => Outcome::UnknownSemaphore,
            Err(_) => Outcome::Failed,
        }
    }
}

fn request(tickets: u32, limit: WaitLimit) -> Request<'static> {
    let request = Request::new("x").tickets(tickets);
    match limit {
        WaitLimit::None => request,
        WaitLimit::Short => request.wait(Duration::from_millis(15)),
        WaitLimit::Forever => request.wait_forever(),
    }
}

/// Carries out the steps of one session, in a thread of its own. A kill ends its connection, not the thread.
fn session<D: ServerDatabase>(
    database: &D,
    steps: &Receiver<Step>,
    tell: &Sender<Outcome>,
) -> Option<()> {
    type Transactions = AnsiTransactionManager;
    loop {
        let mut conn = database.connect_read_committed();
        tell.send(Outcome::Ready(D::session_id(&mut conn))).ok()?;
        loop {
            let outcome = match steps.recv().ok()? {
                Step::Acquire(_, tickets, limit) => {
                    if transaction_depth(&mut conn) == Ok(None) {
                        Transactions::begin_transaction(&mut conn).unwrap();
                    }
                    sem::acquire(&mut conn, request(tickets, limit)).into()
                }
                Step::Guard(_, tickets, limit) => {
                    match SemaphoreTicket::acquire(&mut conn, request(tickets, limit)) {
                        Ok(Some(guard)) => {
                            tell.send(Outcome::Granted(guard.ticket().clone())).ok()?;
                            // Whatever comes next ends it.
                            let next = steps.recv();
                            drop(guard);
                            if matches!(next.ok()?, Step::Kill(_)) {
                                break;
                            }
                            Outcome::Done
                        }
                        refused => refused.map(|_| None).into(),
                    }
                }
                Step::Savepoint(_) => Transactions::begin_transaction(&mut conn).into_outcome(),
                Step::RollBackToSavepoint(_) | Step::RollBack(_) => {
                    Transactions::rollback_transaction(&mut conn).into_outcome()
                }
                Step::ReleaseSavepoint(_) | Step::Commit(_) => {
                    Transactions::commit_transaction(&mut conn).into_outcome()
                }
                Step::Make(tickets) => sem::make(&mut conn, "x", tickets).into_outcome(),
                Step::Destroy => sem::destroy(&mut conn, "x").map(drop).into_outcome(),
                Step::Kill(_) => break,
                Step::Cancel(_) => Outcome::Done,
            };
            tell.send(outcome).ok()?;
        }
    }
}

trait IntoOutcome {
    fn into_outcome(self) -> Outcome;
}

impl<E> IntoOutcome for Result<(), E> {
    fn into_outcome(self) -> Outcome {
        self.map_or(Outcome::Failed, |()| Outcome::Done)
    }
}

/// A session as the model knows it, with the thread that is it in reality.
struct Actor {
    steps: Sender<Step>,
    outcomes: Receiver<Outcome>,
    session: i64,
    holds: BTreeSet<i64>,
    /// What it held at each savepoint; the first one is the transaction's beginning.
    before: Vec<BTreeSet<i64>>,
    guards: bool,
}

impl Actor {
    fn outcome(&self) -> Result<Outcome, TestCaseError> {
        self.outcomes
            .recv_timeout(STUCK)
            .map_err(|_| TestCaseError::fail("stuck"))
    }

    fn carries_out(&self, step: Step) -> Result<Outcome, TestCaseError> {
        self.steps.send(step).unwrap();
        self.outcome()
    }

    fn is_free(&self) -> bool {
        self.before.is_empty() && !self.guards
    }
}

/// A position in the queue. The manager, who resizes, has the last number.
#[derive(Clone, Copy)]
struct Waiter {
    actor: usize,
    wants: u32,
    resize: Option<Step>,
}

const MANAGER: usize = SESSIONS;

struct World<'a, D: ServerDatabase> {
    database: &'a D,
    observer: D::Connection,
    actors: Vec<Actor>,
    size: Option<u32>,
    line: VecDeque<Waiter>,
}

impl<'a, D: ServerDatabase> World<'a, D> {
    fn new<'scope>(scope: &'scope Scope<'scope, 'a>, database: &'a D) -> Self {
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
            line: VecDeque::new(),
        }
    }

    fn free(&self) -> u32 {
        let held: usize = self.actors.iter().map(|actor| actor.holds.len()).sum();
        self.size.unwrap_or(0) - held as u32
    }

    fn waits(&self, actor: usize) -> bool {
        self.line.iter().any(|waiter| waiter.actor == actor)
    }

    fn carry_out(&mut self, step: Step) -> Result<(), TestCaseError> {
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
                self.ask(step, actor, tickets, limit)?;
            }
            Step::Guard(actor, tickets, limit)
                if !self.waits(actor) && self.actors[actor].is_free() =>
            {
                self.actors[actor].guards = true;
                self.ask(step, actor, tickets, limit)?;
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
                if !self.waits(actor) && !self.actors[actor].is_free() =>
            {
                let levels = self.actors[actor].before.len().max(1);
                for _ in 0..levels {
                    prop_assert_eq!(self.actors[actor].carries_out(step)?, Outcome::Done);
                }
                self.let_go(actor);
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
                self.line.retain(|waiter| waiter.actor != actor);
                self.actors[actor].guards = false;
            }
            Step::Kill(actor) => {
                self.database.kill_session(self.actors[actor].session);
                if self.waits(actor) {
                    prop_assert_eq!(self.actors[actor].outcome()?, Outcome::Failed);
                    self.line.retain(|waiter| waiter.actor != actor);
                }
                let Outcome::Ready(session) = self.actors[actor].carries_out(step)? else {
                    return Err(TestCaseError::fail("no new session"));
                };
                self.actors[actor].session = session;
                self.let_go(actor);
            }
            // That the only ticket gets company is seen late by a head that sleeps on it: seldom tried, for the time it takes.
            Step::Make(2..4) if self.size == Some(1) && !self.line.is_empty() => {}
            Step::Make(_) | Step::Destroy if !self.waits(MANAGER) => self.resize(step)?,
            _ => {}
        }
        self.serve()
    }

    fn let_go(&mut self, actor: usize) {
        let actor = &mut self.actors[actor];
        actor.holds.clear();
        actor.before.clear();
        actor.guards = false;
    }

    fn ask(
        &mut self,
        step: Step,
        actor: usize,
        tickets: u32,
        limit: WaitLimit,
    ) -> Result<(), TestCaseError> {
        let missing = tickets.saturating_sub(self.actors[actor].holds.len() as u32);
        let granted = self.size.is_some()
            && (missing == 0 || (self.line.is_empty() && missing <= self.free()));
        let too_many = self.size.is_some_and(|size| 0 < size && size < tickets);
        if !granted && !too_many && self.size.is_some() && limit == WaitLimit::Forever {
            self.actors[actor].steps.send(step).unwrap();
            self.line.push_back(Waiter {
                actor,
                wants: tickets,
                resize: None,
            });
            return Ok(());
        }
        let outcome = self.actors[actor].carries_out(step)?;
        if granted {
            return self.note(actor, tickets, outcome);
        }
        let expected = match self.size {
            None => Outcome::UnknownSemaphore,
            Some(_) if too_many => Outcome::InvalidTickets,
            Some(_) => Outcome::Refused,
        };
        prop_assert_eq!(outcome, expected);
        Ok(())
    }

    /// A grant keeps what was held, is as large as asked for, and of tickets that nobody else holds.
    fn note(&mut self, actor: usize, tickets: u32, outcome: Outcome) -> Result<(), TestCaseError> {
        let Outcome::Granted(ticket) = outcome else {
            return Err(TestCaseError::fail(format!(
                "{outcome:?} instead of {tickets} tickets"
            )));
        };
        let granted: BTreeSet<i64> = ticket.ids().iter().copied().collect();
        prop_assert_eq!(granted.len(), ticket.ids().len());
        prop_assert!(granted.is_superset(&self.actors[actor].holds));
        prop_assert_eq!(
            granted.len(),
            (tickets as usize).max(self.actors[actor].holds.len())
        );
        for (number, other) in self.actors.iter().enumerate() {
            prop_assert!(
                number == actor || other.holds.is_disjoint(&granted),
                "one ticket, two holders"
            );
        }
        self.actors[actor].holds = granted;
        Ok(())
    }

    fn resize(&mut self, step: Step) -> Result<(), TestCaseError> {
        let target = if let Step::Make(tickets) = step {
            tickets
        } else {
            0
        };
        let surplus = self.size.unwrap_or(0).saturating_sub(target);
        if surplus > 0 {
            self.actors[MANAGER].steps.send(step).unwrap();
            self.line.push_back(Waiter {
                actor: MANAGER,
                wants: surplus,
                resize: Some(step),
            });
            return Ok(());
        }
        prop_assert_eq!(self.actors[MANAGER].carries_out(step)?, Outcome::Done);
        self.resized(step);
        Ok(())
    }

    fn resized(&mut self, step: Step) {
        self.size = match step {
            Step::Make(tickets) => Some(tickets),
            _ => None,
        };
    }

    /// Waits until as many are in the queue as the model says, and the head has searched.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        let expected = (self.line.len() as i64, i64::from(!self.line.is_empty()));
        let end = Instant::now() + STUCK;
        loop {
            let standing = (
                D::queued(&mut self.observer),
                D::waiting_heads(&mut self.observer),
            );
            if standing == expected {
                return Ok(());
            }
            prop_assert!(
                Instant::now() < end,
                "in the queue and at its head: {:?}, not {:?}",
                standing,
                expected
            );
            thread::yield_now();
        }
    }

    /// The head of the queue acquires what is available. If it has to wait, all others sleep.
    fn serve(&mut self) -> Result<(), TestCaseError> {
        while let Some(&Waiter {
            actor,
            wants,
            resize,
        }) = self.line.front()
        {
            let missing = wants - self.actors[actor].holds.len() as u32;
            match self.size {
                None => prop_assert_eq!(self.actors[actor].outcome()?, Outcome::UnknownSemaphore),
                Some(size) if resize.is_none() && 0 < size && size < wants => {
                    prop_assert_eq!(self.actors[actor].outcome()?, Outcome::InvalidTickets);
                }
                Some(_) if missing > self.free() => break,
                Some(_) => {
                    let outcome = self.actors[actor].outcome()?;
                    match resize {
                        Some(step) => {
                            prop_assert_eq!(outcome, Outcome::Done);
                            self.resized(step);
                        }
                        None => self.note(actor, wants, outcome)?,
                    }
                }
            }
            self.line.pop_front();
            if self.actors[actor].holds.is_empty() {
                self.actors[actor].guards = false;
            }
        }
        self.settle()?;
        for waiter in &self.line {
            let outcome = self.actors[waiter.actor].outcomes.try_recv();
            prop_assert!(outcome.is_err(), "{:?} although it has to wait", outcome);
        }
        if self.line.is_empty() {
            prop_assert_eq!(self.database.available(), i64::from(self.free()));
        }
        Ok(())
    }
}

fn play<D: ServerDatabase>(database: &D, steps: &[Step]) -> Result<(), TestCaseError> {
    sem::destroy(&mut database.connect(), "x").unwrap();
    thread::scope(|scope| {
        let mut world = World::new(scope, database);
        world.carry_out(Step::Make(3))?;
        let played = steps.iter().try_for_each(|&step| world.carry_out(step));
        for actor in &world.actors {
            // Also those that are stuck, so that the threads end.
            D::Backend::kill_session(&mut world.observer, actor.session);
        }
        played
    })?;
    database.assert_no_queue();
    Ok(())
}

fn behaves_as_the_model_does<D: ServerDatabase>() {
    thread::scope(|scope| {
        // Two at a time, for they sleep a lot.
        for _ in 0..2 {
            scope.spawn(|| {
                let database = D::with_size(0);
                // Who holds some and waits for more may be in a deadlock; the model doesn't tell the server's victim.
                database.find_deadlocks_late();
                let cases = u32::try_from(rounds(300) / 2).unwrap();
                let config = Config {
                    cases,
                    failure_persistence: None,
                    max_shrink_iters: 100,
                    ..Config::default()
                };
                TestRunner::new(config)
                    .run(&prop::collection::vec(step(), 1..25), |steps| {
                        play(&database, &steps)
                    })
                    .unwrap_or_else(|error| panic!("{error}"));
            });
        }
    });
}
