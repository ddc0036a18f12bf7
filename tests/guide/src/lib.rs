//! What the examples in docs/guide and README.md have at hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use diesel::{
    PgConnection,
    r2d2::{ConnectionManager, Pool},
};
use diesel_dbsemaphore as sem;
use stand::Database;

/// What an example returns.
pub type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The values that an example can use: each is a variable of that name.
#[allow(missing_debug_implementations)]
pub struct SetUp {
    /// A database of its own, with a semaphore "reports" of size 3.
    pub database: Database,
    /// For connecting to it.
    pub database_url: String,
    /// A connection to it.
    pub conn: PgConnection,
    /// A pool of connections to it.
    pub ticket_pool: Pool<ConnectionManager<PgConnection>>,
}

impl SetUp {
    /// Creates the database.
    pub fn new() -> sem::Result<Self> {
        let database = Database::create();
        let database_url = database.url();
        let mut conn = database.connect();
        sem::run_migrations(&mut conn)?;
        sem::ensure(&mut conn, "reports", 3)?;
        let ticket_pool = Pool::builder()
            .max_size(5)
            .min_idle(Some(0))
            .build(ConnectionManager::new(database_url.as_str()))?;
        Ok(Self {
            database,
            database_url,
            conn,
            ticket_pool,
        })
    }
}

/// The names that an example can use without an import. Its own imports come before these.
pub mod prelude {
    pub use diesel::{connection::SimpleConnection, prelude::*, sql_query};
    pub use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
    pub use std::time::Duration;

    /// The work of an example.
    pub fn call_third_party() {}

    /// The work of an example in a transaction.
    pub fn write_the_report(_conn: &mut PgConnection) -> sem::Result<()> {
        Ok(())
    }
}
