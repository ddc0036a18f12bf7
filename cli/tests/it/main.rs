//! The tool, as a process, on databases of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod command;
mod holders;
mod manage;
mod run;
mod signals;
mod tool;
