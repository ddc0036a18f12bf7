//! Queries a database for as long as it answers.

use super::spare::{Spare, Taken};
use crate::{
    database::Database,
    fault::Fault,
    snapshot::{Snapshot, Source},
};
use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

/// How long an answer may take. Then another connection replaces this one.
const LONGEST_ANSWER: Duration = Duration::from_secs(10);

/// How often the thread looks after that whether the second connection is available.
const PAUSE: Duration = Duration::from_secs(1);

/// A thread that queries, and another one if that has no answer. A client library waits for a vanished host for minutes or hours.
/// The thread without an answer has taken the second connection until it ends.
pub(super) struct Querying {
    database: Database,
    with_proofs: bool,
    spare: Arc<Spare>,
    current: Option<Answers>,
}

struct Answers {
    order: mpsc::Sender<Order>,
    answers: mpsc::Receiver<Result<Snapshot, Fault>>,
}

enum Order {
    Query,
    /// Dropped at the end of the thread.
    End(#[expect(dead_code, reason = "held until it is dropped")] Taken),
}

impl Answers {
    /// The thread ends when this is dropped, after its last answer.
    fn start(database: Database, with_proofs: bool) -> Result<Self, Fault> {
        let (order, orders) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let query = move || {
            let mut source = Source::new(database).with_proofs(with_proofs);
            while let Ok(Order::Query) = orders.recv() {
                let found = source.query(|usage| usage.in_use > 0 || usage.waiting > 0);
                if answer.send(found).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("querying".to_owned());
        thread.spawn(query).map_err(Fault::thread)?;
        Ok(Self { order, answers })
    }

    /// `None` if there is no answer, and the thread has taken the second connection.
    fn query(&self, spare: &Spare) -> Option<Result<Snapshot, Fault>> {
        self.order.send(Order::Query).ok()?;
        let mut limit = LONGEST_ANSWER;
        loop {
            match self.answers.recv_timeout(limit) {
                Ok(found) => return Some(found),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => limit = PAUSE,
            }
            if let Some(taken) = spare.take() {
                let _ = self.order.send(Order::End(taken));
                return None;
            }
        }
    }
}

impl Querying {
    pub(super) fn new(database: Database, with_proofs: bool, spare: Arc<Spare>) -> Self {
        Self {
            database,
            with_proofs,
            spare,
            current: None,
        }
    }

    pub(super) fn query(&mut self) -> Result<Snapshot, Fault> {
        let current = match self.current.take() {
            Some(current) => current,
            None => Answers::start(self.database.clone(), self.with_proofs)?,
        };
        let Some(found) = current.query(&self.spare) else {
            return Err(Fault::new(format_args!(
                "the database has not answered for {}",
                humantime::format_duration(LONGEST_ANSWER)
            )));
        };
        self.current = Some(current);
        found
    }
}
