use super::{Postgres, Server};
use crate::{
    Backend,
    daemon::Daemon,
    folder::{End, Folder},
    port::available_port,
};
use diesel::{Connection, PgConnection};
use nix::sys::signal::Signal;
use percent_encoding::percent_decode_str;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};
use url::Url;

/// PgBouncer in front of a server. It ends when it is dropped, or when the process ends, however it ends.
#[derive(Debug)]
pub struct Bouncer {
    daemon: Daemon,
    port: u16,
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
        // Root must not run it, either.
        let folder = Folder::create_for(Postgres::USER);
        let port = available_port();
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
        let command = command(&folder);
        let bouncer = Self {
            daemon: Daemon::launch(folder, command),
            port,
        };
        bouncer.wait_until_ready();
        bouncer
    }

    /// Lets no transaction begin any more: clients wait, and nobody tells them.
    pub fn pause(&self) {
        self.daemon.signal(Signal::SIGUSR1);
    }

    /// Ends the pause.
    pub fn resume(&self) {
        self.daemon.signal(Signal::SIGUSR2);
    }

    /// The same database as this URL of the server's, through the pooler.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Ends it at once, with all its connections, and starts it again.
    pub fn restart(&mut self) {
        self.daemon.signal(Signal::SIGKILL);
        self.daemon.wait();
        self.daemon.launch_again(command(self.daemon.folder()));
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = PgConnection::establish(&self.url("postgres")) {
            assert!(
                Instant::now() < deadline,
                "PgBouncer does not start: {error}\n{}",
                self.daemon.log()
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

fn command(folder: &Folder) -> Command {
    // Debian has it in /usr/sbin, which isn't on everybody's PATH.
    let program = ["/usr/sbin/pgbouncer", "/usr/local/bin/pgbouncer"]
        .into_iter()
        .find(|program| Path::new(program).exists())
        .unwrap_or("pgbouncer");
    let mut command = folder.command(Path::new(program), End::Kill);
    command.arg(folder.path().join("ini"));
    command
}
