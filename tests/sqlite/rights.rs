//! Other users.

use super::{Database, children::start_by};
use crate::kit::{TestDatabase, eventually};
use diesel::connection::SimpleConnection;
use nix::unistd::Uid;
use std::{
    env, fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Command,
};

/// A user without any rights, if this one is root.
fn other_user(script: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .arg(env::current_exe().unwrap());
    if Uid::effective().is_root() {
        command.uid(65534).gid(65534);
    }
    command
}

const RUN: &str = "exec \"$0\" \"$@\"";

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn read_only_folder_is_an_error() {
    let database = Database::with("x", 1);
    // Without the files of WAL mode.
    database
        .connect()
        .batch_execute("PRAGMA journal_mode = DELETE")
        .unwrap();
    set_mode(database.folder.path(), 0o555);
    let mut process = start_by(&mut other_user(RUN), "hold", &database);
    let said = process.says();
    set_mode(database.folder.path(), 0o755);
    assert!(
        said.contains("app.db-dbsemaphore") && said.contains("Permission denied"),
        "{said}"
    );
}

#[test]
fn whoever_can_write_to_the_database_can_acquire() {
    let database = Database::with("x", 1);
    database
        .connect()
        .batch_execute("PRAGMA journal_mode = DELETE")
        .unwrap();
    set_mode(database.folder.path(), 0o777);
    set_mode(&database.path(), 0o666);
    // The files of this user, whose umask would hide them.
    let mut ours = Command::new("sh");
    ours.args(["-c", "umask 077; exec \"$0\" \"$@\""])
        .arg(env::current_exe().unwrap());
    let mut ours = start_by(&mut ours, "hold", &database);
    assert!(ours.says().starts_with("holds"));
    let mut others = start_by(&mut other_user(RUN), "wait", &database);
    eventually("the other user waits", || database.queue().len() == 1);
    ours.tell("release");
    let said = others.says();
    assert!(said.starts_with("holds"), "{said}");
    for file in ["1/t0", "1/join"] {
        let mode = fs::metadata(database.lock_folder().join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o666, "{file}");
    }
}
