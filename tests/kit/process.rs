//! Other processes, with which a test talks in lines.

use crate::kit::TestDatabase;
use stand::Cable;
use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const CHILD: &str = "kit::children::child";
pub(crate) const ROLE: &str = "DBSEMAPHORE_TEST_CHILD";
pub(crate) const URL: &str = "DBSEMAPHORE_TEST_CHILD_URL";
/// Without prepared statements.
pub(crate) const POOLED: &str = "DBSEMAPHORE_TEST_CHILD_POOLED";
pub(crate) const WITNESS: &str = "DBSEMAPHORE_TEST_CHILD_WITNESS";
const MARK: &str = "child: ";

/// A process with which a test talks in lines. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

// Hosts and poolers are for tests of PostgreSQL so far.
#[cfg_attr(not(feature = "postgres"), allow(dead_code))]
impl Process {
    pub(crate) fn start(role: &str, database: &impl TestDatabase) -> Self {
        Self::start_with(role, database, Path::new(""))
    }

    /// On a host of its own. It goes on when told to, once there is a [`Cable`].
    pub(crate) fn start_on_host(role: &str, url: &str) -> Self {
        let mut command = Cable::command();
        Self::launch(command.arg(env::current_exe().unwrap()), CHILD, role, url)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// By this URL, without prepared statements.
    pub(crate) fn start_at(role: &str, url: &str) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        Self::launch(command.env(POOLED, "pooled"), CHILD, role, url)
    }

    pub(crate) fn start_with(role: &str, database: &impl TestDatabase, witness: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        Self::launch(command.env(WITNESS, witness), CHILD, role, &database.url())
    }

    /// By a command that ends with this binary. `child` is the test that has the role.
    pub(crate) fn launch(command: &mut Command, child: &str, role: &str, url: &str) -> Self {
        let mut child = command
            .args(["--exact", child, "--nocapture"])
            .env(ROLE, role)
            .env(URL, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            stdin,
            stdout,
        }
    }

    pub(crate) fn says(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(
                self.stdout.read_line(&mut line).unwrap() > 0,
                "the child process ended without a word"
            );
            // libtest writes "test kit::children::child ... " before the first line.
            if let Some((_, said)) = line.trim_end().split_once(MARK) {
                return said.to_owned();
            }
        }
    }

    pub(crate) fn tell(&mut self, word: &str) {
        writeln!(self.stdin, "{word}").unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end, which has to be a good one.
    pub(crate) fn finish(mut self) {
        let mut rest = String::new();
        while self.stdout.read_line(&mut rest).unwrap() > 0 {}
        assert!(self.child.wait().unwrap().success(), "{rest}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets all of these, which were started as "migrate", do so at the same time.
pub(crate) fn migrate_at_once(mut processes: Vec<Process>) {
    for process in &mut processes {
        assert_eq!(process.says(), "ready");
    }
    for process in &mut processes {
        process.tell("go");
    }
    for mut process in processes {
        assert_eq!(process.says(), "done");
        process.finish();
    }
}

pub(crate) fn say(word: &str) {
    println!("{MARK}{word}");
}

/// Until the parent says something, or is gone.
pub(crate) fn listen() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}
