use crate::{
    Server,
    folder::Folder,
    server::{as_owner, free_port, owner_of},
};
use diesel::{Connection, PgConnection};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use percent_encoding::percent_decode_str;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    process::Child,
    thread,
    time::{Duration, Instant},
};
use url::Url;

/// PgBouncer in front of a server.
///
/// Gone when dropped, or when the process ends, however it ends.
#[derive(Debug)]
pub struct Bouncer {
    process: Process,
    folder: Folder,
    port: u16,
}

#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// For how long a client of a pooler keeps the session of the server's that it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// As long as it is connected.
    Session,
    /// Until its transaction ends.
    Transaction,
}

impl Bouncer {
    /// In transaction mode in front of this server, with these settings beside those that it needs.
    pub fn start(server: &Server, settings: &[&str]) -> Self {
        Self::start_on(&server.url(), PoolMode::Transaction, settings)
    }

    /// In front of the server with this URL. Whoever comes gets sessions of the URL's role.
    pub fn start_on(server_url: &str, mode: PoolMode, settings: &[&str]) -> Self {
        let folder = Folder::create();
        let port = free_port();
        let path = folder.path().display();
        let mode = match mode {
            PoolMode::Session => "session",
            PoolMode::Transaction => "transaction",
        };
        fs::write(
            folder.path().join("ini"),
            format!(
                "[databases]\n* = {}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
                 unix_socket_dir = {path}\nauth_type = any\n\
                 pool_mode = {mode}\nmax_client_conn = 500\ndefault_pool_size = 60\n{}\n",
                address(server_url),
                settings.join("\n")
            ),
        )
        .expect("the settings");
        let process = launch(folder.path());
        let bouncer = Self {
            process,
            folder,
            port,
        };
        bouncer.wait_until_ready();
        bouncer
    }

    /// Lets no transaction begin any more: clients wait, and nobody tells them.
    pub fn pause(&self) {
        self.signal(Signal::SIGUSR1);
    }

    /// Ends the pause.
    pub fn resume(&self) {
        self.signal(Signal::SIGUSR2);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.0.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("a signal to PgBouncer");
    }

    /// The same database as this URL of the server's, through the pooler.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Ends it at once, with all its connections, and starts it again.
    pub fn restart(&mut self) {
        let _ = self.process.0.kill();
        let _ = self.process.0.wait();
        self.process = launch(self.folder.path());
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = PgConnection::establish(&self.url("postgres")) {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "PgBouncer does not start: {error}\n{log}"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Of the server with this URL, as PgBouncer's settings have it.
fn address(url: &str) -> String {
    let url = Url::parse(url).expect("the URL of a PostgreSQL server");
    let mut parts: BTreeMap<String, String> = BTreeMap::new();
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            parts.insert(key.to_owned(), value.replace('\'', "''"));
        }
    };
    add("host", url.host_str().unwrap_or_default());
    add(
        "port",
        &url.port().map_or(String::new(), |port| port.to_string()),
    );
    for (key, value) in [
        ("user", url.username()),
        ("password", url.password().unwrap_or_default()),
    ] {
        add(key, &percent_decode_str(value).decode_utf8_lossy());
    }
    for (key, value) in url.query_pairs() {
        if ["host", "port", "user", "password"].contains(&&*key) {
            add(&key, &value);
        }
    }
    let parts = parts.iter().map(|(key, value)| format!("{key}='{value}'"));
    parts.collect::<Vec<_>>().join(" ")
}

fn launch(folder: &Path) -> Process {
    let owner = owner_of(folder);
    let log = || {
        File::options()
            .create(true)
            .append(true)
            .open(folder.join("log"))
            .expect("the log")
    };
    // Debian has it in /usr/sbin, which isn't on everybody's PATH.
    let program = ["/usr/sbin/pgbouncer", "/usr/local/bin/pgbouncer"]
        .into_iter()
        .find(|program| Path::new(program).exists())
        .unwrap_or("pgbouncer");
    let child = as_owner(Path::new(program), owner)
        .arg(folder.join("ini"))
        .stdout(log())
        .stderr(log())
        .spawn()
        .expect("PgBouncer is not installed: `make test` does it on Debian");
    // For the folder's janitor.
    fs::write(folder.join("pid"), format!("{}\n", child.id())).expect("the process id");
    Process(child)
}
