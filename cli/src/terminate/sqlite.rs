//! Ends a process that holds a ticket of SQLite. On Linux only: elsewhere, nothing tells whether a process has locked a file.
//!
//! The lock file has the number of the process, which another process may have in the meantime, or in another container. So
//! the process gets a signal only if it has a lock file of this semaphore open. A descriptor of the process makes sure that
//! no later process with that number gets the signal.

use crate::fault::Fault;
use diesel::SqliteConnection;
use diesel_dbsemaphore::Holder;

#[cfg(target_os = "linux")]
pub(super) use linux::Proof;

#[cfg(not(target_os = "linux"))]
pub(super) struct Proof;

#[cfg(not(target_os = "linux"))]
impl Proof {
    pub(super) fn find(_: &Holder) -> Result<Self, Fault> {
        Err(Fault::new(
            "holders of SQLite can be ended on Linux only: end the process that `dbsemaphore show` shows",
        ))
    }

    pub(super) fn end(&self, _: &mut SqliteConnection, _: &str, _: i64) -> Result<(), Fault> {
        Ok(())
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{Fault, Holder, SqliteConnection};
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
        time::{Duration, SystemTime},
    };

    /// How exactly the start of a hold is known: by the clock of the system, which is read twice.
    const CLOCK_SLACK: Duration = Duration::from_secs(1);

    pub(in crate::terminate) struct Proof {
        pid: i32,
        process: OwnedFd,
        since: Option<SystemTime>,
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
            let pid = holder.session.pid;
            let pid = pid.ok_or_else(|| not_found(holder.ticket))?;
            let named = Pid::from_raw(pid).ok_or_else(|| not_found(holder.ticket))?;
            let process = pidfd_open(named, PidfdFlags::empty())
                .map_err(|error| unsafe_to_end(pid, &error))?;
            Ok(Self {
                pid,
                process,
                since: since(holder),
            })
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
                Ok(now.is_some_and(|now| self.is_of(&now)))
            };
            if !holds(conn)? {
                return Err(not_held(name, ticket));
            }
            let files = lock_files(conn, name)?;
            let is_open = has_open(self.pid, &files);
            if !is_open.map_err(|error| unsafe_to_end(self.pid, &error))? {
                return Err(unsafe_to_end(
                    self.pid,
                    &"it has no lock file of this semaphore open",
                ));
            }
            pidfd_send_signal(&self.process, Signal::TERM)
                .map_err(|error| unsafe_to_end(self.pid, &error))?;
            if wait_until(|| Ok(!holds(conn)?))? {
                Ok(())
            } else {
                Err(not_ended("process", self.pid))
            }
        }
    }

    impl Proof {
        fn is_of(&self, holder: &Holder) -> bool {
            let is_near = |(before, now): (SystemTime, SystemTime)| {
                let between = now.duration_since(before);
                between.unwrap_or_else(|error| error.duration()) < CLOCK_SLACK
            };
            holder.session.pid == Some(self.pid)
                && self.since.zip(since(holder)).is_none_or(is_near)
        }
    }

    fn since(holder: &Holder) -> Option<SystemTime> {
        SystemTime::now().checked_sub(holder.held_for?)
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
