//! The tickets that a guard holds.

use super::{errors::failure, folder::Database, lock_file::LockFile, record::Record};
use crate::backend::hold::HeldFiles;
use diesel::result::QueryResult;
use std::{cell::Cell, io};

thread_local! {
    /// A ticket that this thread has released, of any semaphore.
    static RELEASED_LAST: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The ticket that this thread should try first: probably it is still available. If most tickets are held, that saves a search.
pub(super) fn released_last() -> Option<u32> {
    RELEASED_LAST.try_with(Cell::get).ok().flatten()
}

#[derive(Debug)]
pub(super) struct Held {
    /// In the order of `files`.
    pub(super) slots: Vec<u32>,
    pub(super) files: Vec<LockFile>,
    pub(super) record: Record,
    pub(super) database: Database,
}

impl Held {
    fn is_of_this_process(&self) -> bool {
        self.files.iter().all(LockFile::is_of_this_process)
    }
}

impl HeldFiles for Held {
    fn check(&self) -> QueryResult<()> {
        if !self.is_of_this_process() {
            return Err(failure(format!(
                "process {} has acquired the tickets, of which this one is a fork",
                self.record.pid
            )));
        }
        let failed = |error: io::Error| failure(error.to_string());
        for file in &self.files {
            if !file.is_in_place().map_err(failed)? {
                let path = file.path().display();
                return Err(failure(format!("{path} was deleted or replaced")));
            }
        }
        if !self.database.is_in_place().map_err(failed)? {
            return Err(failure("the database was deleted, renamed or replaced"));
        }
        Ok(())
    }
}

/// Before the files are unlocked, their records say so.
impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_of_this_process() {
            return;
        }
        self.record.in_use = false;
        for file in &self.files {
            if let Err(error) = self.record.write(file.file()) {
                log::debug!("{}: {error}", file.path().display());
            }
        }
        let _ = RELEASED_LAST.try_with(|slot| slot.set(self.slots.first().copied()));
    }
}
