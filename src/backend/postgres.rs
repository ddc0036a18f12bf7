//! PostgreSQL. A ticket is a row, and its holder has the row lock.

mod acquire;
mod errors;
mod functions;
mod inspect;
mod manage;
mod migrations;
mod pending_sql;
mod queue;
mod server;
mod transaction;

use super::{
    AcquireOutcome, AcquireParams, Backend, Hold, Operation, SizeChange,
    transaction as diesel_transaction,
};
use crate::{Error, Holder, Result, Ticket, Usage, Waiter};
use diesel::{PgConnection, result::QueryResult};
use std::time::Duration;

impl Backend for PgConnection {
    fn is_in_transaction(&mut self) -> Result<bool> {
        diesel_transaction::is_open(self)
    }

    fn begin_guard(&mut self) -> Result<()> {
        transaction::begin_guard(self)
    }

    fn finish_guard(&mut self, _: &mut Hold) -> QueryResult<()> {
        transaction::finish_guard(self)
    }

    fn abort_guard(&mut self) {
        transaction::abort_guard(self);
    }

    fn mark_broken(&mut self) {
        diesel_transaction::mark_broken(self);
    }

    fn try_acquire(&mut self, params: AcquireParams<'_>, _: &mut Hold) -> Result<AcquireOutcome> {
        Ok(acquire::try_acquire(self, params)?)
    }

    fn acquire(
        &mut self,
        params: AcquireParams<'_>,
        timeout_ms: Option<i64>,
        cancellation: u32,
        _: &mut Hold,
    ) -> Result<AcquireOutcome> {
        Ok(acquire::acquire(self, params, timeout_ms, cancellation)?)
    }

    fn wait_in_transaction(
        &mut self,
        wait: &mut dyn FnMut(&mut dyn Backend) -> Result<Option<Ticket>>,
    ) -> Result<Option<Ticket>> {
        queue::in_savepoint(self, |conn| wait(conn))
    }

    fn cancel_wait(&mut self, cancellation: u32) -> QueryResult<bool> {
        acquire::cancel_wait(self, cancellation)
    }

    /// To lock a ticket, the transaction needed a number. Nobody else can end this transaction and begin another one with a
    /// number.
    fn is_held(&mut self, _: Option<Duration>, _: &Hold) -> QueryResult<bool> {
        acquire::has_transaction_id(self)
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
        pending_sql::pending_sql(self)
    }

    fn add_hint(&mut self, error: Error) -> Error {
        errors::add_hint(error, self)
    }

    fn classify(&mut self, error: Error, operation: Operation) -> Error {
        errors::classify(error, self, operation)
    }
}
