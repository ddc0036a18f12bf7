//! The database of a test, of the backend that `DBSEMAPHORE_TEST_BACKEND` names: `postgres`, the default, `mysql` or `sqlite`.

use diesel::{
    Connection as _, PgConnection, RunQueryDsl, SqliteConnection, connection::SimpleConnection,
    sql_query,
};
use diesel_dbsemaphore::{self as sem, TicketConnection};
use std::{env, fs};
use tempfile::TempDir;

pub(crate) type Connection = Box<dyn TicketConnection + Send>;

/// The name of the backend.
pub(crate) fn backend() -> String {
    env::var("DBSEMAPHORE_TEST_BACKEND").unwrap_or_else(|_| "postgres".to_owned())
}

pub(crate) enum Database {
    Postgres(stand::Database),
    #[cfg(feature = "mysql")]
    Mysql(stand::mysql::Database),
    Sqlite(TempDir),
}

impl Database {
    /// Without the tables.
    pub(crate) fn create() -> Self {
        match backend().as_str() {
            "postgres" => Self::Postgres(stand::Database::create()),
            #[cfg(feature = "mysql")]
            "mysql" => Self::Mysql(stand::mysql::Database::create()),
            "sqlite" => Self::sqlite(),
            other => panic!("DBSEMAPHORE_TEST_BACKEND is postgres, mysql or sqlite, not {other:?}"),
        }
    }

    /// Of SQLite, whatever the backend of the tests is.
    pub(crate) fn sqlite() -> Self {
        let database = Self::Sqlite(tempfile::tempdir().unwrap());
        let mut conn = SqliteConnection::establish(&database.url()).unwrap();
        conn.batch_execute("PRAGMA journal_mode = WAL").unwrap();
        database
    }

    pub(crate) fn postgres(&self) -> &stand::Database {
        match self {
            Self::Postgres(database) => database,
            _ => panic!("a test of PostgreSQL: skip it with --skip postgres::"),
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Postgres(database) => database.url(),
            #[cfg(feature = "mysql")]
            Self::Mysql(database) => database.url(),
            Self::Sqlite(folder) => format!("sqlite://{}/app.db", folder.path().display()),
        }
    }

    pub(crate) fn connect(&self) -> Connection {
        match self {
            Self::Postgres(database) => Box::new(database.connect()),
            #[cfg(feature = "mysql")]
            Self::Mysql(database) => Box::new(database.connect()),
            Self::Sqlite(_) => Box::new(SqliteConnection::establish(&self.url()).unwrap()),
        }
    }

    /// Releases the ticket of the only holder of "x", which does not want it.
    pub(crate) fn lose(&self) {
        if let Self::Sqlite(folder) = self {
            let locks = folder.path().join("app.db-dbsemaphore");
            return fs::rename(locks, tempfile::tempdir_in(folder).unwrap().path()).unwrap();
        }
        let holder = sem::holders(&mut self.connect(), "x").unwrap().remove(0);
        self.end_session(holder.session.pid.unwrap());
    }

    /// Ends a session of a server.
    pub(crate) fn end_session(&self, pid: i32) {
        match self {
            Self::Postgres(database) => {
                end(&mut database.connect(), pid);
            }
            #[cfg(feature = "mysql")]
            Self::Mysql(database) => {
                let kill = format!("KILL {pid}");
                database.connect().batch_execute(&kill).unwrap();
            }
            Self::Sqlite(_) => {
                panic!("SQLite has no sessions: skip this test with --skip server::")
            }
        }
    }
}

fn end(conn: &mut PgConnection, pid: i32) {
    let end = format!("SELECT pg_terminate_backend({pid})");
    assert_eq!(sql_query(end).execute(conn).unwrap(), 1);
}

impl From<stand::Database> for Database {
    fn from(database: stand::Database) -> Self {
        Self::Postgres(database)
    }
}
