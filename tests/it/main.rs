//! The integration tests: one binary, a module for each topic. Each test has a database of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod call_forms;
mod cancel;
mod children;
mod compile_errors;
mod crowd;
mod deadlock;
mod diesel_cli;
mod event_triggers;
mod events;
mod fencing;
mod finding;
mod from_django;
mod guard;
mod inspect;
mod isolation;
mod leaving;
mod low_level;
mod manage;
mod migrations;
mod model;
mod network;
mod order;
mod pool;
mod pooler;
mod queue;
mod readme;
mod release;
mod rights;
mod round_trips;
mod row_security;
mod savepoints;
mod security;
mod server_log;
mod settings;
mod standby;
mod test_transactions;
mod tools;
mod upgrades;
mod watch;
