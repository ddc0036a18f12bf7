use crate::kit::{eventually, ways::Way};
use diesel::{
    Connection,
    connection::AnsiTransactionManager,
    r2d2::{ConnectionManager, Pool, R2D2Connection},
};
use diesel_dbsemaphore::{self as sem, TicketConnection, TransactionConnection};
use stand::{Backend, server::Server};
use std::time::Duration;

/// A pool of connections to a database.
pub(crate) type PoolOf<D> = Pool<ConnectionManager<<D as TestDatabase>::Connection>>;

/// A database of one backend, for one test. The tests of the contract are functions of it.
pub(crate) trait TestDatabase: Sized + Send + Sync + 'static {
    type Connection: TicketConnection
        + R2D2Connection
        + Connection<TransactionManager = AnsiTransactionManager>
        + Send
        + 'static;

    /// Each way to acquire a ticket.
    const WAYS: &[Way<Self::Connection>];

    /// The URL of a server that isn't there.
    const NOWHERE: &str;

    /// A new one, without tables.
    fn create() -> Self;

    fn connect(&self) -> Self::Connection;

    fn url(&self) -> String;

    /// How many tickets of "x" nobody holds.
    fn available(&self) -> i64;

    /// How many are in queues of this database, heads included.
    fn queued(observer: &mut Self::Connection) -> i64;

    /// How many heads have searched and found too few.
    fn waiting_heads(observer: &mut Self::Connection) -> i64;

    /// How many traces of queues the database has.
    fn traces_of_queues(observer: &mut Self::Connection) -> i64;

    /// A new one with the tables and one semaphore, "x".
    fn with_size(size: u32) -> Self {
        let database = Self::create();
        database.migrate(size);
        database
    }

    /// Creates the tables and the semaphore "x".
    fn migrate(&self, size: u32) {
        let mut conn = self.connect();
        sem::run_migrations(&mut conn).unwrap();
        sem::make(&mut conn, "x", size).unwrap();
    }

    fn pool(&self, size: u32) -> PoolOf<Self> {
        Pool::builder()
            .max_size(size)
            .build(ConnectionManager::new(self.url()))
            .unwrap()
    }

    /// Waits until so many are in queues.
    fn until_queued(&self, waiters: i64) {
        let mut observer = self.connect();
        eventually(&format!("{waiters} are in the queue"), || {
            Self::queued(&mut observer) == waiters
        });
    }

    /// Waits until the head of the queue has searched and found too few.
    fn until_head_waits(&self) {
        let mut observer = self.connect();
        eventually("the head waits", || Self::waiting_heads(&mut observer) == 1);
    }

    /// Checks that no queue has left anything.
    fn assert_no_queue(&self) {
        let mut observer = self.connect();
        eventually("nobody is in a queue", || {
            Self::traces_of_queues(&mut observer) == 0
        });
    }
}

/// A database on a server: others can kill its sessions, and an open transaction can hold a ticket.
pub(crate) trait ServerDatabase: TestDatabase<Connection: TransactionConnection> {
    type Backend: Backend<Connection = Self::Connection>;

    /// Whether a rollback to a savepoint releases what was acquired after it, a second request in the same transaction returns
    /// the same tickets, and a refused request for several tickets leaves none in the transaction.
    const EXACT_IN_TRANSACTIONS: bool;

    /// Whether the server drives the queue. Otherwise a cancellation can come between two statements of a waiter.
    const SERVER_DRIVES_QUEUE: bool;

    /// What the statement contains from which on the server can cancel a wait.
    const JOINS_THE_QUEUE: &str;

    /// Undoes all `limits`.
    const NO_LIMITS: &str;

    /// A new one on this server.
    fn on(server: &Server<Self::Backend>) -> Self;

    /// Statements that limit how long a wait in your transaction may last, each in another way.
    fn limits(limit: Duration) -> Vec<String>;

    /// Runs the work in a transaction of this isolation level.
    fn at_level<T>(
        conn: &mut Self::Connection,
        level: &str,
        work: impl FnOnce(&mut Self::Connection) -> sem::Result<T>,
    ) -> sem::Result<T>;

    /// A connection whose transactions are READ COMMITTED.
    fn connect_read_committed(&self) -> Self::Connection {
        self.connect()
    }

    /// Lets the server look for deadlocks after five seconds only, if it can be told to.
    fn find_deadlocks_late(&self) {}

    /// Whether this session is there.
    fn has_session(&self, id: i64) -> bool;

    fn session_id(conn: &mut Self::Connection) -> i64 {
        Self::Backend::session_id(conn)
    }

    /// Kills a session, and waits until it is gone.
    fn kill_session(&self, id: i64) {
        Self::Backend::kill_session(&mut self.connect(), id);
        eventually("the session is gone", || !self.has_session(id));
    }
}
