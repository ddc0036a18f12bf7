//! MySQL and MariaDB.

mod programs;
mod replica;

use crate::{
    Backend, Stop,
    backend::run,
    folder::{End, Folder},
    shared::Shared,
};
use diesel::{
    MysqlConnection, QueryResult, QueryableByName, RunQueryDsl, connection::SimpleConnection,
    sql_types::BigInt,
};
use nix::sys::signal::Signal;
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};
use url::Url;

/// MySQL's and MariaDB's servers: those of `DBSEMAPHORE_TEST_MYSQL`, a folder that scripts/fetch-mysql prints, or the
/// installed ones.
#[derive(Debug)]
pub struct Mysql;

/// A private MySQL or MariaDB server.
pub type Server = crate::server::Server<Mysql>;

/// A database on a MySQL or MariaDB server.
pub type Database = crate::database::Database<Mysql>;

/// What each server has.
const SETTINGS: [&str; 7] = [
    "bind_address=127.0.0.1",
    "max_connections=400",
    // Otherwise a test that provokes failed connections locks out the others.
    "max_connect_errors=1000000",
    // No look-ups of names: accounts are for any host.
    "skip_name_resolve=1",
    "innodb_buffer_pool_size=128M",
    // Installed plugins may not be those of this version.
    "loose_mysqlx=0",
    "loose_log_error_verbosity=2",
];

static SHARED: LazyLock<Shared<Mysql>> = LazyLock::new(Shared::find);

mod functions {
    diesel::define_sql_function!(fn connection_id() -> diesel::sql_types::BigInt);
}

#[allow(private_interfaces)]
impl Backend for Mysql {
    type Connection = MysqlConnection;

    const SCHEME: &'static str = "mysql";
    const USER: &'static str = "mysql";
    const WITHOUT_DURABILITY: &'static [&'static str] = &[
        "innodb_flush_log_at_trx_commit=0",
        "innodb_doublewrite=0",
        "skip_log_bin=1",
    ];

    fn session_id(conn: &mut MysqlConnection) -> i64 {
        let id: QueryResult<i64> = diesel::select(functions::connection_id()).get_result(conn);
        id.expect("the id of a session")
    }

    fn kill_session(conn: &mut MysqlConnection, id: i64) {
        // It may have ended.
        let _ = conn.batch_execute(&format!("KILL CONNECTION {id}"));
    }

    fn cancel_statement(conn: &mut MysqlConnection, id: i64) {
        let _ = conn.batch_execute(&format!("KILL QUERY {id}"));
    }

    fn shared() -> &'static Shared<Self> {
        &SHARED
    }

    fn programs() -> PathBuf {
        programs::folder()
    }

    fn initialize(folder: &Folder, programs: &Path) {
        programs::initialize(folder, programs);
    }

    fn command(folder: &Folder, programs: &Path, port: u16, settings: &[String]) -> Command {
        // Nothing outside of the folder needs it to clean up.
        let mut command = folder.command(&programs::server(programs), End::Kill);
        let path = folder.path().display();
        let here = [
            format!("port={port}"),
            format!("datadir={path}/data"),
            format!("socket={path}/socket"),
            format!("pid_file={path}/mysqld.pid"),
            format!("init_file={path}/init.sql"),
            // By default a folder of the distribution.
            format!("secure_file_priv={path}"),
        ];
        command.arg("--no-defaults");
        let own = settings.iter().chain(&here).map(String::as_str);
        for setting in SETTINGS.into_iter().chain(own) {
            command.arg(format!("--{setting}"));
        }
        command
    }

    fn stop_signal(how: Stop) -> Signal {
        match how {
            Stop::Fast => Signal::SIGTERM,
            Stop::Immediate | Stop::Kill => Signal::SIGKILL,
        }
    }

    fn url(folder: &Path, _port: u16) -> String {
        let folder = folder.display();
        format!("mysql://root@localhost/mysql?unix_socket={folder}/socket")
    }

    fn url_as(url: &str, account: &str, password: &str) -> String {
        let mut url = Url::parse(url).expect("the URL of a MySQL server");
        url.set_username(account)
            .and_then(|()| url.set_password(Some(password)))
            .expect("the URL of a host");
        url.into()
    }

    fn create_account(conn: &mut MysqlConnection, account: &str, password: &str) {
        run(
            conn,
            &format!("CREATE USER {account} IDENTIFIED BY '{password}'"),
        );
    }

    fn drop_database(conn: &mut MysqlConnection, name: &str) -> QueryResult<()> {
        #[derive(QueryableByName)]
        struct Session {
            #[diesel(sql_type = BigInt)]
            id: i64,
        }
        // A transaction that has read a table would delay the DROP for as long as it lasts.
        let sessions: Vec<Session> = diesel::sql_query(format!(
            "SELECT CAST(id AS SIGNED) AS id FROM information_schema.processlist WHERE db = '{name}'"
        ))
        .load(conn)?;
        for Session { id } in sessions {
            Self::kill_session(conn, id);
        }
        conn.batch_execute(&format!("DROP DATABASE {name}"))
    }

    fn drop_account(conn: &mut MysqlConnection, account: &str) -> QueryResult<()> {
        conn.batch_execute(&format!("DROP USER {account}"))
    }
}
