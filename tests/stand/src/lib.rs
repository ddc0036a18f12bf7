//! Private database servers and databases for tests, benches and the demo. They start when they are needed, and end with
//! the process that asked for them, also after a panic, Ctrl-C or `kill -9`.
//!
//! It panics where a test would: a server that doesn't start fails the test that needs it.
//!
//! `Server` and `Database` at the top are PostgreSQL's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Without a server, folders and witnesses are left.
#![cfg_attr(not(any(feature = "postgres", feature = "mysql")), allow(dead_code))]

mod backend;
mod cable;
mod daemon;
pub mod database;
mod eventually;
mod figures;
mod folder;
#[cfg(feature = "mysql")]
pub mod mysql;
mod port;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod server;
mod shared;
mod witness;

pub use backend::Backend;
pub use cable::Cable;
pub use eventually::eventually;
pub use figures::{percentile, session_cpu_time};
pub use folder::Folder;
#[cfg(feature = "postgres")]
pub use postgres::{Bouncer, Database, PoolMode, Server};
pub use server::Stop;
pub use shared::Lobby;
pub use witness::{Event, Reporter, Witness};

/// The URL of the server that all tests of a backend share; by the scheme of that URL.
pub fn shared_url(scheme: &str) -> String {
    match scheme {
        #[cfg(feature = "postgres")]
        postgres::Postgres::SCHEME => postgres::Postgres::shared().url().to_owned(),
        #[cfg(feature = "mysql")]
        mysql::Mysql::SCHEME => mysql::Mysql::shared().url().to_owned(),
        _ => panic!("this program has no servers for {scheme}://"),
    }
}
