//! A session as the model knows it, with the thread that is it in reality.

use super::{session::Outcome, step::Step};
use proptest::prelude::*;
use std::{
    collections::BTreeSet,
    sync::mpsc::{Receiver, Sender},
    time::Duration,
};

/// Far more than any step takes.
pub(super) const STUCK: Duration = Duration::from_secs(15);

pub(super) struct Actor {
    pub(super) steps: Sender<Step>,
    pub(super) outcomes: Receiver<Outcome>,
    pub(super) session: i64,
    pub(super) holds: BTreeSet<i64>,
    /// What it held at each savepoint; the first one is the transaction's beginning.
    pub(super) before: Vec<BTreeSet<i64>>,
    pub(super) guards: bool,
}

impl Actor {
    pub(super) fn outcome(&self) -> Result<Outcome, TestCaseError> {
        self.outcomes
            .recv_timeout(STUCK)
            .map_err(|_| TestCaseError::fail("stuck"))
    }

    pub(super) fn carries_out(&self, step: Step) -> Result<Outcome, TestCaseError> {
        self.steps.send(step).unwrap();
        self.outcome()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.before.is_empty() && !self.guards
    }
}
