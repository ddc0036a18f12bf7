//! A file that somebody has locked. The system releases the lock when the process ends, however it ends.
//!
//! The lock (`flock` on Unix, `LockFileEx` on Windows) belongs to the open file, not to the process. So threads exclude each other,
//! and closing the same file elsewhere in the process releases nothing.

use fs4::{FileExt, TryLockError};
use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    path::{Path, PathBuf},
    process,
};

/// A file that is locked until this is dropped.
#[derive(Debug)]
pub(super) struct LockFile {
    file: File,
    id: FileId,
    path: PathBuf,
    /// Whose lock it is. A fork of that process has the same open file.
    pid: u32,
}

impl LockFile {
    /// Locks an open file. `None` if somebody else has locked it, or if it is not the file of that path any more.
    pub(super) fn try_lock(file: File, path: &Path) -> io::Result<Option<Self>> {
        if !is_ok(FileExt::try_lock(&file))? {
            return Ok(None);
        }
        let locked = Self::new(file, path)?;
        // Others may have locked a new file of that path already.
        Ok(locked.is_in_place()?.then_some(locked))
    }

    /// Waits for the lock. `None` if it is not the file of that path any more.
    pub(super) fn lock(file: File, path: &Path) -> io::Result<Option<Self>> {
        restart(|| FileExt::lock(&file))?;
        let locked = Self::new(file, path)?;
        Ok(locked.is_in_place()?.then_some(locked))
    }

    fn new(file: File, path: &Path) -> io::Result<Self> {
        let id = FileId::of(&file.metadata()?);
        let path = path.to_owned();
        Ok(Self {
            file,
            id,
            path,
            pid: process::id(),
        })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this process has locked it, and not one of which this is a fork.
    pub(super) fn is_of_this_process(&self) -> bool {
        self.pid == process::id()
    }

    /// Gives the file another name.
    pub(super) fn rename(&mut self, path: PathBuf) -> io::Result<()> {
        std::fs::rename(&self.path, &path)?;
        self.path = path;
        Ok(())
    }

    /// Whether others who open the path get this file. Not the case after somebody has deleted or replaced it.
    pub(super) fn is_in_place(&self) -> io::Result<bool> {
        Ok(FileId::at(&self.path)? == Some(self.id))
    }
}

/// Unlocks explicitly: a child process may have inherited the open file, and would keep the lock. A fork only closes the file.
impl Drop for LockFile {
    fn drop(&mut self) {
        if !self.is_of_this_process() {
            return;
        }
        if let Err(error) = FileExt::unlock(&self.file) {
            log::debug!("{}: {error}", self.path.display());
        }
    }
}

/// Returns whether somebody has locked the file. If nobody has, others can't lock it for an instant, unless they call this, too.
pub(super) fn is_locked(file: &File) -> io::Result<bool> {
    let shared = is_ok(FileExt::try_lock_shared(file))?;
    if shared {
        FileExt::unlock(file)?;
    }
    Ok(!shared)
}

/// Blocks while somebody has locked the file.
pub(super) fn wait_until_unlocked(file: &File) -> io::Result<()> {
    restart(|| FileExt::lock_shared(file))?;
    FileExt::unlock(file)
}

fn is_ok(locked: Result<(), TryLockError>) -> io::Result<bool> {
    match locked {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Repeats what a signal has interrupted.
fn restart<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// What tells a file from its successor with the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId(
    #[cfg(unix)] (u64, u64),
    #[cfg(not(unix))] Option<std::time::SystemTime>,
);

impl FileId {
    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self((metadata.dev(), metadata.ino()))
    }

    /// On Windows, nobody can delete or rename the file while it is open: see [`options`].
    #[cfg(not(unix))]
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self(metadata.created().ok())
    }

    /// `None` if there is no file.
    pub(super) fn at(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self::of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// How lock files are opened.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(windows)]
    {
        use std::os::windows::fs::OpenOptionsExt;
        const FILE_SHARE_READ_AND_WRITE: u32 = 3;
        options.share_mode(FILE_SHARE_READ_AND_WRITE);
    }
    options
}
