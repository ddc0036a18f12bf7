//! A fleet of worker processes that share one semaphore, live: `make demo`.
//!
//! It starts a private server, or creates a SQLite database, and ten processes, which work through a queue of jobs (the SHA-256 of every
//! file below a folder), each job under a ticket. Meanwhile it kills a holder, enlarges the semaphore and shrinks it.
//! Whether that went well is judged by a witness that doesn't use the crate.

mod database;
mod fleet;
mod jobs;
mod judge;
mod options;
mod screen;
mod show;
mod worker;

use std::process::ExitCode;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let ran = options::parse().and_then(|role| match role {
        options::Role::Show(options) => show::run(&options),
        options::Role::Worker(task) => worker::run(&task).map(|()| true),
        options::Role::Help => {
            println!("{}", options::HELP);
            Ok(true)
        }
    });
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}
