use crate::{
    Server,
    folder::Folder,
    server::{as_owner, free_port, owner_of},
};
use diesel::{Connection, PgConnection};
use std::{
    fs::{self, File},
    path::Path,
    process::Child,
    thread,
    time::{Duration, Instant},
};

/// PgBouncer in front of a server, in transaction mode: each transaction gets some session of the server's.
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

impl Bouncer {
    /// In front of this server, with these settings beside those that it needs.
    pub fn start(server: &Server, settings: &[&str]) -> Self {
        let folder = Folder::create();
        let port = free_port();
        let path = folder.path().display();
        fs::write(folder.path().join("users"), "\"postgres\" \"\"\n").expect("the list of users");
        fs::write(
            folder.path().join("ini"),
            format!(
                "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
                 unix_socket_dir = {path}\nauth_type = trust\nauth_file = {path}/users\n\
                 pool_mode = transaction\nmax_client_conn = 500\ndefault_pool_size = 60\n{}\n",
                server.folder().display(),
                server.port(),
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

    /// The same database as this URL of the server's, through the pooler.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Ends it at once, with all its connections, and starts it anew.
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
