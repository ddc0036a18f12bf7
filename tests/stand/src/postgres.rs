//! PostgreSQL.

mod bouncer;
mod cluster;
mod hostile;
mod programs;

pub use bouncer::{Bouncer, PoolMode};

use crate::{
    Backend, Stop,
    backend::run,
    folder::{End, Folder},
    shared::Shared,
};
use diesel::{PgConnection, QueryResult, RunQueryDsl, connection::SimpleConnection};
use nix::sys::signal::Signal;
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};
use url::Url;

/// PostgreSQL's servers.
#[derive(Debug)]
pub struct Postgres;

/// A private PostgreSQL server.
pub type Server = crate::server::Server<Postgres>;

/// A database on a PostgreSQL server.
pub type Database = crate::database::Database<Postgres>;

/// What each server has.
const SETTINGS: [&str; 4] = [
    "listen_addresses=127.0.0.1",
    "max_connections=400",
    "shared_buffers=128MB",
    "max_wal_size=2GB",
];

static SHARED: LazyLock<Shared<Postgres>> = LazyLock::new(Shared::find);

mod functions {
    diesel::define_sql_function!(fn pg_backend_pid() -> diesel::sql_types::Integer);
}

#[allow(private_interfaces)]
impl Backend for Postgres {
    type Connection = PgConnection;

    const SCHEME: &'static str = "postgres";
    const USER: &'static str = "postgres";
    const WITHOUT_DURABILITY: &'static [&'static str] = &[
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
    ];

    fn session_id(conn: &mut PgConnection) -> i64 {
        let id: QueryResult<i32> = diesel::select(functions::pg_backend_pid()).get_result(conn);
        id.expect("the id of a session").into()
    }

    fn kill_session(conn: &mut PgConnection, id: i64) {
        run(conn, &format!("SELECT pg_terminate_backend({id})"));
    }

    fn cancel_statement(conn: &mut PgConnection, id: i64) {
        run(conn, &format!("SELECT pg_cancel_backend({id})"));
    }

    fn shared() -> &'static Shared<Self> {
        &SHARED
    }

    fn programs() -> PathBuf {
        programs::folder()
    }

    fn initialize(folder: &Folder, programs: &Path) {
        cluster::initialize(folder, programs);
    }

    fn command(folder: &Folder, programs: &Path, port: u16, settings: &[String]) -> Command {
        // At the end, what a standby must not have from its primary.
        let here = [
            format!("port={port}"),
            format!("unix_socket_directories={}", folder.path().display()),
        ];
        let mut command = folder.command(&programs.join("postgres"), End::Quit);
        command.env_remove("PGDATA").arg("-D").arg(data(folder));
        let common = SETTINGS.into_iter().chain(hostile::settings(programs));
        let own = settings.iter().chain(&here).map(String::as_str);
        for setting in common.chain(own) {
            command.args(["-c", setting]);
        }
        command
    }

    fn stop_signal(how: Stop) -> Signal {
        match how {
            Stop::Fast => Signal::SIGINT,
            Stop::Immediate => Signal::SIGQUIT,
            Stop::Kill => Signal::SIGKILL,
        }
    }

    fn may_start_later(log: &str) -> bool {
        // After `Stop::Kill` the postmaster's children need a moment to end; until then a new one refuses to start.
        log.contains("HINT:  Terminate any old server processes")
    }

    fn url(folder: &Path, port: u16) -> String {
        let folder = folder.display();
        format!("postgres:///postgres?host={folder}&port={port}&user=postgres")
    }

    fn url_as(url: &str, account: &str, password: &str) -> String {
        let mut url = Url::parse(url).expect("the URL of a PostgreSQL server");
        // Of a parameter that comes twice, the last one counts.
        url.query_pairs_mut()
            .append_pair("user", account)
            .append_pair("password", password);
        url.into()
    }

    fn create_account(conn: &mut PgConnection, account: &str, password: &str) {
        run(
            conn,
            &format!("CREATE ROLE {account} LOGIN PASSWORD '{password}'"),
        );
    }

    fn drop_database(conn: &mut PgConnection, name: &str) -> QueryResult<()> {
        conn.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
    }

    fn drop_account(conn: &mut PgConnection, account: &str) -> QueryResult<()> {
        conn.batch_execute(&format!("DROP ROLE {account}"))
    }
}

fn data(folder: &Folder) -> PathBuf {
    folder.path().join("data")
}
