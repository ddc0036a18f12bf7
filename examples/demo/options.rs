use crate::Fallible;
use lexopt::prelude::*;
use std::{path::PathBuf, time::Duration};

pub(crate) const HELP: &str = "\
Works through a queue of jobs with a fleet of processes that share one semaphore.

Usage: make demo ARGS=\"[OPTIONS] [FOLDER..]\"

  FOLDER         the jobs are the files below it, but for those below .git and target; default: this folder
  --workers N    processes (10)
  --tickets N    tickets of the semaphore at first (3); later two more, and then one less than at first
  --seconds N    about how long it should take (20)
  --backend B    postgres, mysql or sqlite: `make demo BACKEND=..`";

pub(crate) struct Options {
    pub(crate) backend: String,
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) workers: u32,
    pub(crate) tickets: u32,
    pub(crate) time: Duration,
}

/// What a worker process is told.
pub(crate) struct Task {
    pub(crate) url: String,
    pub(crate) witness: PathBuf,
    pub(crate) pause: Duration,
}

pub(crate) enum Role {
    Show(Options),
    Worker(Task),
    Help,
}

pub(crate) fn parse() -> Fallible<Role> {
    let mut options = Options {
        backend: "postgres".to_owned(),
        folders: Vec::new(),
        workers: 10,
        tickets: 3,
        time: Duration::from_secs(20),
    };
    let mut words = lexopt::Parser::from_env();
    while let Some(word) = words.next()? {
        match word {
            Long("backend") => options.backend = words.value()?.string()?,
            Long("workers") => options.workers = words.value()?.parse()?,
            Long("tickets") => options.tickets = words.value()?.parse()?,
            Long("seconds") => options.time = Duration::from_secs(words.value()?.parse()?),
            Long("worker") => {
                return Ok(Role::Worker(Task {
                    url: words.value()?.string()?,
                    witness: words.value()?.into(),
                    pause: Duration::from_micros(words.value()?.parse()?),
                }));
            }
            Long("help") | Short('h') => return Ok(Role::Help),
            Value(folder) => options.folders.push(folder.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    if options.folders.is_empty() {
        options.folders.push(".".into());
    }
    if options.tickets == 0 || options.workers < 2 {
        return Err("there have to be at least 1 ticket and 2 workers".into());
    }
    Ok(Role::Show(options))
}
