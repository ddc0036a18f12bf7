use crate::{Database, eventually, folder::Folder, hostile, programs};
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Gid, Pid, Uid, User},
};
use std::{
    fs::{self, File},
    io::Read,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{self, Child, Command, Output, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

/// How a server is stopped; PostgreSQL's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ends all sessions and shuts down in good order.
    Fast,
    /// Shuts down without saying good-bye; recovers at the next start.
    Immediate,
    /// SIGKILL of the postmaster. Its other processes notice and end by themselves.
    Kill,
}

/// A private PostgreSQL server in a folder of its own, on a Unix socket and a loopback port.
///
/// Gone when dropped, or when the process ends, however it ends.
#[derive(Debug)]
pub struct Server {
    /// The last one to be dropped: it ends the server.
    folder: Folder,
    programs: PathBuf,
    port: u16,
    settings: Vec<String>,
    owner: Option<(Uid, Gid)>,
    postmaster: Child,
}

/// What a server is started with when its data are thrown away afterwards.
const WITHOUT_DURABILITY: [&str; 3] = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
];

impl Server {
    /// With durability switched off, for tests that start and throw away many databases.
    pub fn start() -> Self {
        Self::start_with(&WITHOUT_DURABILITY)
    }

    /// [`start`](Self::start) with the installed programs, whatever version the other servers here have: only these come with
    /// `pg_dump` and `pg_upgrade`.
    pub fn start_installed() -> Self {
        Self::initialized(programs::installed(), &WITHOUT_DURABILITY)
    }

    /// With these settings (`name=value`) beside those that every server here has.
    pub fn start_with(settings: &[&str]) -> Self {
        Self::initialized(programs::folder(), settings)
    }

    fn initialized(programs: PathBuf, settings: &[&str]) -> Self {
        let settings = settings.iter().map(|&setting| setting.to_owned());
        let make = |folder: &Path, owner| initialize(&programs, folder, owner);
        Self::make_with(programs.clone(), make, settings.collect())
    }

    /// Stops this server, and moves its databases to a new cluster with `pg_upgrade`.
    pub fn upgrade(&mut self) -> Self {
        self.stop(Stop::Fast);
        let upgrade = |folder: &Path, owner| {
            initialize(&self.programs, folder, owner);
            let mut upgrade = as_owner(&self.programs.join("pg_upgrade"), owner);
            upgrade
                .current_dir(folder)
                .args(["--username=postgres", "--link", "--socketdir"])
                .arg(folder)
                .arg("--old-bindir")
                .arg(&self.programs)
                .arg("--new-bindir")
                .arg(&self.programs)
                .arg("--old-datadir")
                .arg(self.folder.path().join("data"))
                .arg("--new-datadir")
                .arg(folder.join("data"));
            run(upgrade);
        };
        Self::make_with(self.programs.clone(), upgrade, self.settings.clone())
    }

    /// A standby of this server, which follows it until it is promoted. It is copied while this one is down for a moment.
    pub fn start_standby(&mut self) -> Self {
        self.stop(Stop::Fast);
        let follow = format!(
            "primary_conninfo=host={} port={} user=postgres",
            self.folder.path().display(),
            self.port
        );
        let settings = self.settings.iter().cloned().chain([follow]).collect();
        let programs = self.programs.clone();
        let copy = |folder: &Path, owner| {
            let mut copy = as_owner(Path::new("cp"), owner);
            copy.args(["-R", "-p"]).arg(self.folder.path().join("data"));
            copy.arg(folder);
            run(copy);
            let mut mark = as_owner(Path::new("touch"), owner);
            mark.arg(folder.join("data/standby.signal"));
            run(mark);
            self.start_again();
        };
        Self::make_with(programs, copy, settings)
    }

    /// `make` makes the data folder in this one.
    fn make_with(
        programs: PathBuf,
        make: impl FnOnce(&Path, Option<(Uid, Gid)>),
        settings: Vec<String>,
    ) -> Self {
        let folder = Folder::create();
        let owner = owner_of(folder.path());
        let under_way = folder.path().join("initdb");
        fs::write(&under_way, "").expect("a mark for the janitor");
        make(folder.path(), owner);
        fs::remove_file(&under_way).expect("the mark for the janitor");

        let port = free_port();
        // The last one of a name counts.
        let settings: Vec<String> = [
            "listen_addresses=127.0.0.1",
            "max_connections=400",
            "shared_buffers=128MB",
            "max_wal_size=2GB",
        ]
        .into_iter()
        .chain(hostile::settings(&programs))
        .map(str::to_owned)
        .chain(settings)
        .chain([
            format!("port={port}"),
            format!("unix_socket_directories={}", folder.path().display()),
        ])
        .collect();
        let postmaster = launch(&programs, folder.path(), owner, &settings);
        let mut server = Self {
            folder,
            programs,
            port,
            settings,
            owner,
            postmaster,
        };
        server.wait_until_ready(0);
        server
    }

    /// Makes a standby the primary; returns once it is.
    pub fn promote(&self) {
        let mut session =
            PgConnection::establish(&self.url()).expect("a connection to the standby");
        // The session may end by a conflict with recovery before the answer.
        let _ = session.batch_execute("SELECT pg_promote(false)");
        eventually("the standby is promoted", || {
            PgConnection::establish(&self.url()).is_ok_and(|mut session| {
                // Fails during recovery.
                session.batch_execute("SELECT pg_current_wal_lsn()").is_ok()
            })
        });
    }

    /// A new database on this server.
    pub fn create_database(&self) -> Database {
        Database::create_on(&self.url())
    }

    /// A copy of the database with this URL, of another server, by `pg_dump` and `psql`.
    pub fn restore_from(&self, url: &str) -> Database {
        let copy = self.create_database();
        let mut dump = Command::new(self.programs.join("pg_dump"));
        dump.arg(url);
        let dump = run(dump);
        let script = self.folder.path().join("dump.sql");
        fs::write(&script, dump.stdout).expect("the dump");
        let mut restore = Command::new(self.programs.join("psql"));
        restore.args(["--quiet", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-f"]);
        run({
            restore.arg(&script).arg(copy.url());
            restore
        });
        copy
    }

    /// The URL of the database `postgres`, for a superuser, by the Unix socket.
    pub fn url(&self) -> String {
        format!(
            "postgres:///postgres?host={}&port={}&user=postgres",
            self.folder.path().display(),
            self.port
        )
    }

    /// The port on the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the postmaster.
    pub fn pid(&self) -> u32 {
        self.postmaster.id()
    }

    /// Stops the server, and returns once it is down.
    pub fn stop(&mut self, how: Stop) {
        let signal = match how {
            Stop::Fast => Signal::SIGINT,
            Stop::Immediate => Signal::SIGQUIT,
            Stop::Kill => Signal::SIGKILL,
        };
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a pid"));
        kill(pid, signal).expect("a signal to the postmaster");
        self.postmaster.wait().expect("the end of the postmaster");
    }

    /// Starts a server that was stopped, with its data, and returns once it takes connections.
    pub fn start_again(&mut self) {
        let logged = self.log().len();
        self.launch();
        self.wait_until_ready(logged);
    }

    /// Stops it, and starts it again.
    pub fn restart(&mut self, how: Stop) {
        self.stop(how);
        self.start_again();
    }

    fn launch(&mut self) {
        self.postmaster = launch(
            &self.programs,
            self.folder.path(),
            self.owner,
            &self.settings,
        );
    }

    /// `logged`: how much was in the log before it was launched.
    fn wait_until_ready(&mut self, mut logged: usize) {
        let url = self.url();
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(error) = PgConnection::establish(&url) {
            let ended = self.postmaster.try_wait().expect("a look at postgres");
            // After `Stop::Kill` the postmaster's children need a moment to end; until then a new one refuses to start.
            let orphans_are_leaving =
                || self.log()[logged..].contains("HINT:  Terminate any old server processes");
            if Instant::now() > deadline || (ended.is_some() && !orphans_are_leaving()) {
                panic!("PostgreSQL does not start: {error}\n{}", self.log());
            }
            if ended.is_some() {
                logged = self.log().len();
                self.launch();
            }
            // There is nothing to wait on: PostgreSQL tells nobody when it is ready.
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the server wrote into its log.
    pub fn log(&self) -> String {
        let mut text = String::new();
        File::open(self.folder.path().join("log"))
            .and_then(|mut log| log.read_to_string(&mut text))
            .expect("the server's log");
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.folder.abandon();
        // Before it is reaped, the janitor goes on seeing the postmaster.
        let _ = self.postmaster.wait();
    }
}

fn initialize(programs: &Path, folder: &Path, owner: Option<(Uid, Gid)>) {
    let mut initdb = as_owner(&programs.join("initdb"), owner);
    initdb
        .args(["--username=postgres", "--auth-local=trust"])
        .args(["--auth-host=reject", "--no-locale", "--encoding=UTF8"])
        .args(["--no-sync", "-D"])
        .arg(folder.join("data"));
    run(initdb);
    fs::write(
        folder.join("data/pg_hba.conf"),
        "local all all trust\nlocal replication all trust\n\
         host all all 127.0.0.1/32 trust\nhost all all samenet trust\n",
    )
    .expect("pg_hba.conf");
}

fn run(mut program: Command) -> Output {
    let ran = program.output().expect("a program of PostgreSQL's");
    assert!(
        ran.status.success(),
        "{program:?} failed: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
    ran
}

/// Below those that the system gives to outgoing connections: of these, one could take it before the server does, which
/// then runs without it.
pub(crate) fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| {
        let now = UNIX_EPOCH.elapsed().map_or(0, |age| age.subsec_micros());
        AtomicU32::new(process::id() ^ now)
    });
    (0..12_000)
        .map(|_| 20_000 + (NEXT.fetch_add(1, Relaxed) % 12_000) as u16)
        .find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
        .expect("a free port")
}

/// PostgreSQL and PgBouncer refuse to run as root. Debian's package has made a user for them, who gets the folder.
pub(crate) fn owner_of(folder: &Path) -> Option<(Uid, Gid)> {
    let owner = Uid::effective().is_root().then(|| {
        let user = User::from_name("postgres")
            .expect("a look at the users")
            .expect(
                "as root, PostgreSQL is started as the user postgres, which does not exist here",
            );
        (user.uid, user.gid)
    });
    if let Some((uid, gid)) = owner {
        chown(folder, Some(uid.as_raw()), Some(gid.as_raw())).expect("chown of the folder");
    }
    owner
}

fn launch(programs: &Path, folder: &Path, owner: Option<(Uid, Gid)>, settings: &[String]) -> Child {
    let log = || {
        File::options()
            .create(true)
            .append(true)
            .open(folder.join("log"))
            .expect("the server's log")
    };
    as_owner(&programs.join("postgres"), owner)
        .arg("-D")
        .arg(folder.join("data"))
        .args(settings.iter().flat_map(|setting| ["-c", setting]))
        .stdout(log())
        .stderr(log())
        .spawn()
        .expect("postgres")
}

pub(crate) fn as_owner(program: &Path, owner: Option<(Uid, Gid)>) -> Command {
    let mut command = Command::new(program);
    // A group of its own, so that Ctrl-C leaves the end of the server to the janitor.
    command
        .process_group(0)
        .current_dir("/")
        .stdin(Stdio::null());
    if let Some((uid, gid)) = owner {
        command.uid(uid.as_raw()).gid(gid.as_raw());
    }
    command.env_remove("PGDATA");
    command
}
