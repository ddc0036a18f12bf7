use super::{
    ServerDatabase, TestDatabase,
    ways::{Way, by_guard, by_transaction, in_your_transaction},
};
use diesel::{
    Connection, MysqlConnection, QueryableByName, RunQueryDsl, connection::SimpleConnection,
    sql_types::BigInt,
};
use diesel_dbsemaphore as sem;
use stand::mysql::{Database, Mysql, Server};
use std::time::Duration;

impl TestDatabase for Database {
    type Connection = MysqlConnection;

    const WAYS: &[Way<MysqlConnection>] = &[by_guard, by_transaction, in_your_transaction];

    const NOWHERE: &str = "mysql://127.0.0.1:1/nowhere";

    fn create() -> Self {
        Database::create()
    }

    fn connect(&self) -> MysqlConnection {
        self.connect()
    }

    fn url(&self) -> String {
        self.url()
    }

    /// Locks them for a moment.
    fn available(&self) -> i64 {
        let mut conn = self.connect();
        conn.batch_execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            .unwrap();
        conn.test_transaction::<_, diesel::result::Error, _>(|conn| {
            Ok(number(
                conn,
                "SELECT COUNT(*) AS number FROM dbsemaphore_ticket WHERE semaphore_id = \
                     (SELECT id FROM dbsemaphore_semaphore WHERE name = 'x') FOR UPDATE SKIP LOCKED",
            ))
        })
    }

    /// Those that wait for a user lock, and those that have the queue head lock. A waiter between two of its statements is not
    /// seen for a moment: so the most of three looks.
    fn queued(observer: &mut MysqlConnection) -> i64 {
        let waiting = "SELECT COUNT(*) AS number FROM information_schema.processlist \
            WHERE db = DATABASE() AND state = 'User lock'";
        let looks = [(); 3].map(|()| number(observer, waiting) + user_locks(observer, "q"));
        looks.into_iter().max().unwrap()
    }

    fn waiting_heads(observer: &mut MysqlConnection) -> i64 {
        user_locks(observer, "o")
    }

    /// A waiter's row is never committed.
    fn traces_of_queues(observer: &mut MysqlConnection) -> i64 {
        observer
            .batch_execute("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
            .unwrap();
        let rows =
            "SELECT COUNT(*) AS number FROM dbsemaphore_request WHERE wait_number IS NOT NULL";
        number(observer, rows) + Self::queued(observer) + Self::waiting_heads(observer)
    }
}

impl ServerDatabase for Database {
    type Backend = Mysql;

    const EXACT_IN_TRANSACTIONS: bool = false;
    const SERVER_DRIVES_QUEUE: bool = false;

    const JOINS_THE_QUEUE: &str = "AS joined";

    const NO_LIMITS: &str = "DO 0";

    fn on(server: &Server) -> Self {
        server.create_database()
    }

    /// None: a wait consists of several statements, and no setting limits more than one.
    fn limits(_: Duration) -> Vec<String> {
        Vec::new()
    }

    fn at_level<T>(
        conn: &mut MysqlConnection,
        level: &str,
        work: impl FnOnce(&mut MysqlConnection) -> sem::Result<T>,
    ) -> sem::Result<T> {
        // It is that of the next transaction.
        conn.batch_execute(&format!("SET TRANSACTION ISOLATION LEVEL {level}"))?;
        conn.transaction(work)
    }

    fn connect_read_committed(&self) -> MysqlConnection {
        let mut conn = self.connect();
        conn.batch_execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            .unwrap();
        conn
    }

    fn has_session(&self, id: i64) -> bool {
        let query = format!(
            "SELECT COUNT(*) AS number FROM information_schema.processlist WHERE id = {id}"
        );
        number(&mut self.connect(), &query) > 0
    }
}

/// How many semaphores have a user lock of this kind: "q" is the queue head lock, "o" the no-overtaking lock.
fn user_locks(observer: &mut MysqlConnection, kind: &str) -> i64 {
    let query = format!(
        "SELECT COUNT(IS_USED_LOCK(CONCAT('dbsemaphore.{kind}.', LEFT(SHA2(DATABASE(), 256), 16), '.', id))) AS number \
         FROM dbsemaphore_semaphore"
    );
    number(observer, &query)
}

/// The one number, named so, that a query returns.
fn number(conn: &mut MysqlConnection, query: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    let row: Row = diesel::sql_query(query).get_result(conn).unwrap();
    row.number
}
