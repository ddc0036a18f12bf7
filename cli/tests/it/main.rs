//! The tool, as a process, on databases of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod command;
mod database;
mod inherited;
mod manage;
mod output;
mod postgres;
mod run;
mod scripts;
#[cfg(feature = "serve")]
mod serve;
mod server;
mod signals;
mod sqlite;
mod supervision;
mod tool;
mod urls;
