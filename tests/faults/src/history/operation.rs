//! What a worker did, from its log.

use crate::{
    fleet::Name,
    log::{Event, Time},
};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Was told at the end that it had held it all along.
    Released,
    /// Released it, and was told nothing.
    Left,
    Told,
    Died,
}

/// One call, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) name: Name,
    pub(crate) semaphore: String,
    pub(crate) tickets: usize,
    pub(crate) waits: bool,
    pub(crate) low_level: bool,
    pub(crate) pid: i32,
    pub(crate) called: Time,
    pub(crate) answered: Time,
    pub(crate) outcome: Outcome,
    pub(super) tail: Duration,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Held(Hold),
    Refused,
    /// An error, or died while it called.
    Unknown,
}

#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) ids: Vec<i64>,
    pub(crate) token: i64,
    pub(super) within: Duration,
    /// How long after its end the server may take to release it.
    pub(super) tail: Duration,
    /// When it was known to be held for the last time. At first it isn't: the answer may have come late, to a process
    /// that was stopped or cut off, when the ticket was lost already.
    pub(super) confirmed: Time,
    pub(crate) ended: Time,
    pub(crate) end: End,
    /// Of the error by which it was told.
    pub(super) message: String,
}

impl Hold {
    /// When the server can have taken it back at the latest.
    pub(super) fn gone(&self) -> Time {
        match self.end {
            End::Released => self.ended,
            _ => self.ended + self.tail,
        }
    }
}

/// From one worker's log. `died` is when its process did, if it was not asked to end.
pub(crate) fn operations(
    name: Name,
    log: &[(Time, Event)],
    died: Time,
    tail: Duration,
) -> Vec<Operation> {
    let mut all: Vec<Operation> = Vec::new();
    for (time, event) in log {
        let time = *time;
        if let Event::Call {
            semaphore,
            tickets,
            waits,
            low_level,
            pid,
        } = event
        {
            all.push(Operation {
                name,
                semaphore: semaphore.clone(),
                tickets: *tickets,
                waits: *waits,
                low_level: *low_level,
                pid: *pid,
                called: time,
                answered: died,
                outcome: Outcome::Unknown,
                tail,
            });
            continue;
        }
        let Some(operation) = all.last_mut() else {
            continue;
        };
        match (event, &mut operation.outcome) {
            (
                Event::Got {
                    ids,
                    token,
                    pid,
                    within,
                },
                outcome,
            ) => {
                operation.answered = time;
                operation.pid = *pid;
                *outcome = Outcome::Held(Hold {
                    ids: ids.clone(),
                    token: *token,
                    within: *within,
                    tail,
                    confirmed: operation.called,
                    ended: died,
                    end: End::Died,
                    message: String::new(),
                });
            }
            (Event::Refused, outcome) => {
                operation.answered = time;
                *outcome = Outcome::Refused;
            }
            (Event::Failed(_), _) => operation.answered = time,
            (Event::Confirmed(sent), Outcome::Held(hold)) => hold.confirmed = *sent,
            (Event::Leaving, Outcome::Held(hold)) => hold.ended = time,
            (Event::Released, Outcome::Held(hold)) => {
                hold.confirmed = hold.ended;
                hold.ended = time;
                hold.end = End::Released;
            }
            (Event::Left, Outcome::Held(hold)) => {
                hold.ended = time;
                hold.end = End::Left;
            }
            (Event::Told(message), Outcome::Held(hold)) => {
                hold.message.clone_from(message);
                hold.ended = time;
                hold.end = End::Told;
            }
            _ => {}
        }
    }
    all
}
