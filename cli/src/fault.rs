//! Errors, in one line, each with a fix.

use diesel::result::Error as DieselError;
use diesel_dbsemaphore::{self as sem, Error};
use std::{fmt, io};

#[derive(Debug)]
pub(crate) struct Fault(String);

impl Fault {
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        // PostgreSQL's messages have several lines.
        let message = message.to_string();
        let lines = message.lines().map(str::trim);
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        Self(lines.join("; "))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Replaces the library's fixes, which are calls, by commands.
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownSemaphore { name, .. } => Self::unknown(&name),
            Error::NotMigrated => Self::new(
                "the tables are missing in this database: run `dbsemaphore migrate`, or check the database's URL",
            ),
            Error::InvalidTickets {
                name,
                tickets,
                limit,
                ..
            } if (1..sem::MAX_TICKETS).contains(&limit) && limit < tickets => {
                Self::new(format_args!(
                    "{tickets} tickets of semaphore {name:?} were requested, and the most is {limit}: request fewer, or resize it with \
                 `dbsemaphore make`"
                ))
            }
            other => Self::new(other),
        }
    }
}

impl Fault {
    pub(crate) fn output(error: io::Error) -> Self {
        Self::new(format_args!("standard output can't be written: {error}"))
    }

    pub(crate) fn thread(error: io::Error) -> Self {
        Self::new(format_args!(
            "no thread can be started: {error}: raise the limit of processes (ulimit -u)"
        ))
    }

    pub(crate) fn unknown(name: &str) -> Self {
        Self::new(format_args!(
            "there is no semaphore {name:?}: `dbsemaphore list` shows all, `dbsemaphore make` creates one"
        ))
    }
}

impl From<DieselError> for Fault {
    fn from(error: DieselError) -> Self {
        Error::from(error).into()
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::new(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error)
    }
}
