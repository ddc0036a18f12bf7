//! A database in a folder of its own.

use crate::kit::{
    TestDatabase, eventually,
    ways::{Way, by_guard, by_transaction},
};
use diesel::{
    Connection, QueryableByName, RunQueryDsl, SqliteConnection,
    connection::SimpleConnection,
    sql_types::{BigInt, Text},
};
use diesel_dbsemaphore as sem;
use fs4::FileExt;
use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// In WAL mode.
pub(crate) struct Database {
    pub(crate) folder: TempDir,
}

impl Database {
    /// With the tables.
    pub(crate) fn migrated() -> Self {
        let database = Self::create();
        sem::run_migrations(&mut database.connect()).unwrap();
        database
    }

    /// With a semaphore.
    pub(crate) fn with(name: &str, size: u32) -> Self {
        let database = Self::migrated();
        sem::make(&mut database.connect(), name, size).unwrap();
        database
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("app.db")
    }

    /// The folder of the lock files.
    pub(crate) fn lock_folder(&self) -> PathBuf {
        self.folder.path().join("app.db-dbsemaphore")
    }

    /// At one instant, because others create files in it meanwhile. Does nothing if there is no such folder.
    pub(crate) fn delete_lock_folder(&self) {
        let deleted = self.folder.path().join("deleted");
        if fs::rename(self.lock_folder(), &deleted).is_ok() {
            while fs::remove_dir_all(&deleted)
                .is_err_and(|error| error.kind() != ErrorKind::NotFound)
            {}
        }
    }

    /// The files in the queues.
    pub(crate) fn queue(&self) -> Vec<PathBuf> {
        queue(&self.lock_folder())
    }
}

impl TestDatabase for Database {
    type Connection = SqliteConnection;

    const WAYS: &[Way<SqliteConnection>] = &[by_guard, by_transaction];

    const NOWHERE: &str = "/nowhere/app.db";

    fn create() -> Self {
        let database = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        database
            .connect()
            .batch_execute("PRAGMA journal_mode = WAL")
            .unwrap();
        database
    }

    fn connect(&self) -> SqliteConnection {
        SqliteConnection::establish(&self.url()).unwrap()
    }

    fn url(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    /// None while somebody is in the queue. So a resize need not lock the tickets that it deletes.
    fn available(&self) -> i64 {
        let mut conn = self.connect();
        if Self::queued(&mut conn) > 0 {
            return 0;
        }
        let of_x = "FROM dbsemaphore_semaphore s LEFT JOIN dbsemaphore_ticket_range r ON r.semaphore_id = s.id WHERE s.name = 'x'";
        let size = number(
            &mut conn,
            &format!("SELECT coalesce(sum(last_slot - first_slot + 1), 0) AS number {of_x}"),
        );
        let id = number(&mut conn, &format!("SELECT s.id AS number {of_x}"));
        let tickets = files(&self.lock_folder().join(id.to_string()));
        let tickets = tickets
            .iter()
            .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with('t'));
        size - i64::try_from(tickets.filter(|path| is_locked(path)).count()).unwrap()
    }

    fn queued(observer: &mut SqliteConnection) -> i64 {
        let queue = queue(&lock_folder(observer));
        i64::try_from(queue.iter().filter(|path| is_locked(path)).count()).unwrap()
    }

    /// Whoever is in the queue has searched before.
    fn waiting_heads(observer: &mut SqliteConnection) -> i64 {
        Self::queued(observer).min(1)
    }

    fn traces_of_queues(observer: &mut SqliteConnection) -> i64 {
        // The file of a waiter that was killed remains until the next request.
        Self::queued(observer)
    }
}

/// The folder of the lock files of a connection's database.
fn lock_folder(conn: &mut SqliteConnection) -> PathBuf {
    #[derive(QueryableByName)]
    struct Main {
        #[diesel(sql_type = Text)]
        file: String,
    }
    let query = "SELECT file FROM pragma_database_list WHERE name = 'main'";
    // The first query of a connection reads the schema, which another one may be changing.
    let mut main = None;
    eventually("the database is not locked", || {
        main = diesel::sql_query(query).get_result::<Main>(conn).ok();
        main.is_some()
    });
    format!("{}-dbsemaphore", main.unwrap().file).into()
}

/// The files in the queues of a lock folder.
fn queue(lock_folder: &Path) -> Vec<PathBuf> {
    let folders = files(lock_folder);
    folders
        .iter()
        .flat_map(|folder| files(&folder.join("queue")))
        .collect()
}

/// None if there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Locks it for a moment if nobody else has.
fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| FileExt::try_lock_shared(&file).is_err())
}

fn number(conn: &mut SqliteConnection, query: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    let row: Row = diesel::sql_query(query).get_result(conn).unwrap();
    row.number
}
