//! How long the server takes to release what the target of a fault had.

use super::{Injector, LONG};
use crate::{backend::Backend, fault::Fault, log::now, session::Session};
use std::{thread, time::Duration};

impl<B: Backend> Injector<'_, B> {
    /// Waits until the session is gone. It is a violation if it is still there after `limit`.
    pub(super) fn await_end(
        &self,
        fault: &mut Fault,
        session: &Session,
        limit: Duration,
        pause: Duration,
        mut is_there: impl FnMut() -> Option<bool>,
    ) {
        // Another fault may have stopped the session. Then the time begins when it goes on. An answer is of the time of its
        // question: PostgreSQL has it wait for a session that was stopped while it said what it does.
        let pid = session.pid;
        let (mut begin, mut asked, mut there) = (fault.at, fault.at, None);
        // The server may be down, or have ended the connection that asks.
        while asked < begin + limit || (there.is_none() && asked < begin + limit + LONG) {
            asked = now();
            there = is_there();
            if there == Some(false) {
                fault.free_after = (begin == fault.at).then(|| now() - fault.at);
                return;
            }
            if B::is_stopped(pid.into()) {
                begin = now();
            }
            thread::sleep(pause);
        }
        self.violations.lock().unwrap().push(format!(
            "{}: session {pid} still has what it had after {limit:?}{}",
            B::title(fault.kind),
            B::describe(pid.into())
        ));
    }
}
