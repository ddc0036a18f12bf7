//! Ends a process that holds a ticket of SQLite. On Linux only: elsewhere, nothing tells whether a process has locked a file.
//!
//! The lock file has the number of the process, which another process may have in the meantime, or in another container. So
//! the process gets a signal only if it has a lock file of this semaphore open. A descriptor of the process makes sure that
//! no later process with that number gets the signal.

use crate::fault::Fault;
use diesel::SqliteConnection;
use diesel_dbsemaphore::Holder;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(target_os = "linux")]
pub(super) use linux::Proof;

/// How exactly the start of a hold is known: by the clock of the system, which is read twice.
const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// What identifies a hold: the process, and since when it holds the ticket.
#[derive(Clone, Copy)]
pub(super) struct Start {
    pid: i32,
    since: Option<SystemTime>,
}

impl Start {
    /// Of a holder that was queried just now. `None` if its process is unknown.
    pub(super) fn of(holder: &Holder) -> Option<Self> {
        Some(Self {
            pid: holder.session.pid?,
            since: holder
                .held_for
                .and_then(|held_for| SystemTime::now().checked_sub(held_for)),
        })
    }

    fn is_of(self, holder: &Holder) -> bool {
        Self::of(holder).is_some_and(|now| self.is_near(now))
    }

    fn is_near(self, other: Self) -> bool {
        let is_near = |(one, other): (SystemTime, SystemTime)| {
            let between = one.duration_since(other);
            between.unwrap_or_else(|error| error.duration()) < CLOCK_SLACK
        };
        self.pid == other.pid && self.since.zip(other.since).is_none_or(is_near)
    }

    pub(super) fn text(self) -> String {
        let since = self
            .since
            .and_then(|since| since.duration_since(UNIX_EPOCH).ok());
        let since = since.map_or(String::new(), |since| since.as_millis().to_string());
        format!("{} {since}", self.pid)
    }

    /// Whether a text is of this hold.
    pub(super) fn is_in(self, text: &str) -> bool {
        let Some((pid, since)) = text.split_once(' ') else {
            return false;
        };
        let since = since.parse().ok().map(Duration::from_millis);
        pid.parse().is_ok_and(|pid| {
            self.is_near(Self {
                pid,
                since: since.and_then(|since| UNIX_EPOCH.checked_add(since)),
            })
        })
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) enum Proof {}

#[cfg(not(target_os = "linux"))]
impl Proof {
    pub(super) fn find(_: &Holder) -> Result<Self, Fault> {
        Err(Fault::new(
            "holders of SQLite can be ended on Linux only: end the process that `dbsemaphore show` shows",
        ))
    }

    pub(super) fn start(&self) -> Start {
        match *self {}
    }

    pub(super) fn end(&self, _: &mut SqliteConnection, _: &str, _: i64) -> Result<(), Fault> {
        match *self {}
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{Fault, Holder, SqliteConnection, Start};
    use crate::terminate::{holder, not_ended, not_found, not_held, wait_until};
    use diesel::{
        prelude::*,
        sql_query,
        sql_types::{BigInt, Text},
    };
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    use std::{
        collections::BTreeSet,
        fs, io,
        os::{fd::OwnedFd, unix::fs::MetadataExt},
        path::Path,
    };

    pub(in crate::terminate) struct Proof {
        start: Start,
        process: OwnedFd,
    }

    #[derive(QueryableByName)]
    struct Main {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        file: String,
    }

    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }

    impl Proof {
        pub(in crate::terminate) fn find(holder: &Holder) -> Result<Self, Fault> {
            let start = Start::of(holder).ok_or_else(|| not_found(holder.ticket))?;
            let named = Pid::from_raw(start.pid).ok_or_else(|| not_found(holder.ticket))?;
            let process = pidfd_open(named, PidfdFlags::empty())
                .map_err(|error| unsafe_to_end(start.pid, &error))?;
            Ok(Self { start, process })
        }

        pub(in crate::terminate) fn start(&self) -> Start {
            self.start
        }

        /// Ends the process if it still holds the ticket.
        pub(in crate::terminate) fn end(
            &self,
            conn: &mut SqliteConnection,
            name: &str,
            ticket: i64,
        ) -> Result<(), Fault> {
            let holds = |conn: &mut SqliteConnection| -> Result<bool, Fault> {
                let now = holder(conn, name, ticket)?;
                Ok(now.is_some_and(|now| self.start.is_of(&now)))
            };
            if !holds(conn)? {
                return Err(not_held(name, ticket));
            }
            let pid = self.start.pid;
            let files = lock_files(conn, name)?;
            let is_open = has_open(pid, &files);
            if !is_open.map_err(|error| unsafe_to_end(pid, &error))? {
                return Err(unsafe_to_end(
                    pid,
                    &"it has no lock file of this semaphore open",
                ));
            }
            pidfd_send_signal(&self.process, Signal::TERM)
                .map_err(|error| unsafe_to_end(pid, &error))?;
            if wait_until(|| Ok(!holds(conn)?))? {
                Ok(())
            } else {
                Err(not_ended("process", pid))
            }
        }
    }

    fn unsafe_to_end(pid: i32, cause: &dyn std::fmt::Display) -> Fault {
        Fault::new(format_args!(
            "process {pid}, which holds the ticket, can't be ended: {cause}; it may be one of another container or user"
        ))
    }

    /// Device and inode of each lock file of a semaphore: `<database>-dbsemaphore/<id>/t<slot>`.
    fn lock_files(conn: &mut SqliteConnection, name: &str) -> Result<BTreeSet<(u64, u64)>, Fault> {
        let databases: Vec<Main> = sql_query("PRAGMA database_list").load(conn)?;
        let main = databases
            .into_iter()
            .find(|database| database.name == "main");
        let id: Id = sql_query("SELECT id FROM dbsemaphore_semaphore WHERE name = ?")
            .bind::<Text, _>(name)
            .get_result(conn)?;
        let folder = format!(
            "{}-dbsemaphore/{}",
            main.map_or(String::new(), |main| main.file),
            id.id
        );
        let mut files = BTreeSet::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b"t") {
                files.insert(id_of(&entry.path())?);
            }
        }
        Ok(files)
    }

    /// Whether a process has one of these files open.
    fn has_open(pid: i32, files: &BTreeSet<(u64, u64)>) -> io::Result<bool> {
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            // Closed meanwhile, or not a file of a name, if there is none.
            if id_of(&entry?.path()).is_ok_and(|id| files.contains(&id)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn id_of(path: &Path) -> io::Result<(u64, u64)> {
        let metadata = fs::metadata(path)?;
        Ok((metadata.dev(), metadata.ino()))
    }
}
