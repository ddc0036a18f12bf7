//! `dbsemaphore`: counting semaphores in PostgreSQL, MySQL, MariaDB or SQLite, from a shell.

// Both panic if nothing can be written: see `output`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(not(any(feature = "postgres", feature = "mysql", feature = "sqlite")))]
compile_error!("enable the feature of at least one database: postgres, mysql or sqlite");

#[cfg(feature = "postgres")]
mod conninfo;
mod database;
mod fault;
mod manage;
mod options;
mod output;
mod run;
mod secret;
#[cfg(feature = "serve")]
mod serve;
mod signals;
mod snapshot;
mod terminate;
mod top;
mod view;

use clap::CommandFactory;
use database::Database;
use fault::Fault;
use nix::sys::signal::SigSet;
use options::{Command, Options};
use std::{
    env,
    io::{IsTerminal, stderr, stdout},
    panic,
};

/// The exit code of wrong arguments, except for `run`.
const WRONG_USAGE: u8 = 2;

fn main() {
    panic::set_hook(Box::new(|panic| output::say(Fault::new(panic))));
    let ended = panic::catch_unwind(|| {
        let blocked = signals::unblock();
        match Options::parse_words() {
            Ok(options) => obey(options, &blocked),
            Err(instead) => explain(&instead),
        }
    });
    output::finish();
    // Exit handlers are not run: another thread may still be inside libpq, whose libraries then abort the process.
    signal_hook::low_level::exit(ended.unwrap_or_else(|_| failed()).into())
}

/// The exit code of a failure. `run` mostly returns the code of its command.
fn failed() -> u8 {
    if runs() { run::FAILED } else { 1 }
}

/// Whether the subcommand is `run`, also if its arguments are wrong.
fn runs() -> bool {
    let lenient = Options::command().ignore_errors(true).try_get_matches();
    let matches = lenient.unwrap_or_default();
    matches!(matches.subcommand_name(), Some("run" | "become"))
}

/// Prints clap's message: help, the version, or an error in the arguments.
fn explain(instead: &clap::Error) -> u8 {
    let is_wrong = instead.use_stderr();
    let is_terminal = if is_wrong {
        stderr().is_terminal()
    } else {
        stdout().is_terminal()
    };
    let is_plain =
        env::var_os("NO_COLOR").is_some() || env::var_os("TERM").is_some_and(|name| name == "dumb");
    let text = instead.render();
    let text = if is_terminal && !is_plain {
        text.ansi().to_string()
    } else {
        text.to_string()
    };
    if is_wrong {
        output::print_error(secret::redact_words(text, env::args_os()));
        return if runs() { run::FAILED } else { WRONG_USAGE };
    }
    match output::print(&text) {
        Ok(()) => 0,
        Err(error) => {
            output::say(Fault::output(error));
            failed()
        }
    }
}

fn obey(options: Options, blocked: &SigSet) -> u8 {
    match dispatch(options, blocked) {
        Ok(code) => code,
        Err(fault) => {
            output::say(fault);
            failed()
        }
    }
}

fn dispatch(options: Options, blocked: &SigSet) -> Result<u8, Fault> {
    // Becomes the command that it names.
    #[cfg(target_os = "linux")]
    if let Command::Become(options) = &options.command {
        signals::swap_mask(blocked);
        return Ok(run::become_command(options));
    }
    #[cfg(feature = "serve")]
    if let Command::Serve(serve) = &options.command {
        let urls = options.database_url;
        let urls = if urls.is_empty() {
            vec![String::new()]
        } else {
            urls
        };
        // DATABASE_URL may have several lines. An empty one is an error if it is all there is.
        let lines = urls.iter().flat_map(|url| match url.trim() {
            "" => vec![""],
            url => url.lines().filter(|line| !line.trim().is_empty()).collect(),
        });
        let databases = lines.map(|url| Database::new(Some(url.to_owned())));
        serve::serve(databases.collect::<Result<_, _>>()?, serve)?;
        return Ok(0);
    }
    let lines = options.database_url.iter().flat_map(|url| url.lines());
    let has_lines = lines.filter(|line| line.contains("://")).count() > 1;
    if has_lines || options.database_url.len() > 1 {
        return Err(Fault::new(
            "there are several database URLs: only `dbsemaphore serve` accepts more than one",
        ));
    }
    let database = Database::new(options.database_url.into_iter().next())?;
    match options.command {
        Command::Migrate { json } => manage::migrate(&database, json)?,
        Command::Make {
            name,
            tickets,
            wait,
            existing,
            json,
        } => manage::make(&database, &name, tickets, wait, existing, json)?,
        Command::List { json } => manage::list(&database, json)?,
        Command::Destroy { name, json } => manage::destroy(&database, &name, json)?,
        Command::Show { name, json } => manage::show(&database, &name, json)?,
        Command::Top => top::watch(database)?,
        Command::Terminate {
            name,
            ticket,
            yes,
            proof,
        } => terminate::terminate(&database, &name, ticket, yes, proof.as_deref())?,
        Command::Run(options) => return run::run(&database, &options, blocked),
        #[cfg(feature = "serve")]
        Command::Serve(_) => {}
        #[cfg(target_os = "linux")]
        Command::Become(_) => {}
    }
    Ok(0)
}
