//! How the data of PostgreSQL's servers come about: new, upgraded, copied.

use super::{Database, Server, data, programs};
use crate::{
    Backend, Stop,
    folder::{End, Folder, output},
};
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

pub(super) fn initialize(folder: &Folder, programs: &Path) {
    let mut initdb = folder.command(&programs.join("initdb"), End::Kill);
    initdb
        .args(["--username=postgres", "--auth-local=trust"])
        .args(["--auth-host=reject", "--no-locale", "--encoding=UTF8"])
        .args(["--no-sync", "-D"])
        .arg(data(folder));
    output(&mut initdb);
    fs::write(
        data(folder).join("pg_hba.conf"),
        "local all all trust\nlocal replication all trust\n\
         host all all 127.0.0.1/32 trust\nhost all all samenet trust\n",
    )
    .expect("pg_hba.conf");
}

impl Server {
    /// [`start`](Self::start) with the installed programs, whatever version the other servers here have: only these come with
    /// `pg_dump` and `pg_upgrade`.
    pub fn start_installed() -> Self {
        Self::start_installation(programs::installed(), super::Postgres::WITHOUT_DURABILITY)
    }

    /// Stops this server, and moves its databases to a new cluster with `pg_upgrade`.
    pub fn upgrade(&mut self) -> Self {
        self.stop(Stop::Fast);
        let upgrade = |folder: &Folder| {
            initialize(folder, &self.programs);
            let mut upgrade = folder.command(&self.programs.join("pg_upgrade"), End::Kill);
            upgrade
                .args(["--username=postgres", "--link", "--socketdir"])
                .arg(folder.path())
                .arg("--old-bindir")
                .arg(&self.programs)
                .arg("--new-bindir")
                .arg(&self.programs)
                .arg("--old-datadir")
                .arg(self.folder().join("data"))
                .arg("--new-datadir")
                .arg(data(folder));
            output(&mut upgrade);
        };
        Self::start_on(upgrade, self.programs.clone(), self.settings.clone())
    }

    /// A standby of this server, which follows it until it is promoted. It is copied while this one is down for a moment.
    pub fn start_standby(&mut self) -> Self {
        self.stop(Stop::Fast);
        let follow = format!(
            "primary_conninfo=host={} port={} user=postgres",
            self.folder().display(),
            self.port()
        );
        let settings = self.settings.iter().cloned().chain([follow]).collect();
        let programs = self.programs.clone();
        let copy = |folder: &Folder| {
            let mut copy = folder.command(Path::new("cp"), End::Kill);
            copy.args(["-R", "-p"]).arg(self.folder().join("data"));
            output(copy.arg(folder.path()));
            let mut mark = folder.command(Path::new("touch"), End::Kill);
            output(mark.arg(data(folder).join("standby.signal")));
            self.start_again();
        };
        Self::start_on(copy, programs, settings)
    }

    /// Makes a standby the primary; returns once it is.
    pub fn promote(&self) {
        let mut session =
            PgConnection::establish(&self.url()).expect("a connection to the standby");
        // The session may end by a conflict with recovery before the answer.
        let _ = session.batch_execute("SELECT pg_promote(false)");
        let deadline = Instant::now() + Duration::from_secs(30);
        let is_promoted = || {
            PgConnection::establish(&self.url()).is_ok_and(|mut session| {
                // Fails during recovery.
                session.batch_execute("SELECT pg_current_wal_lsn()").is_ok()
            })
        };
        while !is_promoted() {
            assert!(Instant::now() < deadline, "not promoted:\n{}", self.log());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// A copy of the database with this URL, of another server, by `pg_dump` and `psql`.
    pub fn restore_from(&self, url: &str) -> Database {
        let copy = self.create_database();
        let dump = output(Command::new(self.programs.join("pg_dump")).arg(url));
        let script = self.folder().join("dump.sql");
        fs::write(&script, dump.stdout).expect("the dump");
        let mut restore = Command::new(self.programs.join("psql"));
        restore.args(["--quiet", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-f"]);
        output(restore.arg(&script).arg(copy.url()));
        copy
    }
}
