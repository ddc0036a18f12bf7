//! A database of its own for each test.

use diesel::{
    Connection, SqliteConnection,
    connection::SimpleConnection,
    r2d2::{ConnectionManager, Pool},
};
use diesel_dbsemaphore as sem;
use std::{fs, path::PathBuf};
use tempfile::TempDir;

pub(crate) struct Database {
    pub(crate) folder: TempDir,
}

impl Database {
    /// In WAL mode, with the tables.
    pub(crate) fn create() -> Self {
        let database = Self::without_tables();
        sem::run_migrations(&mut database.connect()).unwrap();
        database
    }

    pub(crate) fn without_tables() -> Self {
        let database = Self { folder: tempfile::tempdir().unwrap() };
        database.connect().batch_execute("PRAGMA journal_mode = WAL").unwrap();
        database
    }

    pub(crate) fn with(name: &str, size: u32) -> Self {
        let database = Self::create();
        sem::make(&mut database.connect(), name, size).unwrap();
        database
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("app.db")
    }

    pub(crate) fn url(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    pub(crate) fn connect(&self) -> SqliteConnection {
        SqliteConnection::establish(&self.url()).unwrap()
    }

    pub(crate) fn pool(&self, size: u32) -> Pool<ConnectionManager<SqliteConnection>> {
        Pool::builder().max_size(size).build(ConnectionManager::new(self.url())).unwrap()
    }

    /// The folder of the lock files.
    pub(crate) fn lock_folder(&self) -> PathBuf {
        self.folder.path().join("app.db-dbsemaphore")
    }

    /// The numbers in the queue of the first semaphore.
    pub(crate) fn queue(&self) -> Vec<i64> {
        let Ok(entries) = fs::read_dir(self.lock_folder().join("1/queue")) else {
            return Vec::new();
        };
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }
}
