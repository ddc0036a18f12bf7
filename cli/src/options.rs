//! The command line.

use clap::{Args, Parser, Subcommand};
use std::{ffi::OsString, time::Duration};

/// Counting semaphores in PostgreSQL: at most n of these at a time, over a whole fleet.
#[derive(Parser)]
#[command(name = "dbsemaphore", version)]
pub(crate) struct Options {
    /// postgres://USER:PASSWORD@HOST/DATABASE. As an argument, others on this machine can read it
    #[arg(
        long,
        global = true,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) database_url: Option<String>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Creates the tables, or brings them up to date
    Migrate {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Creates a semaphore, or resizes it while it is in use; waits for tickets that have to come back
    Make {
        name: String,
        /// How many may hold one at the same time; 0 closes the semaphore
        tickets: u32,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Lists all semaphores: their tickets, how many are in use, how many wait
    List {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Removes a semaphore, as soon as all its tickets have come back
    Destroy {
        name: String,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Shows who holds the tickets of a semaphore, since when, and who waits for them
    Show {
        name: String,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Shows all semaphores, live
    Top,
    /// Runs a command while holding a ticket
    Run(Run),
    /// Ends the session that holds a ticket, and with it whatever that session does
    Terminate {
        name: String,
        /// As `show` shows it
        ticket: i64,
        /// Doesn't ask
        #[arg(long)]
        yes: bool,
    },
    /// Becomes a command that ends with its parent
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    Become(Become),
}

/// Exit codes: that of the command, or 128 + N if signal N has ended it; 127 if there is no such command, 126 if it
/// can't be run; 75 if no ticket was to be had; 76 if the ticket was lost; 125 for any other failure.
///
/// SIGINT, SIGTERM and SIGHUP are passed on to the command; while it waits for a ticket, they end the tool. The command
/// finds DBSEMAPHORE_NAME, DBSEMAPHORE_TICKETS and DBSEMAPHORE_FENCING_TOKEN in its environment.
#[derive(Args)]
pub(crate) struct Run {
    /// The semaphore
    pub(crate) name: String,

    /// How many tickets to hold, all or none
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub(crate) tickets: u32,

    /// Waits in line for as long as that, such as 30s, if too few tickets are free
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) wait: Option<Duration>,

    /// Waits in line until it has got them
    #[arg(long, conflicts_with = "wait")]
    pub(crate) wait_forever: bool,

    /// What others see, instead of the command's name
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,

    /// The exit code if no ticket was to be had
    #[arg(long, value_name = "CODE", default_value_t = 75)]
    pub(crate) busy_code: u8,

    /// The exit code if the ticket was lost
    #[arg(long, value_name = "CODE", default_value_t = 76)]
    pub(crate) lost_code: u8,

    /// How long the command has, if the ticket is lost, between SIGTERM and SIGKILL
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) grace: Duration,

    /// How long the ticket stays taken if this machine vanishes from the network
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) host_timeout: Duration,

    /// Kills the command if this tool is killed; without it, the command then runs on, without a ticket
    #[cfg(target_os = "linux")]
    #[arg(long)]
    pub(crate) kill_with_parent: bool,

    /// Runs the command in a process group of its own, and signals the whole group: what the command has started, too
    #[arg(long)]
    pub(crate) process_group: bool,

    /// Doesn't say why no ticket was to be had
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
