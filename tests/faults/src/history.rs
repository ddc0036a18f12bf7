//! Judges what the workers wrote down.
//!
//! The history is linearizable with respect to a counting semaphore whose tickets have names exactly if
//!
//! 1. the holds of each ticket can be put one after another, each beginning at some time of its call and ending at some
//!    time of its release;
//! 2. for each refusal there is a time during its call at which too few were available.
//!
//! For the second, take each hold as long as it can have been. Where the longest hold of a ticket and its next one
//! overlap, the ticket changes hands at one instant, which can be chosen so that no refusal happens just then; so one and
//! the same choice serves all refusals. A refusal is also right while somebody waits in the queue, while tickets are
//! collected that are then released, and while the outcome of a call is unknown.

mod operation;
mod refusals;

use operation::{End, Outcome};
pub(crate) use operation::{Hold, Operation, operations};

use crate::{
    fault::{Fault, Target},
    fleet::{Name, Pause},
    kind::Kind,
    log::Time,
    witness::Barred,
};
use std::{collections::BTreeMap, time::Duration};

/// A machine that is busy is late.
const SLACK: Duration = Duration::from_secs(1);
/// By then the server has taken back what is lost, however, unless the holder's host was cut off.
pub(crate) const TAIL: Duration = Duration::from_secs(10);

pub(crate) struct History {
    pub(crate) operations: Vec<Operation>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) pauses: Vec<Pause>,
    pub(crate) barred: Vec<Barred>,
    /// Of the semaphores that are never resized.
    pub(crate) sizes: BTreeMap<String, usize>,
}

impl History {
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.check_tickets(&mut found);
        self.check_refusals(&mut found);
        self.check_reasons(&mut found);
        self.check_overtaking(&mut found);
        found
    }

    fn holds(&self) -> impl Iterator<Item = (&Operation, &Hold)> {
        self.operations
            .iter()
            .filter_map(|operation| match &operation.outcome {
                Outcome::Held(hold) => Some((operation, hold)),
                _ => None,
            })
    }

    /// One holder after another, tokens in that order, and whoever was overtaken by a loss told in time.
    fn check_tickets(&self, found: &mut Vec<String>) {
        let mut of_ticket: BTreeMap<i64, Vec<(&Operation, &Hold)>> = BTreeMap::new();
        for (operation, hold) in self.holds() {
            for id in &hold.ids {
                of_ticket.entry(*id).or_default().push((operation, hold));
            }
        }
        for (id, mut holds) in of_ticket {
            holds.sort_by_key(|(_, hold)| hold.token);
            let mut free = Duration::ZERO;
            let mut latest_call = Duration::ZERO;
            for (position, (operation, hold)) in holds.iter().enumerate() {
                if position > 0 && holds[position - 1].1.token == hold.token {
                    found.push(format!("ticket {id}: token {} twice", hold.token));
                }
                if operation.answered < latest_call {
                    found.push(format!(
                        "ticket {id}: token {} is greater than that of a later holder",
                        holds[position - 1].1.token
                    ));
                }
                latest_call = latest_call.max(operation.called);
                // As early as possible.
                let begin = operation.called.max(free);
                if begin > operation.answered {
                    let before = position.checked_sub(1).map(|before| holds[before]);
                    found.push(format!(
                        "ticket {id}: {operation:?} got it before it can have been free ({free:?}); before: {before:?}"
                    ));
                }
                free = begin.max(hold.confirmed).min(hold.gone());
                if let Some((next, _)) = holds.get(position + 1) {
                    let lost = next.answered.max(operation.answered);
                    let due = self.awake_for(operation.name, lost, hold.within + SLACK);
                    if hold.end != End::Released && hold.ended > due {
                        found.push(format!(
                            "ticket {id}: {:?} learned {:?} too late that it had lost it: lost at {lost:?}, to be known within {:?}; faults {:?}",
                            operation.name,
                            hold.ended - due,
                            hold.within,
                            self.faults_explaining(operation, hold)
                        ));
                    }
                }
            }
        }
    }

    /// From when on this process could do something.
    fn awake_after(&self, name: Name, time: Time) -> Time {
        self.pauses
            .iter()
            .filter(|pause| pause.name == name && pause.from <= time && time <= pause.to)
            .map(|pause| pause.to)
            .max()
            .unwrap_or(time)
    }

    /// When this process could have done something for so long.
    fn awake_for(&self, name: Name, from: Time, long: Duration) -> Time {
        // Each process's pauses are in the order in which they happened.
        self.pauses
            .iter()
            .filter(|pause| pause.name == name && pause.to > from)
            .fold(from + long, |end, pause| {
                if pause.from < end {
                    end + (pause.to - pause.from.max(from))
                } else {
                    end
                }
            })
    }

    /// Whom a fault concerned.
    pub(crate) fn explains(fault: &Fault, operation: &Operation, hold: &Hold) -> bool {
        let concerns = match &fault.target {
            Target::Process(name) => *name == operation.name,
            Target::Backend(pid) => operation.pid == 0 || *pid == operation.pid,
            Target::LowLevel => operation.low_level,
            Target::BehindPooler => true,
            Target::All => true,
            Target::Nobody => false,
        };
        concerns && fault.at <= hold.ended && fault.end + SLACK >= operation.called
    }

    fn faults_explaining(&self, operation: &Operation, hold: &Hold) -> Vec<(Kind, Time)> {
        let faults = self.faults.iter();
        let faults = faults.filter(|fault| Self::explains(fault, operation, hold));
        faults.map(|fault| (fault.kind, fault.at)).collect()
    }

    /// Nobody loses a ticket without a reason.
    fn check_reasons(&self, found: &mut Vec<String>) {
        for (operation, hold) in self.holds().filter(|(_, hold)| hold.end == End::Told) {
            if !self
                .faults
                .iter()
                .any(|fault| Self::explains(fault, operation, hold))
            {
                found.push(format!("{operation:?} lost its tickets for no reason"));
            }
        }
    }

    fn check_overtaking(&self, found: &mut Vec<String>) {
        let mut barred: Vec<&Barred> = self.barred.iter().collect();
        barred.sort_by_key(|barred| barred.from);
        for (operation, _) in self.holds().filter(|(operation, _)| !operation.waits) {
            let end = barred.partition_point(|barred| barred.from <= operation.called);
            let overtakes = barred[..end]
                .iter()
                .rev()
                .take_while(|barred| barred.from + Duration::from_secs(30) > operation.called)
                .any(|barred| {
                    barred.semaphore == operation.semaphore && operation.answered <= barred.to
                });
            if overtakes {
                found.push(format!(
                    "{:?} overtook the head of the queue of {} at {:?}",
                    operation.name, operation.semaphore, operation.called
                ));
            }
        }
    }

    /// For each loss that a holder was told of: what caused it, and how long it took to know. Of several possible causes,
    /// the one that was aimed at it, and of these the last, is taken.
    pub(crate) fn told(&self) -> Vec<(Kind, Duration)> {
        self.holds()
            .filter(|(_, hold)| hold.end == End::Told)
            .filter_map(|(operation, hold)| {
                let cause = self
                    .faults
                    .iter()
                    .filter(|fault| Self::explains(fault, operation, hold))
                    .max_by_key(|fault| {
                        let aimed = matches!(fault.target, Target::Process(_) | Target::Backend(_));
                        (aimed, fault.at)
                    })?;
                // Nobody can be told before he has it, or while he can't do anything.
                let begin = cause.at.max(operation.answered);
                let begin = self.awake_after(operation.name, begin);
                Some((cause.kind, hold.ended.saturating_sub(begin)))
            })
            .collect()
    }
}
