//! The integration tests: one binary. Each test has a database of its own. Part of a name says which backend it needs:
//! `contract::queue::first_come_first_served::mysql`, `postgres::standby::..`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// With SQLite alone, nobody uses what servers need.
#![cfg_attr(
    not(any(feature = "postgres", feature = "mysql")),
    allow(dead_code, unused_imports)
)]

mod contract;
mod kit;
#[cfg(feature = "mysql")]
mod mysql;
mod no_database;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
