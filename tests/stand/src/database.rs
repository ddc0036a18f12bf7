use crate::Server;
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use std::{
    env,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::UNIX_EPOCH,
};
use url::Url;

/// The server of `DBSEMAPHORE_TEST_URL`, or a private one, which lives as long as this process.
static SERVER: LazyLock<(Option<Server>, String)> = LazyLock::new(|| {
    if let Ok(url) = env::var("DBSEMAPHORE_TEST_URL") {
        return (None, url);
    }
    let server = Server::start();
    let url = server.url();
    (Some(server), url)
});

/// A database of its own for one test, dropped at the end with all sessions that are still in it.
#[derive(Debug)]
pub struct Database {
    server_url: String,
    name: String,
    roles: Vec<String>,
}

impl Database {
    /// On the server that all tests share.
    pub fn create() -> Self {
        Self::create_on(&SERVER.1)
    }

    pub(crate) fn create_on(server_url: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // The time, because on a server that many machines use, a process id isn't enough.
        let name = format!(
            "dbsemaphore_test_{}_{}_{}",
            UNIX_EPOCH.elapsed().map_or(0, |age| age.as_micros()),
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let database = Self {
            server_url: server_url.to_owned(),
            name,
            roles: Vec::new(),
        };
        database.on_server(&format!("CREATE DATABASE {}", database.name));
        database
    }

    /// A role without any rights, who can log in here, with its name as password; dropped with the database.
    pub fn create_role(&mut self, label: &str) -> String {
        let role = format!("{}_{label}", self.name);
        self.on_server(&format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'"));
        self.roles.push(role.clone());
        role
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For connecting to its copy on a standby of its server.
    pub fn url_on(&self, standby: &Server) -> String {
        let mut url = Url::parse(&standby.url()).expect("the URL of a PostgreSQL server");
        url.set_path(&self.name);
        url.into()
    }

    /// For connecting to it.
    pub fn url(&self) -> String {
        let mut url = Url::parse(&self.server_url).expect("the URL of a PostgreSQL server");
        url.set_path(&self.name);
        url.into()
    }

    /// A new connection.
    pub fn connect(&self) -> PgConnection {
        PgConnection::establish(&self.url()).expect("a connection to a new database")
    }

    /// A new connection, of such a role.
    pub fn connect_as(&self, role: &str) -> PgConnection {
        let mut url = Url::parse(&self.url()).expect("the URL of a PostgreSQL server");
        // Of a parameter that comes twice, the last one counts.
        url.query_pairs_mut()
            .append_pair("user", role)
            .append_pair("password", role);
        PgConnection::establish(url.as_str()).expect("a connection of that role")
    }

    fn on_server(&self, statement: &str) {
        PgConnection::establish(&self.server_url)
            .expect("a connection to the server for tests")
            .batch_execute(statement)
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A test may have stopped its server for good.
        let Ok(mut server) = PgConnection::establish(&self.server_url) else {
            return;
        };
        let drop_all = std::iter::once(format!("DROP DATABASE {} WITH (FORCE)", self.name))
            .chain(self.roles.iter().map(|role| format!("DROP ROLE {role}")));
        for statement in drop_all {
            if let Err(error) = server.batch_execute(&statement) {
                eprintln!("{statement}: {error}");
            }
        }
    }
}
