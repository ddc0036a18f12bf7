//! Private PostgreSQL servers and databases for tests, benches and the demo: started when needed, gone afterwards, also
//! after a panic, Ctrl-C or `kill -9` of the process that asked for them.
//!
//! It panics where a test would: a server that doesn't start fails the test that needs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bouncer;
mod cable;
mod database;
mod eventually;
mod figures;
mod folder;
mod hostile;
mod programs;
mod server;
mod witness;

pub use bouncer::{Bouncer, PoolMode};
pub use cable::Cable;
pub use database::Database;
pub use eventually::eventually;
pub use figures::{percentile, session_cpu_time};
pub use server::{Server, Stop};
pub use witness::{Event, Reporter, Witness};
