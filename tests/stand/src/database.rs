//! Databases of any backend.

use crate::{Backend, backend::run, server::Server};
use diesel::{Connection, QueryResult};
use std::marker::PhantomData;
use url::Url;

/// A database of its own for one test, dropped at the end with all sessions that are still in it.
#[derive(Debug)]
pub struct Database<B: Backend> {
    server_url: String,
    /// At random, since processes and machines that share a server create databases at the same instant.
    id: String,
    name: String,
    accounts: Vec<String>,
    backend: PhantomData<B>,
}

impl<B: Backend> Database<B> {
    /// On the server that all tests share.
    pub fn create() -> Self {
        Self::create_on(B::shared().url())
    }

    pub(crate) fn create_on(server_url: &str) -> Self {
        let id = format!("{:016x}", getrandom::u64().expect("random bytes"));
        let database = Self {
            server_url: server_url.to_owned(),
            name: format!("dbsemaphore_test_{id}"),
            id,
            accounts: Vec::new(),
            backend: PhantomData,
        };
        run(
            &mut database.connect_to_server(),
            &format!("CREATE DATABASE {}", database.name),
        );
        database
    }

    /// An account without any rights, which can log in here, with its name as password; dropped with the database.
    /// MySQL allows 32 characters, of which `label` may have 12.
    pub fn create_role(&mut self, label: &str) -> String {
        let account = format!("{label}_{}", self.id);
        B::create_account(&mut self.connect_to_server(), &account, &account);
        self.accounts.push(account.clone());
        account
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For connecting to it.
    pub fn url(&self) -> String {
        self.url_at(&self.server_url)
    }

    /// For connecting to its copy on another server.
    pub fn url_on(&self, server: &Server<B>) -> String {
        self.url_at(&server.url())
    }

    /// For connecting to it as such an account.
    pub fn url_as(&self, account: &str) -> String {
        B::url_as(&self.url(), account, account)
    }

    /// A new connection.
    pub fn connect(&self) -> B::Connection {
        B::Connection::establish(&self.url()).expect("a connection to a new database")
    }

    /// A new connection, of such an account.
    pub fn connect_as(&self, account: &str) -> B::Connection {
        B::Connection::establish(&self.url_as(account)).expect("a connection of that account")
    }

    fn connect_to_server(&self) -> B::Connection {
        B::Connection::establish(&self.server_url).expect("a connection to the server for tests")
    }

    fn url_at(&self, server: &str) -> String {
        let mut url = Url::parse(server).expect("the URL of a server");
        url.set_path(&self.name);
        url.into()
    }
}

impl<B: Backend> Drop for Database<B> {
    fn drop(&mut self) {
        // A test may have stopped its server for good.
        let Ok(mut server) = B::Connection::establish(&self.server_url) else {
            return;
        };
        report(B::drop_database(&mut server, &self.name));
        for account in &self.accounts {
            report(B::drop_account(&mut server, account));
        }
    }
}

/// Drop doesn't panic.
fn report(dropped: QueryResult<()>) {
    if let Err(error) = dropped {
        eprintln!("the database of a test: {error}");
    }
}
