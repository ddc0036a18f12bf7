//! A file system of 1 MB, which is full. Only a process of its own sees it, so that it ends with that process.

use super::{Database, children::start_by};
use crate::kit::{
    TestDatabase,
    process::{listen, say},
};
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use std::{
    fs::{self, File},
    io::{ErrorKind::StorageFull, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// Mounts it over a folder, in a namespace that root, or any user where the system allows it, can create.
fn mounting(folder: &Path) -> Command {
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=1m,nr_inodes=60 none \"$0\" && exec \"$@\"";
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(folder);
    command
}

#[test]
fn requests_fail_and_hold_nothing() {
    let database = Database::create();
    let mut attempt = mounting(database.folder.path());
    let attempt = attempt.arg("true").stderr(Stdio::null()).status();
    if !attempt.is_ok_and(|status| status.success()) {
        println!("skipped: this user can't mount a file system");
        return;
    }
    let mut command = mounting(database.folder.path());
    command.arg(std::env::current_exe().unwrap());
    let mut process = start_by(&mut command, "full disk", &database);
    for expected in ["blocks", "files", "done"] {
        assert_eq!(process.says(), expected);
    }
    process.tell("end");
    process.finish();
}

/// What is left of the file system, in files of this folder.
struct Rest(PathBuf);

impl Rest {
    /// Leaves no block.
    fn blocks(folder: &Path) -> Self {
        let rest = Self::folder(folder);
        let mut file = File::create(rest.0.join("rest")).unwrap();
        for length in [4096, 1] {
            while file.write_all(&vec![b'x'; length]).is_ok() {}
        }
        rest
    }

    /// Leaves no file.
    fn files(folder: &Path) -> Self {
        let rest = Self::folder(folder);
        let create = |number: &u32| File::create(rest.0.join(number.to_string())).is_ok();
        assert!((0..).take_while(create).count() > 0);
        rest
    }

    fn folder(folder: &Path) -> Self {
        let path = folder.join("rest");
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// In the process that sees it.
pub(super) fn child(url: &str) {
    let folder = Path::new(url).parent().unwrap();
    let connect = || SqliteConnection::establish(url).unwrap();
    let conn = &mut connect();
    conn.batch_execute("PRAGMA journal_mode = WAL").unwrap();
    sem::run_migrations(conn).unwrap();
    for word in ["blocks", "files"] {
        let [old, new, queue] = ["old", "new", "queue"].map(|name| format!("{name} {word}"));
        for name in [&old, &new, &queue] {
            sem::make(conn, name, 2).unwrap();
        }
        let all = |name| Request::new(name).tickets(2);
        let mut held = SemaphoreTicket::require(connect(), all(&old)).unwrap();
        let _head = SemaphoreTicket::require(connect(), all(&queue)).unwrap();
        let rest = match word {
            "blocks" => Rest::blocks(folder),
            _ => Rest::files(folder),
        };
        // What is held remains held, and its files can be used again.
        held.check().unwrap();
        let refused = SemaphoreTicket::acquire(connect(), &*old).unwrap();
        assert!(refused.is_none());
        held.release().unwrap();
        let held = SemaphoreTicket::require(connect(), all(&old)).unwrap();
        let waiting = Request::new(&queue).wait(Duration::from_secs(60));
        for request in [Request::new(&new), all(&new), waiting] {
            assert_full(SemaphoreTicket::acquire(connect(), request), folder);
        }
        held.release().unwrap();
        drop(rest);
        assert!(sem::waiters(conn, &queue).unwrap().is_empty());
        assert!(sem::holders(conn, &new).unwrap().is_empty());
        drop(SemaphoreTicket::require(connect(), all(&new)).unwrap());
        say(word);
    }
    say("done");
    listen();
}

fn assert_full<T>(outcome: sem::Result<T>, folder: &Path) {
    match outcome.map(drop) {
        Err(Error::LockFile { path, source, .. }) => {
            assert!(
                path.starts_with(folder.join("app.db-dbsemaphore")),
                "{path:?}"
            );
            assert_eq!(source.kind(), StorageFull, "{path:?}");
        }
        other => panic!("{other:?}"),
    }
}
