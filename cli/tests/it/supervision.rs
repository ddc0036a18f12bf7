//! The command is never left alone: whatever happens to the ticket or to the tool.

use crate::tool::{
    Running, TOOL, copy_file, database_with, is_alive, send, state, tool, until_held, until_waiting,
};
use diesel::{RunQueryDsl, sql_query};
use diesel_dbsemaphore::SemaphoreTicket;
use nix::{sys::signal::Signal, unistd::Uid};
use stand::{Bouncer, Database, PoolMode, eventually};
use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// Takes the ticket of whoever has it.
fn lose(database: &Database) {
    let ended = sql_query("SELECT pg_terminate_backend(pid) FROM dbsemaphore.holders('x')")
        .execute(&mut database.connect())
        .unwrap();
    assert_eq!(ended, 1);
}

/// The tool, its command, and what that has started. All are killed when dropped.
struct Family {
    tool: Running,
    command: u32,
    child: u32,
}

impl Family {
    /// The child is this script for a shell, which prints a line once it has begun.
    fn start(database: &Database, words: &[&str], child: &str) -> Self {
        let mut tool = tool(database);
        tool.args(["run", "x", "--grace", "1500ms"])
            .args(words)
            .args(["--", "sh", "-c", "sh -c \"$CHILD\" & wait"])
            .env("CHILD", child)
            .stdout(Stdio::piped());
        let mut tool = Running::start(&mut tool);
        let line = tool.line();
        let (command, child) = line.split_once(' ').unwrap();
        Self {
            command: command.parse().unwrap(),
            child: child.parse().unwrap(),
            tool,
        }
    }

    fn alive(&self) -> (bool, bool) {
        (is_alive(self.command), is_alive(self.child))
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        for pid in [self.command, self.child] {
            if is_alive(pid) {
                send(pid, Signal::SIGKILL as i32);
            }
        }
    }
}

const SLEEPS: &str = "echo $PPID $$; exec sleep 1000 >/dev/null";

#[test]
fn a_loss_reaches_the_whole_group_only_if_told_so() {
    let database = database_with(1);
    let mut family = Family::start(&database, &[], SLEEPS);
    lose(&database);
    assert_eq!(family.tool.end(), 76);
    assert_eq!(family.alive(), (false, true));

    let mut family = Family::start(&database, &["--process-group"], SLEEPS);
    lose(&database);
    assert_eq!(family.tool.end(), 76);
    assert_eq!(family.alive(), (false, false));
}

/// The command ends at once, and what it has started takes its time, or doesn't want to.
#[test]
fn a_group_has_the_time_of_grace_and_no_more() {
    let database = database_with(1);
    let slow =
        "trap 'sleep 0.3; echo cleared; exit' TERM; echo $PPID $$; while :; do sleep 0.02; done";
    let mut family = Family::start(&database, &["--process-group"], slow);
    lose(&database);
    assert_eq!(family.tool.line(), "cleared");
    assert_eq!(family.tool.end(), 76);
    assert_eq!(family.alive(), (false, false));

    let deaf = "trap '' TERM; echo $PPID $$; while :; do sleep 0.02; done";
    let mut family = Family::start(&database, &["--process-group"], deaf);
    lose(&database);
    assert_eq!(family.tool.end(), 76);
    eventually("SIGKILL takes effect", || family.alive() == (false, false));
}

#[test]
fn signals_reach_the_whole_group() {
    let database = database_with(1);
    for words in [
        &["--process-group"][..],
        &["--process-group", "--kill-with-parent"],
    ] {
        let mut family = Family::start(&database, words, SLEEPS);
        family.tool.signal(Signal::SIGTERM);
        assert_eq!(family.tool.end(), 143);
        eventually("the rest of the group ends", || {
            family.alive() == (false, false)
        });
        until_held(&database, 0);
    }
}

#[test]
fn a_stopped_command_is_ended_as_well() {
    let database = database_with(1);
    let mut tool = tool(&database);
    tool.args(["run", "x", "--grace", "1h", "--", "sh", "-c"])
        .arg("echo $$; exec sleep 1000")
        .stdout(Stdio::piped());
    let mut tool = Running::start(&mut tool);
    let command = tool.line().parse().unwrap();
    send(command, Signal::SIGSTOP as i32);
    eventually("it is stopped", || state(command) == Some('T'));
    lose(&database);
    assert_eq!(tool.end(), 76);
    assert!(!is_alive(command));
}

#[test]
fn job_control_stops_and_continues_both() {
    let database = database_with(1);
    for words in [&[][..], &["--process-group"]] {
        let mut tool = tool(&database);
        tool.args(["run", "x"]).args(words);
        tool.args(["--", "sh", "-c", "echo $$; exec cat"])
            // A group that has its parent outside: SIGTSTP does nothing in an orphaned one, as a test run by cron may be in.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut tool = Running::start(&mut tool);
        let command = tool.line().parse().unwrap();
        let both = [tool.0.id(), command];
        for _ in 0..3 {
            tool.signal(Signal::SIGTSTP);
            eventually("both are stopped", || both.map(state) == [Some('T'); 2]);
            tool.signal(Signal::SIGCONT);
            eventually("both go on", || both.map(state) == [Some('S'); 2]);
        }
        drop(tool.0.stdin.take());
        assert_eq!(tool.end(), 0);
        until_held(&database, 0);
    }
}

/// A user of its own, whose processes are counted, runs a copy of the tool.
struct NobodyElse {
    database: Database,
    /// Anybody can reach it.
    bouncer: Bouncer,
    folder: TempDir,
}

impl NobodyElse {
    const ID: u32 = 54_321;

    /// `None` for whom isn't root.
    fn new() -> Option<Self> {
        if !Uid::effective().is_root() {
            eprintln!("not run: only root becomes another user, whose processes are counted");
            return None;
        }
        let database = database_with(1);
        let bouncer = Bouncer::start_on(&database.url(), PoolMode::Session, &[]);
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        copy_file(Path::new(TOOL), &folder.path().join("dbsemaphore"));
        Some(Self {
            database,
            bouncer,
            folder,
        })
    }

    /// Its command tells that it has begun, and ends with its input, with exit code 4.
    fn run(&self, processes: u32, words: &[&str]) -> Running {
        let mut tool = Command::new("prlimit");
        tool.arg(format!("--nproc={processes}:{processes}"))
            .arg(self.folder.path().join("dbsemaphore"))
            .args(["run", "x"])
            .args(words)
            .args(["--", "sh", "-c", "echo begun; read -r _; exit 4"])
            .env("DATABASE_URL", self.bouncer.url(self.database.name()))
            .current_dir("/")
            .uid(Self::ID)
            .gid(Self::ID)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Running::start(&mut tool)
    }
}

/// With each number of processes that may be too few: the command isn't started, or it is supervised.
#[test]
fn a_command_that_cannot_be_supervised_is_not_started() {
    let Some(nobody) = NobodyElse::new() else {
        return;
    };
    let outcome = |processes| {
        let mut tool = nobody.run(processes, &[]);
        let begun = tool.line() == "begun";
        drop(tool.0.stdin.take());
        let code = tool.end_within(Duration::from_secs(30));
        until_held(&nobody.database, 0);
        (begun, code, tool.said())
    };
    let outcomes: Vec<_> = (1..=12).map(outcome).collect();
    for (begun, code, said) in &outcomes {
        let is_documented = match code {
            4 => *begun,
            // Too few for its own threads, for the command, for those of the watch.
            125 | 126 | 76 => !*begun && said.starts_with("dbsemaphore: "),
            _ => false,
        };
        assert!(is_documented, "{outcomes:#?}");
    }
    assert_eq!((outcomes[0].1, outcomes[11].1), (125, 4), "{outcomes:#?}");
}

#[test]
fn a_ticket_that_cannot_be_watched_is_lost_before_the_command_starts() {
    let Some(nobody) = NobodyElse::new() else {
        return;
    };
    let guard = SemaphoreTicket::require(nobody.database.connect(), "x").unwrap();
    let mut tool = nobody.run(100, &["--wait-forever"]);
    until_waiting(&nobody.database, 1);
    // From now on, it can't start a thread, nor a process.
    let limited = Command::new("prlimit")
        .args(["--nproc=1:1", "--pid", &tool.0.id().to_string()])
        .uid(NobodyElse::ID)
        .gid(NobodyElse::ID)
        .status();
    assert!(limited.unwrap().success());
    drop(guard);
    assert_eq!(tool.line(), "", "it hasn't begun");
    assert_eq!(tool.end(), 76);
    let said = tool.said();
    assert!(
        said.contains("lost") && !said.contains("can't be run"),
        "{said}"
    );
    until_held(&nobody.database, 0);
}
