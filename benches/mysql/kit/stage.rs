use diesel::{
    MysqlConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_types::{BigInt, Text},
};
use diesel_dbsemaphore as sem;
use stand::mysql::{Database, Server};

/// A server that is as durable as it is by default, with a database on it.
pub(crate) struct Stage {
    // Fields are dropped in this order, and a database needs its server to be.
    pub(crate) database: Database,
    pub(crate) server: Server,
}

impl Stage {
    /// The name of the server in files of figures.
    pub(crate) const SERVER: &str = "mysql";

    /// With the tables that contestants need, the library's and others'.
    pub(crate) fn new() -> Self {
        let server = Server::start_with(&[]);
        let database = server.create_database();
        let mut conn = database.connect();
        sem::run_migrations(&mut conn).unwrap();
        let rows: Vec<String> = (0..1000).map(|id| format!("({id})")).collect();
        conn.batch_execute(&format!(
            "CREATE TABLE floor (id int PRIMARY KEY);
             INSERT INTO floor VALUES {};
             CREATE TABLE slots (id int AUTO_INCREMENT PRIMARY KEY, semaphore varchar(64) NOT NULL, KEY (semaphore, id))",
            rows.join(", ")
        ))
        .unwrap();
        Self { database, server }
    }

    /// For clients.
    pub(crate) fn url(&self) -> String {
        self.database.url()
    }

    /// The semaphore `name`, in the library's tables and in that of those who write it by hand.
    pub(crate) fn make(&self, name: &str, tickets: u32) {
        let mut conn = self.database.connect();
        sem::make(&mut conn, name, tickets).unwrap();
        let slot = format!("('{name}')");
        let slots = vec![slot; tickets as usize].join(", ");
        conn.batch_execute(&format!(
            "DELETE FROM slots WHERE semaphore = '{name}';
             INSERT INTO slots (semaphore) VALUES {slots};
             ANALYZE TABLE slots, dbsemaphore_ticket"
        ))
        .unwrap();
    }

    pub(crate) fn version(&self) -> String {
        text(&mut self.database.connect(), "SELECT VERSION() AS `Value`")
    }
}

/// Waits for the lock of a row.
pub(crate) const ROW_LOCK: &str = "SELECT id FROM floor WHERE id = 0 FOR UPDATE";

/// How many sessions sleep until they get a lock.
pub(crate) fn waiting(conn: &mut MysqlConnection) -> f64 {
    let row_locks = text(
        conn,
        "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'",
    );
    let user_locks = diesel::sql_query(
        "SELECT COUNT(*) AS number FROM information_schema.processlist WHERE state = 'User lock'",
    )
    .get_result::<Number>(conn)
    .unwrap();
    row_locks.parse::<f64>().unwrap() + user_locks.number as f64
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

fn text(conn: &mut MysqlConnection, query: &str) -> String {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text, column_name = "Value")]
        value: String,
    }
    diesel::sql_query(query)
        .get_result::<Row>(conn)
        .unwrap()
        .value
}
