//! One session, which carries out its steps in a thread of its own.

use super::step::{Step, request};
use crate::kit::{ServerDatabase, transaction_depth};
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel_dbsemaphore::{self as sem, Error, SemaphoreTicket, Ticket};
use std::sync::mpsc::{Receiver, Sender};

#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    Acquired(Ticket),
    Unavailable,
    InvalidTickets,
    UnknownSemaphore,
    Failed,
    Done,
    Ready(i64),
}

impl From<sem::Result<Option<Ticket>>> for Outcome {
    fn from(result: sem::Result<Option<Ticket>>) -> Self {
        match result {
            Ok(Some(ticket)) => Outcome::Acquired(ticket),
            Ok(None) => Outcome::Unavailable,
            Err(Error::InvalidTickets { .. }) => Outcome::InvalidTickets,
            Err(Error::UnknownSemaphore { .. }) => Outcome::UnknownSemaphore,
            Err(_) => Outcome::Failed,
        }
    }
}

/// Carries out the steps of one session, in a thread of its own. A kill ends its connection, not the thread.
pub(super) fn session<D: ServerDatabase>(
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
                            tell.send(Outcome::Acquired(guard.ticket().clone())).ok()?;
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
