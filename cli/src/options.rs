//! The command line.

use clap::{
    Args, CommandFactory, Parser, Subcommand,
    error::{ContextKind, ContextValue},
};
#[cfg(feature = "serve")]
use std::path::PathBuf;
use std::{ffi::OsString, time::Duration};

/// Counting semaphores in PostgreSQL, MySQL, MariaDB or SQLite: at most n holders at a time
#[derive(Parser)]
#[command(name = "dbsemaphore", version)]
pub(crate) struct Options {
    /// postgres://USER:PASSWORD@HOST/DATABASE, or keyword='value' pairs as for libpq; mysql://USER:PASSWORD@HOST/DATABASE;
    /// sqlite://PATH, or the path of a file. Other users of this machine can read an argument: prefer DATABASE_URL. Each
    /// host has 10 s for a connection, or connect_timeout. `serve` accepts
    /// several, and a DATABASE_URL with one in each line
    #[arg(
        long,
        global = true,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) database_url: Vec<String>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Options {
    /// Parses the command line. An error suggests the subcommand for a word that other tools have for it, and lists no hidden one.
    pub(crate) fn parse_words() -> Result<Self, clap::Error> {
        Self::try_parse().map_err(|mut error| {
            if let Some(ContextValue::Strings(names)) = error.get(ContextKind::ValidSubcommand) {
                let command = Self::command();
                let is_shown = |name: &&String| {
                    let found = command.find_subcommand(name);
                    found.is_some_and(|found| !found.is_hide_set())
                };
                let shown = names.iter().filter(is_shown).cloned();
                let shown = ContextValue::Strings(shown.collect());
                error.insert(ContextKind::ValidSubcommand, shown);
            }
            let word = error.get(ContextKind::InvalidSubcommand);
            let name = match word.map(ToString::to_string).as_deref() {
                Some("create" | "resize") => "make",
                Some("delete" | "remove") => "destroy",
                Some("end" | "kill") => "terminate",
                _ => return error,
            };
            let names = ContextValue::Strings(vec![name.to_owned()]);
            error.insert(ContextKind::SuggestedSubcommand, names);
            error
        })
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create the tables, or bring them up to date
    Migrate {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Create a semaphore, or resize it while it is in use; a shrink waits for held tickets if necessary
    Make {
        /// The semaphore
        name: String,
        /// The size: how many tickets can be held at the same time; 0 closes the semaphore
        tickets: u32,
        /// Wait for held tickets for at most this time, such as 30s, 1s or more; after that, the old size remains
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        wait: Option<Duration>,
        /// Resize only: fail if there is no such semaphore
        #[arg(long)]
        existing: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List all semaphores: tickets, tickets in use, waiters
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a semaphore, as soon as all its tickets are released
    Destroy {
        /// The semaphore
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the holders of a semaphore, since when they hold a ticket, and the waiters
    Show {
        /// The semaphore
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show all semaphores, live
    Top,
    /// Show all semaphores on a web page, live, with metrics for Prometheus at /metrics
    #[cfg(feature = "serve")]
    Serve(Serve),
    /// Run a command while holding a ticket
    #[command(after_help = RUN)]
    Run(Run),
    /// End the session that holds a ticket, with all its work; on SQLite, send SIGTERM to the process that holds it
    Terminate {
        /// The semaphore
        name: String,
        /// The id of the ticket, from `show`
        ticket: i64,
        /// End the session without confirmation
        #[arg(long)]
        yes: bool,
        /// What identifies the hold, from the page of `serve`
        #[arg(long, hide = true)]
        proof: Option<String>,
    },
    /// Become a command that ends with its parent
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    Become(Become),
}

const RUN: &str = "\
Exit codes: that of the command, or 128 + N if signal N has ended it; 127 if there is no such command, 126 if it can't be \
run; 75 if no ticket was available; 76 if the ticket was lost; 125 for any other failure.

Signals: each signal that would end the tool is passed on to the command. While the tool waits for a ticket, signal N ends \
it with exit code 128 + N. SIGKILL, SIGSEGV, SIGBUS, SIGFPE and SIGILL end the tool alone: see --kill-with-parent. Without \
--process-group, signals don't reach what the command has started.

If the ticket is lost, or the command can't be supervised any longer, it gets SIGTERM, and SIGKILL after --grace.

The command finds DBSEMAPHORE_NAME, DBSEMAPHORE_TICKETS and DBSEMAPHORE_FENCING_TOKEN in its environment.";

#[cfg(feature = "serve")]
#[derive(Args)]
pub(crate) struct Serve {
    /// Listen on this address and port; port 0 takes any that is available
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9187")]
    pub(crate) listen: String,

    /// Time between two queries of each database
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub(crate) interval: Duration,

    /// Answer requests for this host name too, such as that of a proxy. Without this option: localhost, and addresses
    #[arg(long, value_name = "NAME", value_parser = host)]
    pub(crate) allowed_host: Vec<String>,

    /// Let operators resize and close semaphores, and end holders, after they have entered a token
    #[arg(long)]
    pub(crate) allow_changes: bool,

    /// Read that token from this file, instead of printing a random one on standard error. Only you should be able to read it
    #[arg(long, value_name = "FILE", requires = "allow_changes")]
    pub(crate) token_file: Option<PathBuf>,
}

#[cfg(feature = "serve")]
fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) || interval > Duration::from_secs(3600) {
        return Err("not between 100ms and 1h".to_owned());
    }
    Ok(interval)
}

#[cfg(feature = "serve")]
fn host(name: &str) -> Result<String, String> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    if name.is_empty() || !name.chars().all(is_letter) {
        return Err("not the name of a host alone, without port, scheme and path".to_owned());
    }
    Ok(name.to_owned())
}

#[derive(Args)]
pub(crate) struct Run {
    /// The semaphore
    pub(crate) name: String,

    /// Number of tickets, all or none
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub(crate) tickets: u32,

    /// Wait in the queue for at most this time, such as 30s, if too few tickets are available. Connecting counts
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) wait: Option<Duration>,

    /// Wait in the queue until the tickets are available
    #[arg(long, conflicts_with = "wait")]
    pub(crate) wait_forever: bool,

    /// Label that others see, instead of the command's name: at most 40 printable ASCII characters
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,

    /// Exit code if no ticket was available
    #[arg(long, value_name = "CODE", default_value_t = 75)]
    pub(crate) busy_code: u8,

    /// Exit code if the ticket was lost
    #[arg(long, value_name = "CODE", default_value_t = 76)]
    pub(crate) lost_code: u8,

    /// Time between SIGTERM and SIGKILL for the command, if the ticket is lost
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) grace: Duration,

    /// Time until the ticket is released if this machine vanishes from the network. Has no effect on SQLite; MySQL takes six seconds
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) host_timeout: Duration,

    /// Kill the command if this tool is killed; without this option, the command continues without a ticket
    #[cfg(target_os = "linux")]
    #[arg(long)]
    pub(crate) kill_with_parent: bool,

    /// Run the command in a process group of its own, and send signals to the whole group: also to what the command has
    /// started. Not for commands that read from a terminal
    #[arg(long)]
    pub(crate) process_group: bool,

    /// Suppress the message when no ticket is available
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// The command, after --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[cfg(target_os = "linux")]
#[derive(Args)]
pub(crate) struct Become {
    /// The process id of the parent
    pub(crate) parent: u32,
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}
