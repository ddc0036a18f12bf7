//! How the model serves its queue.

use super::{
    actor::STUCK,
    session::Outcome,
    step::{Step, WaitLimit},
    world::{MANAGER, Waiter, World},
};
use crate::kit::ServerDatabase;
use proptest::prelude::*;
use std::{collections::BTreeSet, thread, time::Instant};

impl<D: ServerDatabase> World<'_, D> {
    pub(super) fn request(
        &mut self,
        step: Step,
        actor: usize,
        tickets: u32,
        limit: WaitLimit,
    ) -> Result<(), TestCaseError> {
        let missing = tickets.saturating_sub(self.actors[actor].holds.len() as u32);
        let acquired = self.size.is_some()
            && (missing == 0 || (self.queue.is_empty() && missing <= self.available()));
        let too_many = self.size.is_some_and(|size| 0 < size && size < tickets);
        if !acquired && !too_many && self.size.is_some() && limit == WaitLimit::Forever {
            self.actors[actor].steps.send(step).unwrap();
            self.queue.push_back(Waiter {
                actor,
                wants: tickets,
                resize: None,
            });
            return Ok(());
        }
        let outcome = self.actors[actor].carries_out(step)?;
        if acquired {
            return self.record_acquired(actor, tickets, outcome);
        }
        let expected = match self.size {
            None => Outcome::UnknownSemaphore,
            Some(_) if too_many => Outcome::InvalidTickets,
            Some(_) => Outcome::Unavailable,
        };
        prop_assert_eq!(outcome, expected);
        Ok(())
    }

    /// Whoever acquires keeps what was held, has as many tickets as requested, and none that somebody else holds.
    fn record_acquired(
        &mut self,
        actor: usize,
        tickets: u32,
        outcome: Outcome,
    ) -> Result<(), TestCaseError> {
        let Outcome::Acquired(ticket) = outcome else {
            return Err(TestCaseError::fail(format!(
                "{outcome:?} instead of {tickets} tickets"
            )));
        };
        let acquired: BTreeSet<i64> = ticket.ids().iter().copied().collect();
        prop_assert_eq!(acquired.len(), ticket.ids().len());
        prop_assert!(acquired.is_superset(&self.actors[actor].holds));
        prop_assert_eq!(
            acquired.len(),
            (tickets as usize).max(self.actors[actor].holds.len())
        );
        for (number, other) in self.actors.iter().enumerate() {
            prop_assert!(
                number == actor || other.holds.is_disjoint(&acquired),
                "one ticket, two holders"
            );
        }
        self.actors[actor].holds = acquired;
        Ok(())
    }

    pub(super) fn resize(&mut self, step: Step) -> Result<(), TestCaseError> {
        let target = if let Step::Make(tickets) = step {
            tickets
        } else {
            0
        };
        let surplus = self.size.unwrap_or(0).saturating_sub(target);
        if surplus > 0 {
            self.actors[MANAGER].steps.send(step).unwrap();
            self.queue.push_back(Waiter {
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
        let expected = (self.queue.len() as i64, i64::from(!self.queue.is_empty()));
        let end = Instant::now() + STUCK;
        loop {
            let present = (
                D::queued(&mut self.observer),
                D::waiting_heads(&mut self.observer),
            );
            if present == expected {
                return Ok(());
            }
            prop_assert!(
                Instant::now() < end,
                "in the queue and at its head: {:?}, not {:?}",
                present,
                expected
            );
            thread::yield_now();
        }
    }

    /// The head of the queue acquires what is available. If it has to wait, all others sleep.
    pub(super) fn serve(&mut self) -> Result<(), TestCaseError> {
        while let Some(&Waiter {
            actor,
            wants,
            resize,
        }) = self.queue.front()
        {
            let missing = wants - self.actors[actor].holds.len() as u32;
            match self.size {
                None => prop_assert_eq!(self.actors[actor].outcome()?, Outcome::UnknownSemaphore),
                Some(size) if resize.is_none() && 0 < size && size < wants => {
                    prop_assert_eq!(self.actors[actor].outcome()?, Outcome::InvalidTickets);
                }
                Some(_) if missing > self.available() => break,
                Some(_) => {
                    let outcome = self.actors[actor].outcome()?;
                    match resize {
                        Some(step) => {
                            prop_assert_eq!(outcome, Outcome::Done);
                            self.resized(step);
                        }
                        None => self.record_acquired(actor, wants, outcome)?,
                    }
                }
            }
            self.queue.pop_front();
            if self.actors[actor].holds.is_empty() {
                self.actors[actor].guards = false;
            }
        }
        self.settle()?;
        for waiter in &self.queue {
            let outcome = self.actors[waiter.actor].outcomes.try_recv();
            prop_assert!(outcome.is_err(), "{:?} although it has to wait", outcome);
        }
        if self.queue.is_empty() {
            prop_assert_eq!(self.database.available(), i64::from(self.available()));
        }
        Ok(())
    }
}
