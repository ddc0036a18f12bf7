use crate::folder::{End, Folder, output};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// MariaDB's server comes first: its packages link MySQL's name to it.
const SERVERS: [&str; 2] = ["mariadbd", "mysqld"];

/// The folder that has the server: that of `DBSEMAPHORE_TEST_MYSQL`, or else the installed one.
pub(super) fn folder() -> PathBuf {
    env::var_os("DBSEMAPHORE_TEST_MYSQL").map_or_else(installed, PathBuf::from)
}

fn installed() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        // Debian's, which isn't on everybody's PATH, and Homebrew's on both kinds of Mac.
        .chain(["/usr/sbin", "/opt/homebrew/bin", "/usr/local/bin"].map(PathBuf::from))
        .find(|folder| SERVERS.iter().any(|server| folder.join(server).exists()))
        .expect(
            "MariaDB is not installed: `make test` does it on Debian; elsewhere, install MariaDB 10.6 or MySQL 8.0.17 or later \
             and put `mariadbd` or `mysqld` on the PATH, or set DBSEMAPHORE_TEST_URL to a server to test on",
        )
}

/// The server among these programs.
pub(super) fn server(programs: &Path) -> PathBuf {
    SERVERS
        .map(|server| programs.join(server))
        .into_iter()
        .find(|server| server.exists())
        .unwrap_or_else(|| panic!("no server in {}", programs.display()))
}

/// Creates the data of a server. `root` needs no password, by the socket and by the loopback address.
pub(super) fn initialize(folder: &Folder, programs: &Path) {
    let server = server(programs);
    let data = format!("--datadir={}", folder.path().join("data").display());
    let mut create = if server.ends_with("mariadbd") {
        // Debian has it beside the server's folder.
        let install = [programs, &programs.join("../bin")]
            .map(|folder| folder.join("mariadb-install-db"))
            .into_iter()
            .find(|program| program.exists())
            .expect("mariadb-install-db beside mariadbd");
        let mut install = folder.command(&install, End::Kill);
        install.args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ]);
        install
    } else {
        let mut initialize = folder.command(&server, End::Kill);
        initialize.args(["--no-defaults", "--initialize-insecure"]);
        initialize
    };
    output(create.arg(data));
    // Runs at each start. Hosts of tests with networks of their own come from other addresses.
    fs::write(
        folder.path().join("init.sql"),
        "CREATE USER IF NOT EXISTS root@'%';\nGRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;\n",
    )
    .expect("init.sql");
}
