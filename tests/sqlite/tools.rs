//! A database of its own for each test.

use diesel::{
    Connection, SqliteConnection,
    connection::SimpleConnection,
    r2d2::{ConnectionManager, Pool},
};
use diesel_dbsemaphore as sem;
use std::{
    env, fs,
    ops::Range,
    path::PathBuf,
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};
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
        let database = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        database
            .connect()
            .batch_execute("PRAGMA journal_mode = WAL")
            .unwrap();
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
        Pool::builder()
            .max_size(size)
            .build(ConnectionManager::new(self.url()))
            .unwrap()
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
        entries
            .map(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .to_str()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect()
    }
}

/// A number from the environment.
pub(crate) fn environment(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |number| number.parse().unwrap())
}

/// The system's clock in microseconds.
pub(crate) fn now_us() -> i64 {
    i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap()
}

/// Numbers that depend on the seed alone.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// By the splitmix64 algorithm.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    pub(crate) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.within(0..count as u64)).unwrap()
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.within(0..count) == 0
    }
}

/// Waits until this is true.
pub(crate) fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_true() {
        assert!(began.elapsed() < Duration::from_secs(30), "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
