//! Servers of each backend do what tests ask of them, and end with the process that asked for them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use diesel::{Connection, connection::SimpleConnection};
use stand::{Backend, Stop, database::Database, eventually, server::Server};
use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

macro_rules! on_each_backend {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn postgres() {
                super::$name::<stand::postgres::Postgres>("postgres");
            }

            #[cfg(feature = "mysql")]
            #[test]
            fn mysql() {
                super::$name::<stand::mysql::Mysql>("mysql");
            }
        }
    )+};
}

on_each_backend!(
    a_server_keeps_its_data_however_it_is_stopped,
    accounts_reach_their_database_and_end_with_it,
    a_database_is_dropped_with_its_sessions,
    a_session_can_be_killed_and_its_statement_cancelled,
    a_server_ends_with_its_process,
);

fn a_server_keeps_its_data_however_it_is_stopped<B: Backend>(_: &str) {
    let mut server = Server::<B>::start_with(&[]);
    let database = server.create_database();
    database
        .connect()
        .batch_execute("CREATE TABLE kept (id int)")
        .unwrap();
    for how in [Stop::Fast, Stop::Immediate, Stop::Kill] {
        let mut conn = database.connect();
        server.restart(how);
        assert!(conn.batch_execute("SELECT 1").is_err(), "{how:?}");
        database
            .connect()
            .batch_execute("INSERT INTO kept VALUES (1)")
            .unwrap();
    }
    server.pause();
    server.resume();
    database.connect();
}

fn accounts_reach_their_database_and_end_with_it<B: Backend>(_: &str) {
    let mut database = Database::<B>::create();
    let account = database.create_role("visitor");
    let url = database.url_as(&account);
    let grant = match B::SCHEME {
        "mysql" => format!("GRANT SELECT ON {}.* TO {account}", database.name()),
        _ => format!("GRANT USAGE ON SCHEMA public TO {account}"),
    };
    database.connect().batch_execute(&grant).unwrap();
    let mut conn = database.connect_as(&account);
    conn.batch_execute("SELECT 1").unwrap();
    // PostgreSQL 14 lets everybody create tables.
    conn.batch_execute("CREATE SCHEMA forbidden").unwrap_err();
    drop(database);
    assert!(conn.batch_execute("SELECT 1").is_err());
    assert!(B::Connection::establish(&url).is_err());
}

fn a_database_is_dropped_with_its_sessions<B: Backend>(_: &str) {
    let database = Database::<B>::create();
    let mut conn = database.connect();
    conn.batch_execute("CREATE TABLE read_by (id int)").unwrap();
    conn.batch_execute("BEGIN; SELECT * FROM read_by").unwrap();
    let url = database.url();
    drop(database);
    assert!(conn.batch_execute("SELECT 1").is_err());
    assert!(B::Connection::establish(&url).is_err());
}

fn a_session_can_be_killed_and_its_statement_cancelled<B: Backend>(_: &str) {
    let database = Database::<B>::create();
    let (mut conn, mut other) = (database.connect(), database.connect());
    let id = B::session_id(&mut conn);
    assert_ne!(id, B::session_id(&mut other));
    let sleep = match B::SCHEME {
        // Alone, a cancelled SLEEP is no error.
        "mysql" => "SELECT count(*) FROM information_schema.tables WHERE SLEEP(3600)",
        _ => "SELECT pg_sleep(3600)",
    };
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| conn.batch_execute(sleep).is_err());
        eventually("the statement ends", || {
            B::cancel_statement(&mut other, id);
            sleeper.is_finished()
        });
        assert!(sleeper.join().unwrap());
    });
    conn.batch_execute("SELECT 1").unwrap();
    B::kill_session(&mut other, id);
    eventually("the session ends", || {
        conn.batch_execute("SELECT 1").is_err()
    });
}

const CHILD: &str = "STAND_TEST_CHILD";

/// This test again, as a process of its own: it starts a server and tells its folder and its process id.
fn a_server_ends_with_its_process<B: Backend>(name: &str) {
    if let Ok(end) = env::var(CHILD) {
        let server = Server::<B>::start();
        println!("child: {} {}", server.pid(), server.url());
        match end.as_str() {
            "panic" => panic!("on purpose"),
            "leak" => std::mem::forget(server),
            _ => drop(std::io::stdin().read_line(&mut String::new())),
        }
        return;
    }
    for end in ["drop", "panic", "leak", "interrupt", "kill", "kill early"] {
        let mut child = start_child(name, end);
        if end == "kill early" {
            // While it creates the data.
            let folders = || folders_of(child.id());
            eventually("there is a folder", || !folders().is_empty());
            let folder = folders().remove(0);
            child.kill().unwrap();
            eventually("the folder is gone", || !Path::new(&folder).exists());
            continue;
        }
        let (pid, folder) = server_of(&mut child);
        match end {
            "interrupt" => signal_group(&child),
            "kill" => child.kill().unwrap(),
            _ => drop(child.stdin.take()),
        }
        child.wait().unwrap();
        let is_there =
            || Path::new(&format!("/proc/{pid}")).exists() || Path::new(&folder).exists();
        eventually("server and folder are gone", || !is_there());
    }
}

/// In a process group of its own, as a shell starts it.
fn start_child(name: &str, end: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg(format!("a_server_ends_with_its_process::{name}"))
        .env(CHILD, end)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The process and the folder of the server, once it is ready.
fn server_of(child: &mut Child) -> (String, String) {
    let told = BufReader::new(child.stdout.as_mut().unwrap())
        .lines()
        .find_map(|line| Some(line.unwrap().split_once("child: ")?.1.to_owned()))
        .unwrap();
    let (pid, url) = told.split_once(' ').unwrap();
    (pid.to_owned(), folder_in(url).unwrap())
}

/// The folder that is an argument of this process' children: of the janitor, and of what creates the data.
fn folders_of(process: u32) -> Vec<String> {
    let parent = format!("PPid:\t{process}\n");
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|entry| fs::read_to_string(entry.join("status")).is_ok_and(|s| s.contains(&parent)))
        .filter_map(|entry| folder_in(&fs::read_to_string(entry.join("cmdline")).ok()?))
        .collect()
}

fn folder_in(text: &str) -> Option<String> {
    let folder = &text[text.find("/tmp/dbsemaphore-")?..];
    let end = folder["/tmp/".len()..]
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .map_or(folder.len(), |end| end + "/tmp/".len());
    Some(folder[..end].to_owned())
}

fn signal_group(child: &Child) {
    let group = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGINT).unwrap();
}
