use super::{
    ServerDatabase, TestDatabase,
    ways::{Way, by_guard, by_transaction, in_your_transaction},
};
use crate::postgres::number;
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore as sem;
use stand::postgres::{Database, Postgres, Server};
use std::time::Duration;

impl TestDatabase for Database {
    type Connection = PgConnection;

    const WAYS: &[Way<PgConnection>] = &[by_guard, by_transaction, in_your_transaction];

    const NOWHERE: &str = "postgres://127.0.0.1:1/nowhere";

    fn create() -> Self {
        Database::create()
    }

    fn connect(&self) -> PgConnection {
        self.connect()
    }

    fn url(&self) -> String {
        self.url()
    }

    /// Locks them for a moment.
    fn available(&self) -> i64 {
        self.connect()
            .test_transaction::<_, diesel::result::Error, _>(|conn| {
                Ok(number(
                    conn,
                    "WITH available AS (SELECT FROM dbsemaphore.ticket t WHERE semaphore_id = \
                         (SELECT id FROM dbsemaphore.semaphore WHERE name = 'x') FOR UPDATE SKIP LOCKED) \
                     SELECT count(*) FROM available",
                ))
            })
    }

    fn queued(observer: &mut PgConnection) -> i64 {
        advisory_locks(observer, &["dbsq"])
    }

    fn waiting_heads(observer: &mut PgConnection) -> i64 {
        advisory_locks(observer, &["dbso"])
    }

    fn traces_of_queues(observer: &mut PgConnection) -> i64 {
        advisory_locks(observer, &["dbsq", "dbso", "dbsw", "dbsc"])
    }
}

impl ServerDatabase for Database {
    type Backend = Postgres;

    const EXACT_IN_TRANSACTIONS: bool = true;
    const SERVER_DRIVES_QUEUE: bool = true;

    const JOINS_THE_QUEUE: &str = "dbsemaphore._acquire(";

    const NO_LIMITS: &str = "RESET ALL";

    fn on(server: &Server) -> Self {
        server.create_database()
    }

    fn limits(limit: Duration) -> Vec<String> {
        let limit = limit.as_millis();
        ["lock_timeout", "statement_timeout"]
            .map(|setting| format!("SET {setting} = {limit}"))
            .into()
    }

    fn at_level<T>(
        conn: &mut PgConnection,
        level: &str,
        work: impl FnOnce(&mut PgConnection) -> sem::Result<T>,
    ) -> sem::Result<T> {
        conn.transaction(|c| {
            c.batch_execute(&format!("SET TRANSACTION ISOLATION LEVEL {level}"))?;
            work(c)
        })
    }

    fn find_deadlocks_late(&self) {
        self.connect()
            .batch_execute(&format!(
                "ALTER DATABASE {} SET deadlock_timeout = 5000",
                self.name()
            ))
            .unwrap();
    }

    fn has_session(&self, id: i64) -> bool {
        let query = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {id}");
        number(&mut self.connect(), &query) > 0
    }
}

/// How many hold or want an advisory lock of these classes: "dbsq" is the queue head lock, "dbso" the no-overtaking lock,
/// "dbsw" and "dbsc" belong to waits that can be cancelled.
fn advisory_locks(observer: &mut PgConnection, classes: &[&str]) -> i64 {
    let classes: Vec<String> = classes
        .iter()
        .map(|class| {
            let bytes = class.bytes();
            let number = bytes.fold(0, |class, byte| class << 8 | u32::from(byte));
            number.to_string()
        })
        .collect();
    let query = format!(
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
         WHERE d.datname = current_database() AND locktype = 'advisory' AND classid IN ({})",
        classes.join(", ")
    );
    number(observer, &query)
}
