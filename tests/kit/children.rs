//! Other processes: this test binary again, running one function of this module.

use crate::kit::{ServerDatabase, TestDatabase};
use diesel::Connection;
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use stand::{Cable, Reporter};
use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

const CHILD: &str = "kit::children::child";
pub(crate) const ROLE: &str = "DBSEMAPHORE_TEST_CHILD";
pub(crate) const URL: &str = "DBSEMAPHORE_TEST_CHILD_URL";
const POOLED: &str = "DBSEMAPHORE_TEST_CHILD_POOLED";
const WITNESS: &str = "DBSEMAPHORE_TEST_CHILD_WITNESS";
const MARK: &str = "child: ";

pub(crate) const FROM_AFAR: sem::Request<'_> =
    sem::Request::new("x").host_timeout(Duration::from_secs(3));

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

/// Not a test when run as one.
#[test]
fn child() {
    let Ok(role) = env::var(ROLE) else { return };
    let url = env::var(URL).unwrap();
    match url.split(':').next().unwrap() {
        #[cfg(feature = "mysql")]
        "mysql" => act_on_server::<stand::mysql::Database>(&role, &url),
        #[cfg(feature = "sqlite")]
        path if path.starts_with('/') => act::<crate::sqlite::Database>(&role, &url),
        #[cfg(feature = "postgres")]
        "postgres" => act_on_server::<stand::postgres::Database>(&role, &url),
        other => panic!("no such backend: {other}"),
    }
}

fn act_on_server<D: ServerDatabase>(role: &str, url: &str) {
    match role {
        "hold in a transaction" => D::Connection::establish(url)
            .unwrap()
            .transaction::<_, sem::Error, _>(|c| {
                let _ticket = sem::require(c, "x")?;
                say("held");
                listen();
                Ok(())
            })
            .unwrap(),
        role => act::<D>(role, url),
    }
}

fn act<D: TestDatabase>(role: &str, url: &str) {
    let mut conn = D::Connection::establish(url).unwrap();
    if env::var_os(POOLED).is_some() {
        conn.set_prepared_statement_cache_size(diesel::connection::CacheSize::Disabled);
    }
    match role {
        "migrate" => {
            say("ready");
            listen();
            sem::run_migrations(&mut conn).unwrap();
            say("done");
        }
        "hold" => {
            let outcome = SemaphoreTicket::acquire(&mut conn, "x").unwrap();
            match &outcome {
                Some(guard) => say(&guard.ticket().ids()[0].to_string()),
                None => say("none"),
            }
            listen();
        }
        "wait" => {
            say("waiting");
            let request = sem::Request::new("x").wait_forever();
            drop(SemaphoreTicket::require(&mut conn, request).unwrap());
        }
        "shrink" => {
            say("waiting");
            sem::make(&mut conn, "x", 0).unwrap();
        }
        "hammer" => hammer(&mut conn),
        "hold from afar" => {
            let _ticket = SemaphoreTicket::require(conn, FROM_AFAR).unwrap();
            say("held");
            listen();
        }
        "wait from afar" => {
            say("waiting");
            drop(SemaphoreTicket::require(conn, FROM_AFAR.wait_forever()));
        }
        "watch from afar" => {
            let ticket = SemaphoreTicket::require(conn, FROM_AFAR).unwrap();
            let ticket = ticket.watch(Duration::from_millis(500));
            say("held");
            assert!(ticket.wait_lost(Duration::from_secs(3600)));
            say("lost");
            assert!(ticket.release().is_err());
            say("released");
            listen();
        }
        "watch while stopped" => {
            let ticket = SemaphoreTicket::require(conn, "x").unwrap();
            let ticket = ticket.watch(Duration::from_millis(100));
            // On MySQL, the first check bounds how long a host may be silent.
            assert!(!ticket.wait_lost(Duration::from_secs(1)));
            say("held");
            listen();
            say(&format!(
                "lost: {}",
                ticket.wait_lost(Duration::from_secs(1))
            ));
            listen();
            say(&format!(
                "lost: {}",
                ticket.wait_lost(Duration::from_secs(60))
            ));
        }
        "watch" => say(&crate::contract::watch::count_threads(conn)),
        other => panic!("no such role: {other}"),
    }
}

/// Acquires and releases tickets in a tight loop for a while, and tells the witness.
fn hammer<C: sem::TicketConnection + Connection>(conn: &mut C) {
    let witness = Reporter::new(Path::new(&env::var(WITNESS).unwrap())).unwrap();
    let me = std::process::id();
    say("ready");
    listen();
    let mut rounds = 0;
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        let Some(mut guard) = SemaphoreTicket::acquire(&mut *conn, "x").unwrap() else {
            std::thread::yield_now();
            continue;
        };
        witness.entered(me, guard.ticket().ids()).unwrap();
        guard.check().unwrap();
        witness.left(me).unwrap();
        guard.release().unwrap();
        rounds += 1;
    }
    conn.batch_execute("SELECT 1").unwrap();
    say(&rounds.to_string());
}

pub(crate) fn say(word: &str) {
    println!("{MARK}{word}");
}

/// Until the parent says something, or is gone.
pub(crate) fn listen() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}
