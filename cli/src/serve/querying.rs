//! Queries a database for as long as it answers.

use crate::{
    database::Database,
    fault::Fault,
    snapshot::{Snapshot, Source},
};
use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// How long an answer may take. Then another connection replaces this one.
const LONGEST_ANSWER: Duration = Duration::from_secs(10);

/// A thread that queries, and another one if that has no answer. A client library waits for a vanished host for minutes
/// or hours. There are at most two such threads, so that a database that is only slow has no more connections.
pub(super) struct Querying {
    database: Database,
    with_proofs: bool,
    current: Option<Answers>,
    /// Is set while the thread before has no answer.
    earlier: Option<thread::JoinHandle<()>>,
}

struct Answers {
    thread: thread::JoinHandle<()>,
    ask: mpsc::Sender<()>,
    answers: mpsc::Receiver<Result<Snapshot, Fault>>,
}

impl Answers {
    /// The thread ends when this is dropped, after its last answer.
    fn start(database: Database, with_proofs: bool) -> Result<Self, Fault> {
        let (ask, asked) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let query = move || {
            let mut source = Source::new(database).with_proofs(with_proofs);
            while asked.recv().is_ok() {
                let found = source.query(|usage| usage.in_use > 0 || usage.waiting > 0);
                if answer.send(found).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("querying".to_owned());
        Ok(Self {
            thread: thread.spawn(query).map_err(Fault::thread)?,
            ask,
            answers,
        })
    }

    fn query(&self, limit: Duration) -> Result<Result<Snapshot, Fault>, RecvTimeoutError> {
        self.ask
            .send(())
            .map_err(|_| RecvTimeoutError::Disconnected)?;
        self.answers.recv_timeout(limit)
    }
}

impl Querying {
    pub(super) fn new(database: Database, with_proofs: bool) -> Self {
        Self {
            database,
            with_proofs,
            current: None,
            earlier: None,
        }
    }

    pub(super) fn query(&mut self) -> Result<Snapshot, Fault> {
        let current = match self.current.take() {
            Some(current) => current,
            None => Answers::start(self.database.clone(), self.with_proofs)?,
        };
        self.earlier.take_if(|earlier| earlier.is_finished());
        let limit = match self.earlier {
            None => LONGEST_ANSWER,
            Some(_) => Duration::MAX,
        };
        match current.query(limit) {
            Ok(found) => {
                self.current = Some(current);
                found
            }
            Err(error) => {
                if error == RecvTimeoutError::Timeout {
                    self.earlier = Some(current.thread);
                }
                Err(Fault::new(format_args!(
                    "the database has not answered for {}",
                    humantime::format_duration(LONGEST_ANSWER)
                )))
            }
        }
    }
}
