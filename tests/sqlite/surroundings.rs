//! Databases and file systems in which tickets can't be held, or are in danger.

use super::{
    Database,
    children::{start, start_by},
};
use crate::kit::{TestDatabase, children::Process, eventually as until};
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};
use std::{
    env, fs,
    io::ErrorKind,
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

fn assert_unsupported<T>(outcome: sem::Result<T>, reason: &str) {
    match outcome.map(drop) {
        Err(Error::Unsupported { reason: found, .. }) => assert!(found.contains(reason), "{found}"),
        other => panic!("{other:?}"),
    }
}

fn assert_lost<T>(outcome: sem::Result<T>, reason: &str) {
    match outcome.map(drop) {
        Err(Error::TicketLost {
            source: Some(source),
            ..
        }) => {
            assert!(source.to_string().contains(reason), "{source}");
        }
        other => panic!("{other:?}"),
    }
}

fn connect(url: &str) -> SqliteConnection {
    SqliteConnection::establish(url).unwrap()
}

#[test]
fn databases_without_a_file_are_refused() {
    for url in [":memory:", "", "file:shared?mode=memory&cache=shared"] {
        let mut conn = connect(url);
        sem::run_migrations(&mut conn).unwrap();
        assert!(sem::ensure(&mut conn, "x", 1).unwrap());
        assert_unsupported(sem::holders(&mut conn, "x"), "in memory");
        assert_unsupported(SemaphoreTicket::require(conn, "x"), "in memory");
    }
}

#[test]
fn hard_links_are_refused_and_symbolic_links_followed() {
    let database = Database::with("x", 1);
    let other = database.folder.path().join("other.db");
    symlink(database.path(), &other).unwrap();
    let held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let through_link = SemaphoreTicket::acquire(connect(other.to_str().unwrap()), "x");
    assert!(through_link.unwrap().is_none());
    drop(held);
    fs::remove_file(&other).unwrap();
    fs::hard_link(database.path(), &other).unwrap();
    for path in [&other, &database.path()] {
        let refused = SemaphoreTicket::acquire(connect(path.to_str().unwrap()), "x");
        assert_unsupported(refused, "hard links");
    }
}

#[test]
fn renamed_database_is_noticed() {
    let database = Database::with("x", 1);
    let mut before = database.connect();
    assert_eq!(sem::list(&mut before).unwrap().len(), 1);
    let mut held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    held.check().unwrap();
    fs::rename(database.path(), database.folder.path().join("new.db")).unwrap();
    assert_unsupported(SemaphoreTicket::require(&mut before, "x"), "renamed");
    assert_lost(held.check(), "renamed");
    assert!(matches!(held.release(), Err(Error::TicketLost { .. })));
}

#[test]
fn deleted_lock_folder_loses_tickets_and_tokens_rise() {
    let database = Database::with("x", 1);
    let mut held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let watched = SemaphoreTicket::acquire(database.connect(), "x").unwrap();
    assert!(watched.is_none());
    fs::remove_dir_all(database.lock_folder()).unwrap();
    let next = SemaphoreTicket::require(database.connect(), "x").unwrap();
    assert_eq!(next.ticket().ids(), held.ticket().ids());
    assert!(next.ticket().fencing_token() > held.ticket().fencing_token());
    assert_lost(held.check(), "deleted or replaced");
    drop(held);
    assert!(
        SemaphoreTicket::acquire(database.connect(), "x")
            .unwrap()
            .is_none()
    );
}

#[test]
fn watch_reports_a_deleted_lock_folder() {
    let database = Database::with("x", 1);
    let held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let watched = held.watch(Duration::from_millis(5));
    assert!(!watched.wait_lost(Duration::from_millis(30)));
    fs::remove_dir_all(database.lock_folder()).unwrap();
    assert!(watched.wait_lost(Duration::from_secs(5)));
    assert!(matches!(watched.release(), Err(Error::TicketLost { .. })));
}

#[test]
fn transaction_does_not_commit_without_its_ticket() {
    let database = Database::with("x", 1);
    let conn = &mut database.connect();
    let done: sem::Result<()> = sem::transaction(conn, "x", |conn, _| {
        conn.batch_execute("CREATE TABLE t (a)")?;
        fs::remove_dir_all(database.lock_folder()).unwrap();
        Ok(())
    });
    assert_lost(done, "deleted or replaced");
    assert!(conn.batch_execute("SELECT * FROM t").is_err());
}

#[test]
fn waiters_join_again_after_their_folder_was_deleted() {
    let database = Database::with("x", 1);
    let _held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut waiters: Vec<Process> = (0..2).map(|_| start("wait", &database)).collect();
    until("both are in the queue", || database.queue().len() == 2);
    fs::remove_dir_all(database.lock_folder()).unwrap();
    // One of them acquires the ticket of the new folder.
    until("one waits in the new folder", || {
        database.queue().len() == 1
    });
    for waiter in &mut waiters {
        waiter.tell("end");
    }
    for waiter in &mut waiters {
        assert!(waiter.says().starts_with("holds x#"));
    }
}

#[test]
fn full_disk_is_an_error_and_holds_nothing() {
    let database = Database::with("x", 1);
    drop(SemaphoreTicket::require(database.connect(), "x").unwrap());
    let ticket = database.lock_folder().join("1/t0");
    fs::remove_file(&ticket).unwrap();
    // Each write to this device fails as on a full disk.
    symlink("/dev/full", &ticket).unwrap();
    match SemaphoreTicket::require(database.connect(), "x").map(drop) {
        Err(Error::LockFile { path, source, .. }) => {
            assert_eq!(path, ticket);
            assert_eq!(source.kind(), ErrorKind::StorageFull);
        }
        other => panic!("{other:?}"),
    }
    fs::remove_file(&ticket).unwrap();
    drop(SemaphoreTicket::require(database.connect(), "x").unwrap());
}

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
    until("the other user waits", || database.queue().len() == 1);
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

#[test]
fn busy_database_delays_acquisitions_and_then_fails() {
    let database = Database::with("x", 1);
    let mut other = database.connect();
    other
        .batch_execute("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE")
        .unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| SemaphoreTicket::require(database.connect(), "x").map(drop));
        thread::sleep(Duration::from_millis(100));
        assert!(!waiting.is_finished());
        other.batch_execute("COMMIT").unwrap();
        waiting.join().unwrap().unwrap();
    });
    other.batch_execute("BEGIN EXCLUSIVE").unwrap();
    let began = Instant::now();
    let error = SemaphoreTicket::require(database.connect(), "x")
        .map(drop)
        .unwrap_err();
    assert!(error.to_string().contains("WAL"), "{error}");
    assert!(
        (5..9).contains(&began.elapsed().as_secs()),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn writers_in_wal_mode_delay_changes_alone() {
    let database = Database::with("x", 1);
    let mut other = database.connect();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    drop(SemaphoreTicket::require(database.connect(), "x").unwrap());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| sem::ensure(&mut database.connect(), "y", 1));
        let within: sem::Result<()> = sem::transaction(&mut database.connect(), "z", |_, _| Ok(()));
        assert!(matches!(within, Err(Error::UnknownSemaphore { .. })));
        assert!(!waiting.is_finished());
        other.batch_execute("COMMIT").unwrap();
        assert!(waiting.join().unwrap().unwrap());
    });
}

#[test]
fn child_processes_do_not_inherit_tickets() {
    let database = Database::with("x", 1);
    let mut holder = start("hold with a child", &database);
    let sleeper: i32 = holder.says().parse().unwrap();
    assert!(holder.says().starts_with("holds"));
    assert!(
        SemaphoreTicket::acquire(database.connect(), "x")
            .unwrap()
            .is_none()
    );
    holder.kill();
    drop(
        SemaphoreTicket::require(
            database.connect(),
            Request::new("x").wait(Duration::from_secs(5)),
        )
        .unwrap(),
    );
    // It was running all the time.
    kill(Pid::from_raw(sleeper), Signal::SIGKILL).unwrap();
}

#[test]
fn forked_processes_hold_a_ticket_until_it_is_released() {
    let database = Database::with("x", 1);
    drop(SemaphoreTicket::require(database.connect(), "x").unwrap());
    // The shell locks the file of the ticket, and a process of its own has the same open file. This is what fork does.
    let ticket = database.lock_folder().join("1/t0");
    let script = "exec 9<>\"$0\"; flock 9; sleep 60 & echo $!; wait";
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script])
        .arg(ticket)
        .stdout(std::process::Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    let mut line = String::new();
    let stdout = shell.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    shell.kill().unwrap();
    shell.wait().unwrap();
    assert!(
        SemaphoreTicket::acquire(database.connect(), "x")
            .unwrap()
            .is_none()
    );
    kill(Pid::from_raw(line.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    drop(
        SemaphoreTicket::require(
            database.connect(),
            Request::new("x").wait(Duration::from_secs(5)),
        )
        .unwrap(),
    );
}
