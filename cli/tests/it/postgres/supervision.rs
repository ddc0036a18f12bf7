//! A tool whose user can have no more processes.

use crate::{
    database::Database,
    tool::{Running, TOOL, copy_file, database_with, until_held, until_waiting},
};
use diesel_dbsemaphore::SemaphoreTicket;
use nix::unistd::Uid;
use stand::{Bouncer, PoolMode};
use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

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
            .env(
                "DATABASE_URL",
                self.bouncer.url(self.database.postgres().name()),
            )
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
        said.ends_with("the ticket was lost before the command was started\n"),
        "{said}"
    );
    until_held(&nobody.database, 0);
}
