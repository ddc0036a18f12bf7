//! What all backends have that are servers. SQLite skips these tests.

pub(crate) mod limits;
mod output;
#[cfg(feature = "serve")]
mod serve;
mod terminate;
