//! `dbsemaphore`: counting semaphores in PostgreSQL, from a shell.

mod database;
mod fault;
mod manage;
mod options;
mod run;
mod signals;
mod terminate;
mod top;
mod view;

use clap::Parser;
use database::Database;
use fault::Fault;
use options::{Command, Options};
use std::{
    env,
    process::{self, ExitCode},
};

fn main() -> ExitCode {
    // Of what runs a command, most exit codes are the command's.
    let runs = env::args_os().any(|word| word == "run");
    let options = Options::try_parse().unwrap_or_else(|error| {
        // Whether or not it can be read by anybody.
        let _ = error.print();
        let wrong = if runs { run::FAILED.into() } else { 2 };
        process::exit(if error.use_stderr() { wrong } else { 0 })
    });
    let failed = match &options.command {
        Command::Run(_) => run::FAILED,
        _ => 1,
    };
    match obey(options) {
        Ok(code) => code.into(),
        Err(fault) => {
            eprintln!("dbsemaphore: {fault}");
            failed.into()
        }
    }
}

fn obey(options: Options) -> Result<u8, Fault> {
    // Only becomes the command that it names.
    #[cfg(target_os = "linux")]
    if let Command::Become(options) = &options.command {
        return Ok(run::become_command(options));
    }
    let database = Database::new(options.database_url)?;
    match options.command {
        Command::Migrate { json } => manage::migrate(&database, json)?,
        Command::Make {
            name,
            tickets,
            json,
        } => manage::make(&database, &name, tickets, json)?,
        Command::List { json } => manage::list(&database, json)?,
        Command::Destroy { name, json } => manage::destroy(&database, &name, json)?,
        Command::Show { name, json } => manage::show(&database, &name, json)?,
        Command::Top => top::watch(database)?,
        Command::Terminate { name, ticket, yes } => {
            terminate::terminate(&database, &name, ticket, yes)?;
        }
        Command::Run(options) => return run::run(&database, &options),
        #[cfg(target_os = "linux")]
        Command::Become(_) => {}
    }
    Ok(0)
}
