use crate::{Stop, folder::Folder, shared::Shared};
use diesel::{Connection, QueryResult, connection::SimpleConnection};
use nix::sys::signal::Signal;
use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    process::Command,
};

/// What differs between database servers, for a [`Server`](crate::server::Server) and its databases.
///
/// The items whose first lines say "Internal" are for this crate alone.
#[allow(private_interfaces)]
pub trait Backend: Debug + Sized + 'static {
    /// Diesel's.
    type Connection: Connection + SimpleConnection;

    /// What its URLs begin with.
    const SCHEME: &'static str;

    /// The user that runs its programs if this process is root's.
    const USER: &'static str;

    /// Settings of a server whose data are thrown away afterwards.
    const WITHOUT_DURABILITY: &'static [&'static str];

    /// The id of the server's session for a connection.
    fn session_id(conn: &mut Self::Connection) -> i64;

    /// Ends another session, which the id tells.
    fn kill_session(conn: &mut Self::Connection, id: i64);

    /// Cancels the statement that another session runs, if it runs one.
    fn cancel_statement(conn: &mut Self::Connection, id: i64);

    /// Internal: the server that all tests share.
    fn shared() -> &'static Shared<Self>;

    /// Internal: the folder with the server's programs.
    fn programs() -> PathBuf;

    /// Internal: creates the data of a server in the folder `data` of this one.
    fn initialize(folder: &Folder, programs: &Path);

    /// Internal: what runs a server on these data, with settings as `name=value`, the last one of a name counts.
    fn command(folder: &Folder, programs: &Path, port: u16, settings: &[String]) -> Command;

    /// Internal: the signal that stops the server's first process like this.
    fn stop_signal(how: Stop) -> Signal;

    /// Internal: the URL of a server that runs in this folder, for an account with all rights, by its Unix socket.
    fn url(folder: &Path, port: u16) -> String;

    /// Internal: whether a server that ended, and has written this, is to be started again.
    fn may_start_later(log: &str) -> bool {
        let _ = log;
        false
    }

    /// Internal: the same URL, for another account.
    fn url_as(url: &str, account: &str, password: &str) -> String;

    /// Internal: creates an account that can log in, and can do nothing else.
    fn create_account(conn: &mut Self::Connection, account: &str, password: &str);

    /// Internal: drops a database, and ends all sessions in it.
    fn drop_database(conn: &mut Self::Connection, name: &str) -> QueryResult<()>;

    /// Internal: drops an account.
    fn drop_account(conn: &mut Self::Connection, account: &str) -> QueryResult<()>;
}

/// Runs a statement that has to succeed.
pub(crate) fn run(conn: &mut impl SimpleConnection, statement: &str) {
    conn.batch_execute(statement)
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}
