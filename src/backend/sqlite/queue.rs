//! The queue of a semaphore. Each waiter has locked a file, whose number says when it came. It waits until the file before its own
//! is unlocked, because that waiter has left or has died. The head of the queue is the one with no locked file before its own.
//!
//! Numbers increase, and none is used twice. So a file that nobody has locked can be deleted by anybody.

use super::{
    errors::named,
    folder::Folder,
    lock_file::{LockFile, is_locked, options},
    record::Record,
    waits::Wait,
};
use crate::{Error, Result};
use std::{
    fs::{self, File},
    io::{self, ErrorKind::NotFound},
    path::PathBuf,
    time::Duration,
};

/// How long a waiter pauses while another one joins the queue, which takes some 100 us.
const JOIN_PAUSE: Duration = Duration::from_micros(100);

/// After which time a waiter looks at the queue again, though the one before it has not left. Somebody may have deleted the
/// folder.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A position in the queue. Dropping it leaves the queue.
pub(super) struct Position {
    file: LockFile,
    number: i64,
    folder: Folder,
}

impl Position {
    /// Joins the queue at its end. `None` if the time is over.
    pub(super) fn join(folder: &Folder, record: &Record, wait: &Wait) -> Result<Option<Self>> {
        let joining = loop {
            if let Some(joining) = folder.try_lock(folder.join())? {
                break joining;
            }
            if wait.is_over() {
                return Ok(None);
            }
            wait.sleep(JOIN_PAUSE)?;
        };
        let next = folder.path().join("next");
        let _ = fs::remove_file(&next);
        // The file has its record and its lock before others can see it in the queue.
        let Some(file) = folder.try_lock(next.clone())? else {
            return Err(deleted(next));
        };
        let waiting = folder.waiting();
        named(&waiting, folder.open(&waiting))?;
        let path = folder.queue();
        let number = named(&path, number_after(folder, joining.file()))?;
        let path = path.join(number.to_string());
        let mut position = Self {
            file,
            number,
            folder: folder.clone(),
        };
        named(&path, record.write(position.file.file()))?;
        named(&path, position.file.rename(path.clone()))?;
        Ok(Some(position))
    }

    /// Waits until this is the head of the queue. Returns `false` if the time is over.
    pub(super) fn wait_until_head(&self, wait: &Wait) -> Result<bool> {
        loop {
            self.check()?;
            let Some((file, path)) = self.predecessor()? else {
                return Ok(true);
            };
            if wait.is_over() {
                return Ok(false);
            }
            wait.sleep_until_unlocked(file, &path, LOOK_AGAIN)?;
        }
    }

    /// Fails if others do not see this waiter, because somebody has deleted the folder or renamed the database. Whoever finds the
    /// queue empty deletes `waiting`, by its path: after it has locked the old folder's `join`, this may be the new folder's
    /// `waiting`.
    pub(super) fn check(&self) -> Result<()> {
        let path = self.file.path();
        if !named(path, self.file.is_in_place())? {
            return Err(deleted(path.to_owned()));
        }
        let waiting = self.folder.waiting();
        if !named(&waiting, fs::exists(&waiting))? {
            return Err(deleted(waiting));
        }
        self.folder.database().check_in_place()
    }

    fn predecessor(&self) -> Result<Option<(File, PathBuf)>> {
        let numbers = named(&self.folder.queue(), numbers(&self.folder))?;
        for number in numbers
            .into_iter()
            .rev()
            .filter(|number| *number < self.number)
        {
            let path = self.folder.queue().join(number.to_string());
            if let Some(file) = named(&path, waiter(&path))? {
                return Ok(Some((file, path)));
            }
        }
        Ok(None)
    }
}

impl Drop for Position {
    fn drop(&mut self) {
        // Before the file is unlocked. If the folder was deleted, this may be the file of somebody else.
        if matches!(self.file.is_in_place(), Ok(true)) {
            let _ = fs::remove_file(self.file.path());
            delete_waiting(&self.folder);
        }
    }
}

fn deleted(path: PathBuf) -> Error {
    Error::LockFile {
        path,
        source: NotFound.into(),
    }
}

/// Returns whether somebody is in the queue. Takes one system call if nobody is: `waiting` exists while somebody is there.
pub(super) fn has_waiter(folder: &Folder) -> Result<bool> {
    let path = folder.waiting();
    if !named(&path, fs::exists(&path))? {
        return Ok(false);
    }
    let has_waiter = !waiters(folder, 1)?.is_empty();
    if !has_waiter {
        delete_waiting(folder);
    }
    Ok(has_waiter)
}

/// Deletes `waiting` if the queue is empty, and nobody can join it meanwhile.
fn delete_waiting(folder: &Folder) {
    let is_empty = || matches!(numbers(folder), Ok(numbers) if numbers.is_empty());
    if !is_empty() {
        return;
    }
    let join = folder.join();
    // Does not create it: somebody may have deleted the folder.
    let joining = options().open(&join);
    let joining = joining.and_then(|file| LockFile::try_lock(file, &join));
    if matches!(joining, Ok(Some(_))) && is_empty() {
        let _ = fs::remove_file(folder.waiting());
    }
}

/// The first waiters in the queue.
pub(super) fn waiters(folder: &Folder, count: usize) -> Result<Vec<File>> {
    let mut waiters = Vec::new();
    for number in named(&folder.queue(), numbers(folder))? {
        if waiters.len() == count {
            break;
        }
        let path = folder.queue().join(number.to_string());
        waiters.extend(named(&path, waiter(&path))?);
    }
    Ok(waiters)
}

/// The file of a waiter. `None` if it has left. Deletes the file of one that has died.
fn waiter(path: &PathBuf) -> io::Result<Option<File>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == NotFound => return Ok(None),
        opened => opened?,
    };
    if is_locked(&file)? {
        return Ok(Some(file));
    }
    let _ = fs::remove_file(path);
    Ok(None)
}

/// The numbers in the queue, in ascending order.
fn numbers(folder: &Folder) -> io::Result<Vec<i64>> {
    let entries = match fs::read_dir(folder.queue()) {
        Err(error) if error.kind() == NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        if let Some(name) = entry?.file_name().to_str() {
            numbers.extend(name.parse::<i64>());
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The next number. `joining` has the last one, and is locked.
fn number_after(folder: &Folder, joining: &File) -> io::Result<i64> {
    let last = Record::read(joining)?.map_or(0, |record| record.number);
    let last = numbers(folder)?
        .last()
        .map_or(last, |number| last.max(*number));
    Record::new(last + 1, None).write(joining)?;
    Ok(last + 1)
}
