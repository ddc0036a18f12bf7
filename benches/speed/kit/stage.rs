use super::network::Network;
use diesel::{
    PgConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_types::{Double, Text},
};
use diesel_dbsemaphore as sem;
use stand::{Database, Server};
use std::{path::Path, time::Duration};

/// A server that is as durable as PostgreSQL is by default, with a database on it.
pub(crate) struct Stage {
    // Fields are dropped in this order, and a database needs its server to be.
    pub(crate) database: Database,
    pub(crate) server: Server,
    network: Option<Network>,
}

impl Stage {
    /// The name of the server in files of figures.
    pub(crate) const SERVER: &str = "postgresql";

    /// With the tables that contestants need, the library's and others'.
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(settings: &[&str]) -> Self {
        let server = Server::start_with(settings);
        let database = server.create_database();
        let mut conn = database.connect();
        sem::run_migrations(&mut conn).unwrap();
        conn.batch_execute(
            "CREATE TABLE floor (id integer PRIMARY KEY);
             INSERT INTO floor SELECT generate_series(0, 999);
             CREATE TABLE slots (id serial PRIMARY KEY, semaphore text NOT NULL);
             CREATE INDEX ON slots (semaphore, id);
             ANALYZE",
        )
        .unwrap();
        Self {
            database,
            server,
            network: None,
        }
    }

    /// From now on, clients are connected by a network that delays each direction.
    pub(crate) fn behind_a_network(mut self, delay: Duration) -> Self {
        let mut conn = self.database.connect();
        let folder = setting(&mut conn, "unix_socket_directories");
        let port = setting(&mut conn, "port");
        let socket = Path::new(&folder).join(format!(".s.PGSQL.{port}"));
        self.network = Some(Network::to(socket, delay));
        self
    }

    /// For clients.
    pub(crate) fn url(&self) -> String {
        let url = self.database.url();
        match self.network {
            None => url,
            // Of a parameter that comes twice, the last one counts.
            Some(Network { port }) => format!("{url}&host=127.0.0.1&port={port}"),
        }
    }

    /// The semaphore `name`, in the library's tables and in that of those who write it by hand.
    pub(crate) fn make(&self, name: &str, tickets: u32) {
        let mut conn = self.database.connect();
        sem::make(&mut conn, name, tickets).unwrap();
        for statement in [
            format!("DELETE FROM slots WHERE semaphore = '{name}'"),
            format!(
                "INSERT INTO slots (semaphore) SELECT '{name}' FROM generate_series(1, {tickets})"
            ),
            "VACUUM ANALYZE".to_owned(),
        ] {
            conn.batch_execute(&statement).unwrap();
        }
    }

    pub(crate) fn version(&self) -> String {
        setting(&mut self.database.connect(), "server_version")
    }
}

/// Waits for the lock of a row.
pub(crate) const ROW_LOCK: &str = "SELECT FROM floor WHERE id = 0 FOR UPDATE";

/// How many sessions sleep until they get a lock.
pub(crate) fn waiting(conn: &mut PgConnection) -> f64 {
    number(
        conn,
        "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
}

#[diesel::declare_sql_function]
extern "SQL" {
    fn current_setting(name: Text) -> Text;
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = Double)]
    value: f64,
}

/// The one number that an expression in SQL has.
pub(crate) fn number(conn: &mut PgConnection, expression: &str) -> f64 {
    diesel::sql_query(format!("SELECT ({expression})::double precision AS value"))
        .get_result::<Number>(conn)
        .unwrap()
        .value
}

/// A setting of the server.
fn setting(conn: &mut PgConnection, name: &str) -> String {
    diesel::select(current_setting(name))
        .get_result(conn)
        .unwrap()
}
