//! The folders of the lock files, beside the database: `<database>-dbsemaphore/<id of the semaphore>/`.
//!
//! * `t<slot>`: a ticket.
//! * `queue/<number>`: a waiter. Numbers increase with the time of arrival.
//! * `waiting`: exists while somebody is in the queue.
//! * `next`: the file of the waiter that joins the queue; `join`: locked while it does.
//! * `resize`: locked by `make` and `destroy`.

use super::{
    busy,
    errors::{named, renamed, unsupported},
    lock_file::{FileId, LockFile, is_locked, options},
    tables,
};
use crate::{Error, Result};
use diesel::SqliteConnection;
use std::{
    fs::{self, File, Metadata},
    io::{
        self,
        ErrorKind::{AlreadyExists, NotFound},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// The file of a database.
#[derive(Clone, Debug)]
pub(super) struct Database {
    path: PathBuf,
    metadata: Metadata,
}

/// The folder of a semaphore.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
    database: Database,
}

impl Database {
    pub(super) fn of(conn: &mut SqliteConnection) -> Result<Self> {
        let path = busy::retry(|| tables::database_path(conn))?;
        let Some(path) = path else {
            return Err(unsupported(
                "tickets are files beside the database, and this database is temporary or in memory",
            ));
        };
        match fs::metadata(&path) {
            Ok(metadata) if links(&metadata) > 1 => Err(unsupported(format!(
                "the database {} has other hard links, which would have tickets of their own",
                path.display()
            ))),
            Ok(metadata) => Ok(Self { path, metadata }),
            Err(error) if error.kind() == NotFound => Err(renamed(&path)),
            Err(source) => Err(Error::LockFile { path, source }),
        }
    }

    /// Whether the database still has its name.
    pub(super) fn is_in_place(&self) -> io::Result<bool> {
        Ok(FileId::at(&self.path)? == Some(FileId::of(&self.metadata)))
    }

    /// Fails if the database has lost its name: other connections have tickets of their own under the new one.
    pub(super) fn check_in_place(&self) -> Result<()> {
        if named(&self.path, self.is_in_place())? {
            return Ok(());
        }
        Err(renamed(&self.path))
    }

    pub(super) fn folder(self, semaphore_id: i64) -> Folder {
        Folder {
            path: self.root().join(semaphore_id.to_string()),
            database: self,
        }
    }

    pub(super) fn root(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push("-dbsemaphore");
        path.into()
    }

    /// Gives a file the permissions and the group of the database, as SQLite does for its own files: then whoever can write to
    /// the database can acquire tickets.
    #[cfg(unix)]
    fn share(&self, path: &Path, is_folder: bool) -> io::Result<()> {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
        let mut mode = self.metadata.mode() & 0o666;
        if is_folder {
            mode |= (mode & 0o444) >> 2;
        }
        let file = fs::metadata(path)?;
        for (owner, group) in [
            (None, Some(self.metadata.gid())),
            (Some(self.metadata.uid()), None),
        ] {
            let differs = owner.is_some_and(|owner| owner != file.uid())
                || group.is_some_and(|group| group != file.gid());
            if differs {
                // Only root may change the owner, and only members of the group the group.
                let _ = chown(path, owner, group);
            }
        }
        if file.mode() & 0o777 != mode {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    #[cfg(not(unix))]
    fn share(&self, _: &Path, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Ok(()) => self.share(path, true),
            Err(error) if error.kind() == AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(unix)]
fn links(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(metadata)
}

#[cfg(not(unix))]
fn links(_: &Metadata) -> u64 {
    1
}

impl Folder {
    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn queue(&self) -> PathBuf {
        self.path.join("queue")
    }

    pub(super) fn waiting(&self) -> PathBuf {
        self.path.join("waiting")
    }

    pub(super) fn join(&self) -> PathBuf {
        self.path.join("join")
    }

    pub(super) fn ticket(&self, slot: u32) -> PathBuf {
        self.path.join(format!("t{slot}"))
    }

    /// Locks the file of a ticket. `None` if somebody holds it.
    pub(super) fn try_ticket(&self, slot: u32) -> Result<Option<LockFile>> {
        self.try_lock(self.ticket(slot))
    }

    /// Whether nobody holds this ticket. Does not create its file.
    pub(super) fn is_available(&self, slot: u32) -> Result<bool> {
        let path = self.ticket(slot);
        match File::open(&path) {
            Err(error) if error.kind() == NotFound => Ok(true),
            file => named(&path, file.and_then(|file| is_locked(&file))).map(|locked| !locked),
        }
    }

    /// `None` if somebody has locked it.
    pub(super) fn try_lock(&self, path: PathBuf) -> Result<Option<LockFile>> {
        let file = self.open(&path);
        named(&path, file.and_then(|file| LockFile::try_lock(file, &path)))
    }

    /// Waits for the lock.
    pub(super) fn lock(&self, path: PathBuf) -> Result<LockFile> {
        loop {
            let file = self.open(&path);
            let locked = file.and_then(|file| LockFile::lock(file, &path));
            if let Some(locked) = named(&path, locked)? {
                return Ok(locked);
            }
        }
    }

    /// Opens a lock file. Creates it if it is missing.
    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        match options().open(path) {
            Err(error) if error.kind() == NotFound => {}
            opened => return opened,
        }
        for folder in [&self.database.root(), &self.path, &self.queue()] {
            self.database.create_folder(folder)?;
        }
        match options().create_new(true).open(path) {
            Ok(file) => self.database.share(path, false).map(|()| file),
            Err(error) if error.kind() == AlreadyExists => options().open(path),
            Err(error) => Err(error),
        }
    }

    /// Deletes the lock files of a semaphore that was destroyed.
    pub(super) fn delete(&self) {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != NotFound => {
                log::debug!(
                    "lock files of a destroyed semaphore: {}: {error}",
                    self.path.display()
                );
            }
            _ => {}
        }
    }
}

/// Repeats `work` if somebody has deleted the folder meanwhile, as `destroy` does. A wait can be hit any number of times. If all
/// attempts fail at once for 5 s, something else is wrong with the folder, and that is the error.
pub(super) fn repeat_if_deleted<T>(mut work: impl FnMut() -> Result<T>) -> Result<T> {
    const AT_ONCE: Duration = Duration::from_millis(10);
    const LIMIT: Duration = Duration::from_secs(5);
    let mut first = Instant::now();
    loop {
        let began = Instant::now();
        let done = work();
        if began.elapsed() > AT_ONCE {
            first = Instant::now();
        }
        match done {
            Err(Error::LockFile { source, .. })
                if source.kind() == NotFound && first.elapsed() < LIMIT => {}
            done => return done,
        }
        thread::sleep(Duration::from_millis(1));
    }
}
