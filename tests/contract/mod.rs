//! What each public call means, whatever the database: functions of a database, registered for each backend.
//!
//! Tests of the folder of one backend say more: what an open transaction and its savepoints hold exactly, deadlocks,
//! settings, rights.
//!
//! MySQL leaves out parts of two tests: in `leaving`, the limits of your own session (`ServerDatabase::limits`); in `model`,
//! what it does not promise inside your transaction (`ServerDatabase::EXACT_IN_TRANSACTIONS`). There, your transactions are
//! READ COMMITTED, because others do not see a resize.

mod bad_input;
mod call_forms;
mod cancel;
mod crowd;
mod events;
pub(crate) mod fencing;
mod finding;
mod guard;
pub(crate) mod inspect;
mod isolation;
pub(crate) mod leaving;
mod manage;
mod migrations;
mod model;
mod order;
mod pool;
pub(crate) mod queue;
mod release;
mod resize;
mod test_transactions;
pub(crate) mod watch;
mod your_transaction;
