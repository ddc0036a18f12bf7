//! MySQL and MariaDB. A ticket is a row of an InnoDB table, and its holder has the row lock.
//!
//! Where the two servers differ, the SQL has both texts in executable comments: `/*M! .. */` for MariaDB, `/*!80000 .. */` for
//! MySQL, which MariaDB ignores. So nothing has to ask which server it is.

mod acquire;
mod callers_transaction;
mod cancel;
mod errors;
mod fragment;
mod head;
mod holder_locks;
mod inspect;
mod locks;
mod manage;
mod migrations;
mod queue;
mod request_row;
mod search;
mod transaction;
mod wait;

use super::{
    AcquireOutcome, AcquireParams, Backend, Hold, Operation, SizeChange, hold::HeldRows,
    transaction as diesel_transaction,
};
use crate::{Error, Holder, Result, Ticket, Usage, Waiter};
use diesel::{MysqlConnection, result::QueryResult};
use std::time::Duration;

impl Backend for MysqlConnection {
    fn is_in_transaction(&mut self) -> Result<bool> {
        diesel_transaction::is_open(self)
    }

    fn begin_guard(&mut self) -> Result<()> {
        transaction::begin_guard(self)
    }

    fn finish_guard(&mut self, hold: &mut Hold) -> QueryResult<()> {
        transaction::finish_guard(self, &hold.rows)
    }

    /// `acquire` has left the queue already.
    fn abort_guard(&mut self) {
        if let Err(error) = transaction::finish_guard(self, &HeldRows::default()) {
            log::debug!("rollback after a failed wait: {error}");
        }
    }

    fn mark_broken(&mut self) {
        diesel_transaction::mark_broken(self);
    }

    fn try_acquire(
        &mut self,
        params: AcquireParams<'_>,
        hold: &mut Hold,
    ) -> Result<AcquireOutcome> {
        acquire::try_acquire(self, params, &mut hold.rows)
            .map_err(|error| callers_transaction::after_error(self, params, error))
    }

    fn acquire(
        &mut self,
        params: AcquireParams<'_>,
        timeout_ms: Option<i64>,
        cancellation: u32,
        hold: &mut Hold,
    ) -> Result<AcquireOutcome> {
        acquire::acquire(self, params, timeout_ms, cancellation, &mut hold.rows)
            .map_err(|error| callers_transaction::after_error(self, params, error))
    }

    /// No savepoint: a rollback to one would keep the row locks.
    fn wait_in_transaction(
        &mut self,
        wait: &mut dyn FnMut(&mut dyn Backend) -> Result<Option<Ticket>>,
    ) -> Result<Option<Ticket>> {
        wait(self)
    }

    fn cancel_wait(&mut self, cancellation: u32) -> QueryResult<bool> {
        cancel::cancel_wait(self, cancellation)
    }

    fn is_held(&mut self, next_within: Option<Duration>, hold: &Hold) -> QueryResult<bool> {
        transaction::is_held(self, &hold.rows.ticket_ids, next_within)
            .inspect_err(|_| errors::forget_statements(self))
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
        errors::add_hint(error, self, Operation::Acquire)
    }

    fn classify(&mut self, error: Error, operation: Operation) -> Error {
        errors::classify(error, self, operation)
    }
}
