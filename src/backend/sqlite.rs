//! SQLite. A ticket is a file beside the database, and its holder has locked the file. The database has no more than names and
//! sizes, because SQLite has no row locks.
//!
//! * `folder.rs`, `lock_file.rs`: the files and their locks; `record.rs`: what is written into them
//! * `tables.rs`, `slots.rs`: the names and sizes in the database; `busy.rs`: while others have locked the database
//! * `acquire.rs`, `queue.rs`, `waits.rs`: acquire tickets, wait for them; `held.rs`: the tickets of a guard

mod acquire;
mod busy;
mod errors;
mod folder;
mod held;
mod inspect;
mod lock_file;
mod manage;
mod migrations;
mod queue;
mod record;
mod slots;
mod tables;
mod waits;

use super::{
    AcquireOutcome, AcquireParams, Backend, Hold, Operation, SizeChange,
    transaction::{self, is_open, would_be_closed_by_pool},
};
use crate::{Error, Holder, Result, Ticket, Usage, Waiter};
use diesel::{SqliteConnection, result::QueryResult};
use std::time::Duration;

impl Backend for SqliteConnection {
    fn is_in_transaction(&mut self) -> Result<bool> {
        is_open(self)
    }

    fn check_can_hold_in_transaction(&self) -> Result<()> {
        Err(Error::Unsupported {
            reason: "a transaction of SQLite holds no tickets: use transaction, with_ticket or SemaphoreTicket".to_owned(),
        })
    }

    fn begin_guarded_transaction(&mut self) -> Result<()> {
        Ok(busy::retry(|| transaction::begin_immediate(self))?)
    }

    /// A guard needs no transaction. In a transaction, it could see a size of the past.
    fn begin_guard(&mut self) -> Result<()> {
        if is_open(self)? && would_be_closed_by_pool(self) {
            return Err(Error::AlreadyInTransaction);
        }
        Ok(())
    }

    fn finish_guard(&mut self, hold: &mut Hold) -> QueryResult<()> {
        hold.files.take().map_or(Ok(()), |held| held.check())
    }

    /// A failed wait has left the queue already: its position was dropped.
    fn abort_guard(&mut self) {}

    fn mark_broken(&mut self) {
        transaction::mark_broken(self);
    }

    fn try_acquire(
        &mut self,
        params: AcquireParams<'_>,
        hold: &mut Hold,
    ) -> Result<AcquireOutcome> {
        acquire::try_acquire(self, params, &mut hold.files)
    }

    fn acquire(
        &mut self,
        params: AcquireParams<'_>,
        timeout_ms: Option<i64>,
        cancellation: u32,
        hold: &mut Hold,
    ) -> Result<AcquireOutcome> {
        acquire::wait(self, params, timeout_ms, cancellation, &mut hold.files)
    }

    fn wait_in_transaction(
        &mut self,
        wait: &mut dyn FnMut(&mut dyn Backend) -> Result<Option<Ticket>>,
    ) -> Result<Option<Ticket>> {
        wait(self)
    }

    fn cancel_wait(&mut self, cancellation: u32) -> QueryResult<bool> {
        Ok(waits::cancel(cancellation))
    }

    fn is_held(&mut self, _: Option<Duration>, hold: &Hold) -> QueryResult<bool> {
        match &hold.files {
            Some(held) => held.check().map(|()| true),
            None => Ok(true),
        }
    }

    fn ensure(&mut self, name: &str, size: i32) -> Result<bool> {
        manage::ensure(self, name, size)
    }

    fn make(&mut self, name: &str, size: i32) -> Result<Option<SizeChange>> {
        manage::make(self, name, size)
    }

    fn destroy(&mut self, name: &str) -> Result<bool> {
        manage::destroy(self, name)
    }

    fn list(&mut self) -> Result<Vec<(String, i64)>> {
        manage::list(self)
    }

    fn holders(&mut self, name: &str) -> Result<Option<Vec<Holder>>> {
        inspect::holders(self, name)
    }

    fn waiters(&mut self, name: &str) -> Result<Option<Vec<Waiter>>> {
        inspect::waiters(self, name)
    }

    fn usage(&mut self, name: Option<&str>) -> Result<Vec<Usage>> {
        inspect::usage(self, name)
    }

    fn run_migrations(&mut self) -> Result<()> {
        migrations::run(self)
    }

    fn revert_migrations(&mut self) -> Result<()> {
        migrations::revert(self)
    }

    fn pending_sql(&mut self) -> Result<String> {
        migrations::pending_sql(self)
    }

    fn add_hint(&mut self, error: Error) -> Error {
        errors::classify(error)
    }

    fn classify(&mut self, error: Error, _: Operation) -> Error {
        errors::classify(error)
    }
}
