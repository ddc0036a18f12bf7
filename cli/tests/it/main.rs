//! The tool, as a process, on databases of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod command;
mod holders;
mod inherited;
mod limits;
mod manage;
mod output;
mod pooler;
mod run;
mod scripts;
mod signals;
mod supervision;
mod tool;
mod urls;
